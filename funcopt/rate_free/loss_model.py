"""The model of the loss by which MoMo and MoMo-Adam choose their rate."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import Hyperparameter
from ..core.paper import ICML, Paper
from ..core.rule import Rule
from ..core.tree_rule import Number, Reported, Step
from ..math.columns import Column
from ..math.safe import safe_divide
from ..transforms.decay_rules import DecayAmong
from ..transforms.step_aware_decays import ProximalDecay

MOMO = Paper(
    "Schaipp, Fabian and Ohana, Ruben and Eickenberg, Michael and Defazio, Aaron and Gower, "
    "Robert M.",
    "MoMo: Momentum Models for Adaptive Learning Rates",
    2024,
    "https://arxiv.org/abs/2305.07583",
    booktitle=ICML,
)


ModelDecay = Annotated[
    Hyperparameter | Rule,
    DecayAmong(
        (ProximalDecay,),
        "the rate comes of a model of the loss that has this decay in it, in closed form; an L2 "
        "penalty is a part of the loss that is given as value",
    ),
]
"""A decay within the model of the loss."""


class MomoNumbers(NamedTuple):
    """`lr` is the rate in force; before the first update, the largest that is allowed."""

    lr: Reported
    loss_average: Number
    gamma: Number
    lower_bound: Reported


@dataclass(frozen=True)
class LossModel:
    """The model of the loss, and the step that it suggests."""

    alpha: Array | float
    decay: Array | float
    rho: Array | float
    loss: Array
    gamma: Array
    slope: Array  # ⟨m, x⟩
    square: Array  # ‖m‖²
    weighted_slope: Array  # the same, where elements without decay count 1 + αλ times
    weighted_square: Array

    def solved(self, bound: Array, initial: Array | float, adapt: bool) -> tuple[Array, Array]:
        """The rate, and the lower bound after it, which is estimated where it may `adapt`."""
        if not adapt:
            return self._rate(bound), bound
        tau = self._rate(self._feasible(bound, initial))
        reached = self.loss + self.slope - self.gamma - tau * self.square / 2
        return tau, jnp.maximum(reached / self.rho, initial)

    def _feasible(self, bound: Array, initial: Array | float) -> Array:
        """The bound, lowered where it is above everything that the model reaches."""
        shrink = 1 + self.alpha * self.decay
        cap = shrink * (self.loss - self.gamma) + self.weighted_slope
        lowered = jnp.maximum(cap / (2 * shrink * self.rho), initial)
        return jnp.where(cap < shrink * self.rho * bound, lowered, bound)

    def _rate(self, bound: Array) -> Array:
        shrink = 1 + self.alpha * self.decay
        gap = shrink * (self.loss - self.rho * bound - self.gamma) + self.weighted_slope
        needed = safe_divide(jnp.maximum(gap, 0), self.weighted_square)
        return jnp.minimum(self.alpha / self.rho, needed)


def weighted_sums(
    step: Step, m: Column, x: Column, squares: Column, decays: list[bool], weight: Array | float
) -> tuple[Array, Array]:
    """⟨m, x⟩ and the sum of `squares`, leaves that do not decay times `weight`."""

    def weighted(column: Column) -> Column:
        return [each if flag else weight * each for each, flag in zip(column, decays, strict=True)]

    return step.vdot(weighted(m), x), step.abs_sum(weighted(squares))


def proximal_step(
    x: Column, u: Column, decays: list[bool], tau: Array, alpha: Array | float, decay: Array | float
) -> Column:
    """The step from x to (x − τ u) / (1 + αλ) where x decays, and to x − τ u elsewhere."""
    shrink = 1 + alpha * decay
    return [
        -(tau * b + alpha * decay * a) / shrink if flag else -tau * b
        for a, b, flag in zip(x, u, decays, strict=True)
    ]
