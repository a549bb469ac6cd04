"""Decays of parameters, each as a rule that stands in an optimizer: what `funcopt.decays` makes.

With η the learning rate and u what comes of the rules before, x moves by −η u and by

    L2Decay             λ x to the gradient, before all else
    Decay               −η λ x                          AdamW's
    LateDecay           −η λ (x − η u)                  the same after the step
    IndependentDecay    −λ x                            whatever the rate is
    CorrectedDecay      −η² / η_max λ x                 AdamC: Defazio, 2025, arXiv:2506.02285
    SquaredDecay        −η² λ x
    CautiousDecay       −η λ x where u x ≥ 0            Chen et al., 2025, arXiv:2510.12402
    ProximalDecay       to (x − η u) / (1 + η λ)        Adan's: Xie et al., 2022, arXiv:2208.06677
"""

import math
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Hyperparameter, NonNegative, Positive, Within
from ..core.rule import Clock, Rule, rule
from ..math.moments import times
from .add_decayed_weights import Decay

Arrays = Inexact[Array, "*p"]


@rule(acts_on="element", needs_params=True)
class L2Decay(Rule):
    """g + λ x, the gradient of an L2 penalty; an optimizer applies it before its other rules."""

    weight_decay: NonNegative = 0.0

    place = "first"

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        del clock  # a part of the gradient knows no rate
        return grad + self.weight_decay * param, slots


@rule(acts_on="element", needs_params=True)
class LateDecay(Rule):
    """The step to (1 − η λ) (x − η u)."""

    weight_decay: NonNegative = 0.0

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        assert clock.lr is not None
        return grad + self.weight_decay * (param - times(clock.lr, grad)), slots


@rule(acts_on="element", needs_params=True)
class IndependentDecay(Rule):
    """−η u − λ x; an optimizer applies it after its descent, to the step."""

    weight_decay: NonNegative = 0.0

    place = "last"

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        del clock  # nothing of it depends on the learning rate
        return grad - self.weight_decay * param, slots


@rule(acts_on="element", needs_params=True)
class CorrectedDecay(Rule):
    """u + η / η_max λ x."""

    weight_decay: NonNegative
    max_learning_rate: Positive

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        assert clock.lr is not None
        return grad + times(self.weight_decay * clock.lr / self.max_learning_rate, param), slots


@rule(acts_on="element", needs_params=True)
class SquaredDecay(Rule):
    """u + η λ x."""

    weight_decay: NonNegative = 0.0

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        assert clock.lr is not None
        return grad + times(self.weight_decay * clock.lr, param), slots


@rule(acts_on="element", needs_params=True)
class CautiousDecay(Rule):
    """u + λ x where u x ≥ 0, else u."""

    weight_decay: NonNegative = 0.0

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        del clock  # `descend` multiplies decay by the learning rate
        agrees = jnp.real(grad * jnp.conj(param)) >= 0
        return jnp.where(agrees, grad + self.weight_decay * param, grad), slots


@rule(acts_on="element", needs_params=True)
class ProximalDecay(Rule):
    """The step to (x − η u) / (1 + η λ)."""

    weight_decay: NonNegative = 0.0

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        assert clock.lr is not None
        shrunk = (1 + clock.lr * self.weight_decay).astype(grad.dtype)
        return (grad + times(self.weight_decay, param)) / shrunk, slots


DECAYS = (Decay, L2Decay, LateDecay, IndependentDecay, CorrectedDecay, SquaredDecay)
DECAYS = (*DECAYS, CautiousDecay, ProximalDecay)
NUMBER = Within(0, math.inf, "[)")


def _weight_decay(where: str, x: object) -> object:
    if isinstance(x, DECAYS):
        return x
    if isinstance(x, Rule | str):
        raise TypeError(
            f"{where} must be {NUMBER} or a decay such as funcopt.decays.cautious(0.1), got {x!r}."
        )
    return NUMBER(where, x)


WeightDecay = Annotated[Hyperparameter | Rule, _weight_decay]
"""A weight decay: a number, at least 0, or a schedule, which means what the optimizer makes of it;
or a decay of `funcopt.decays`."""


def decaying(weight_decay: WeightDecay, otherwise: type = Decay) -> Rule:
    """The rule of a weight decay, which is the one of class `otherwise` where it is a number."""
    return weight_decay if isinstance(weight_decay, Rule) else otherwise(weight_decay)
