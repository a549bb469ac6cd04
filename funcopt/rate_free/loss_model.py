"""The model of the loss by which MoMo and MoMo-Adam choose their rate."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from ..math.columns import Column, ratio


@dataclass(frozen=True)
class LossModel:
    """The model of the loss, and the step that it suggests."""

    alpha: Any
    decay: Any
    rho: Any
    loss: Array
    gamma: Array
    slope: Array  # ⟨m, x⟩
    square: Array  # ‖m‖²

    def feasible(self, bound: Array, initial: Any) -> Array:
        """The bound, lowered where it is above everything that the model reaches."""
        shrink = 1 + self.alpha * self.decay
        cap = shrink * (self.loss - self.gamma) + self.slope
        lowered = jnp.maximum(cap / (2 * shrink * self.rho), initial)
        return jnp.where(cap < shrink * self.rho * bound, lowered, bound)

    def step(self, bound: Array) -> Array:
        shrink = 1 + self.alpha * self.decay
        gap = shrink * (self.loss - self.rho * bound - self.gamma) + self.slope
        return jnp.minimum(self.alpha / self.rho, ratio(jnp.maximum(gap, 0), self.square))

    def bound(self, tau: Array, initial: Any) -> Array:
        reached = self.loss + self.slope - self.gamma - tau * self.square / 2
        return jnp.maximum(reached / self.rho, initial)


def proximal_step(x: Column, u: Column, tau: Array, alpha: Any, decay: Any) -> Column:
    """The step from x to (x − τ u) / (1 + αλ)."""
    shrink = 1 + alpha * decay
    return [-(tau * b + alpha * decay * a) / shrink for a, b in zip(x, u, strict=True)]
