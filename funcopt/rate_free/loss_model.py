"""The model of the loss by which MoMo and MoMo-Adam choose their rate."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ..core.paper import ICML, Paper
from ..core.tree_rule import Number, Reported
from ..math.columns import Column
from ..math.safe import safe_divide

MOMO = Paper(
    "Schaipp, Fabian and Ohana, Ruben and Eickenberg, Michael and Defazio, Aaron and Gower, "
    "Robert M.",
    "MoMo: Momentum Models for Adaptive Learning Rates",
    2024,
    "https://arxiv.org/abs/2305.07583",
    booktitle=ICML,
)


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
        cap = shrink * (self.loss - self.gamma) + self.slope
        lowered = jnp.maximum(cap / (2 * shrink * self.rho), initial)
        return jnp.where(cap < shrink * self.rho * bound, lowered, bound)

    def _rate(self, bound: Array) -> Array:
        shrink = 1 + self.alpha * self.decay
        gap = shrink * (self.loss - self.rho * bound - self.gamma) + self.slope
        return jnp.minimum(self.alpha / self.rho, safe_divide(jnp.maximum(gap, 0), self.square))


def proximal_step(
    x: Column, u: Column, tau: Array, alpha: Array | float, decay: Array | float
) -> Column:
    """The step from x to (x − τ u) / (1 + αλ)."""
    shrink = 1 + alpha * decay
    return [-(tau * b + alpha * decay * a) / shrink for a, b in zip(x, u, strict=True)]
