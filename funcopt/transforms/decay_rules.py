"""The argument `weight_decay`: a number, a schedule or one of `funcopt.decays`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, TypeVar

from ..core.arguments import Hyperparameter, Within, is_number
from ..core.masked import MaskedRule, masked
from ..core.paths import Mask
from ..core.rule import Rule
from ..core.schedule import product
from .add_decayed_weights import Decay
from .decay_kinds import CorrectedDecay, DecoupledDecay, IndependentDecay, L2Decay, SquaredDecay
from .step_aware_decays import CautiousDecay, LateDecay, ProximalDecay

DECAYS: dict[type, str] = {
    L2Decay: "l2",
    DecoupledDecay: "decoupled",
    LateDecay: 'decoupled(..., "after")',
    IndependentDecay: "independent",
    CorrectedDecay: "corrected",
    SquaredDecay: "squared",
    CautiousDecay: "cautious",
    ProximalDecay: "proximal",
}
N = TypeVar("N")
NUMBER = Within(0, math.inf, "[)")


@dataclass(frozen=True)
class DecayAmong:
    """Checks a weight decay: a number, at least 0, a schedule, or a decay.

    Args:
        kinds: the classes of decays that the optimizer takes.
        why: why it takes no others.
        optional: whether it may be None.
    """

    kinds: tuple[type, ...] = (*DECAYS,)
    why: str = ""
    optional: bool = False

    def __call__(self, where: str, x: object) -> object:
        if isinstance(x, Decay):
            x = DecoupledDecay(vars(x)["weight_decay"])
        if isinstance(x, self.kinds):
            return x
        if isinstance(x, (*DECAYS,)):
            names = [f"decays.{DECAYS[each]}" for each in self.kinds]
            expected = ", ".join(["a number", "a schedule", *names])
            raise ValueError(f"{where} cannot be {x!r}: {self.why}. Expected {expected}.")
        number = replace(NUMBER, optional=self.optional)
        if isinstance(x, Rule | str):
            raise TypeError(
                f"{where} must be {number} or a decay such as funcopt.decays.cautious(0.1), "
                f"got {x!r}."
            )
        return number(where, x)


WeightDecay = Annotated[Hyperparameter | Rule, DecayAmong()]
"""A weight decay: a number, at least 0, or a schedule, which means what the optimizer makes of it;
or a decay of `funcopt.decays`."""
OptionalWeightDecay = Annotated[Hyperparameter | Rule | None, DecayAmong(optional=True)]


def decaying(weight_decay: WeightDecay, otherwise: Callable[..., Rule] = Decay) -> Rule:
    """The rule of a weight decay, which is what `otherwise` makes of it where it is a number."""
    return weight_decay if isinstance(weight_decay, Rule) else otherwise(weight_decay)


def own_and_other(weight_decay: N | Rule, own: type | None = None) -> tuple[N | float, Rule | None]:
    """The number of a decay that is in an algorithm itself, and the decay beside it.

    One of them is nothing. A decay of the class `own` is what the algorithm does with the number.
    """
    if not isinstance(weight_decay, Rule):
        return weight_decay, None
    if own is not None and isinstance(weight_decay, own):
        return vars(weight_decay)["weight_decay"], None
    return 0.0, weight_decay


def besides(mask: Mask, decay: Rule | None) -> tuple[Rule | MaskedRule, ...]:
    """A decay that there may be, of what `mask` means."""
    return () if decay is None else (masked(mask, decay),)


def at_rate(decay: Rule | MaskedRule, factor: Hyperparameter) -> Rule | MaskedRule:
    """A decay beside a learning rate that is `factor` times the one of the transformation.

    Other rules are what they were.
    """
    if isinstance(decay, MaskedRule):
        return replace(decay, rule=at_rate(decay.rule, factor))
    for _ in range(getattr(decay, "rate_power", 0)):
        fields = vars(decay)
        number = fields["weight_decay"]
        both = is_number(number) and is_number(factor)
        scaled = number * factor if both else product(number, factor)
        decay = type(decay)(**{**fields, "weight_decay": scaled})
    return decay
