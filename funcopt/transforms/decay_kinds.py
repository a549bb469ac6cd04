"""Decays of parameters, each as a rule that stands in an optimizer: what `funcopt.decays` makes.

With η the learning rate and s the step that comes of all other rules, where there is no decay, x
moves by s and by

    L2Decay             nothing: λ x goes to the gradient, before all else
    DecoupledDecay      −η λ x
    IndependentDecay    −λ x                            whatever the rate is
    CorrectedDecay      −η² / η_max λ x                 AdamC: Defazio, 2025, arXiv:2506.02285
    SquaredDecay        −η² λ x

They mean the same beside every optimizer. Those that look at the step, too, are in
`step_aware_decays`. `rate_power` says how often the rate is a factor of what a decay takes.
"""

from jaxtyping import Array, Float, Inexact

from ..core.arguments import NonNegative, Positive
from ..core.rule import Clock, Rule, rule
from ..math.moments import is_known_zero, times

Arrays = Inexact[Array, "*p"]


def rate(clock: Clock) -> Float[Array, ""]:
    if clock.lr is None:
        raise ValueError(
            "A weight decay of funcopt.decays goes by the learning rate, which there is none of "
            "in funcopt.lift. Put it into funcopt.optimizer(..., learning_rate=...), or use "
            "funcopt.add_decayed_weights."
        )
    return clock.lr


def less(step: Arrays, part: Float[Array, ""], x: Arrays) -> Arrays:
    return step - times(part, x)


@rule(acts_on="element", needs_params=True)
class L2Decay(Rule):
    """g + λ x, the gradient of an L2 penalty; an optimizer applies it before its other rules."""

    weight_decay: NonNegative = 0.0

    decays_by = "l2"
    place = "first"

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        del clock  # a part of the gradient knows no rate
        if is_known_zero(self.weight_decay):
            return grad, slots  # parameters need not be read for it
        return grad + self.weight_decay * param, slots


@rule(acts_on="element", needs_params=True)
class DecoupledDecay(Rule):
    """s − η λ x; an optimizer applies it after its descent, to the step, as all others."""

    weight_decay: NonNegative = 0.0

    decays_by = "decoupled"
    place = "last"
    rate_power = 1

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        return less(grad, rate(clock) * self.weight_decay, param), slots


@rule(acts_on="element", needs_params=True)
class IndependentDecay(Rule):
    """s − λ x."""

    weight_decay: NonNegative = 0.0

    decays_by = "independent"
    place = "last"

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        del clock  # nothing of it depends on the learning rate
        return grad - self.weight_decay * param, slots


@rule(acts_on="element", needs_params=True)
class CorrectedDecay(Rule):
    """s − η² / η_max λ x."""

    weight_decay: NonNegative
    max_learning_rate: Positive

    decays_by = "corrected"
    place = "last"
    rate_power = 1

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        lr = rate(clock)
        return less(grad, lr * self.weight_decay * (lr / self.max_learning_rate), param), slots


@rule(acts_on="element", needs_params=True)
class SquaredDecay(Rule):
    """s − η² λ x."""

    weight_decay: NonNegative = 0.0

    decays_by = "squared"
    place = "last"
    rate_power = 2

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        lr = rate(clock)
        return less(grad, lr * (lr * self.weight_decay), param), slots
