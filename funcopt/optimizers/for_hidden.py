"""Rules for the hidden matrices of a network, and others for all else, in one optimizer."""

from collections.abc import Sequence

from ..core.arguments import NonNegative, OptionalNonNegative, Rate
from ..core.leaf import LayerAxis, Matrices
from ..core.masked import MaskedRule, masked
from ..core.optimizer import Otherwise, optimizer
from ..core.paths import Mask, Unlike
from ..core.rule import Rule
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, at_rate, decaying
from ..transforms.scale import Scale
from .scale_by_adam import Adam

NO_HIDDEN = r"(?i)(^|[/._])(\w*embed\w*|wte|wpe|(\w+_)?head|logits|classifier)(_\d+)?(/|$)"
hidden_matrices = Unlike(NO_HIDDEN)
"""The mask of parameters whose name is not one of an embedding or an output head."""


def with_rest(
    *rules: Rule | MaskedRule,
    rest: Sequence[Rule | MaskedRule],
    otherwise: Otherwise,
    otherwise_rate: NonNegative,
    learning_rate: Rate,
    hidden: Mask,
    matrices: Matrices,
    layer_axis: LayerAxis,
    storage: Storage,
):
    """An optimizer of rules for matrices, and of `otherwise`, or else `rest`, for what is none.

    The learning rate of these is that of the matrices times `otherwise_rate`.
    """
    others = rest if otherwise is None else otherwise
    assert isinstance(others, tuple)
    return optimizer(
        *rules,
        learning_rate=learning_rate,
        otherwise=(*(at_rate(each, otherwise_rate) for each in others), Scale(otherwise_rate)),
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden,
        storage=storage,
    )


def for_hidden(
    *rules: Rule,
    learning_rate: Rate,
    weight_decay: WeightDecay,
    mask: Mask,
    otherwise: Otherwise,
    otherwise_rate: OptionalNonNegative,
    hidden: Mask,
    matrices: Matrices,
    layer_axis: LayerAxis,
    storage: Storage,
):
    """An optimizer of rules for hidden matrices, and of AdamW for all else; arguments as `muon`'s.

    `otherwise_rate=None` is Muon's 0.015.
    """
    decay = masked(mask, decaying(weight_decay))
    return with_rest(
        *rules,
        decay,
        rest=(Adam(0.9, 0.95, 1e-10), decay),
        otherwise=otherwise,
        otherwise_rate=0.015 if otherwise_rate is None else otherwise_rate,
        learning_rate=learning_rate,
        hidden=hidden_matrices if hidden is None else hidden,
        matrices=matrices,
        layer_axis=layer_axis,
        storage=storage,
    )
