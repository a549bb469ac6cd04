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
Where = tuple[Mask, Matrices, LayerAxis]
"""`hidden`, `matrices` and `layer_axis`: which parameters hold matrices, and along which axes."""
MUON_ADAM = Adam(0.9, 0.95, 1e-10)


def with_rest(
    *rules: Rule | MaskedRule,
    rest: Sequence[Rule | MaskedRule],
    learning_rate: Rate,
    otherwise: tuple[Otherwise, NonNegative],
    where: Where,
    storage: Storage,
):
    """An optimizer of rules for matrices, and of `otherwise`, or else `rest`, for what is none.

    The learning rate of these is that of the matrices times the number beside `otherwise`.
    """
    given, rate = otherwise
    others = rest if given is None else given
    assert isinstance(others, tuple)
    hidden, matrices, layer_axis = where
    return optimizer(
        *rules,
        learning_rate=learning_rate,
        otherwise=(*(at_rate(each, rate) for each in others), Scale(rate)),
        layer_axis=layer_axis,
        matrices=matrices,
        hidden=hidden,
        storage=storage,
    )


def for_hidden(
    *rules: Rule,
    rest: Rule = MUON_ADAM,
    learning_rate: Rate,
    decay: tuple[WeightDecay, Mask],
    otherwise: tuple[Otherwise, OptionalNonNegative],
    where: Where,
    storage: Storage,
):
    """An optimizer of rules for hidden matrices, and of `rest` with the same decay for all else.

    Arguments are those of `muon`, in groups: `decay` is weight_decay and mask, `otherwise` has
    `otherwise_rate` beside it, whose None is Muon's 0.015.
    """
    weight_decay, mask = decay
    decays = masked(mask, decaying(weight_decay))
    given, rate = otherwise
    hidden, matrices, layer_axis = where
    return with_rest(
        *rules,
        decays,
        rest=(rest, decays),
        learning_rate=learning_rate,
        otherwise=(given, 0.015 if rate is None else rate),
        where=(hidden_matrices if hidden is None else hidden, matrices, layer_axis),
        storage=storage,
    )
