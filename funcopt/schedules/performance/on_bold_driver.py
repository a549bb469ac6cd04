"""The bold driver."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...core.arguments import NonNegativeConstant
from ...core.schedule import Listening, schedule
from .factors import Factor, Growth, number


class BoldDriverState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    heard: Bool[Array, ""]


@dataclass(frozen=True)
class _BoldDriver(Listening):
    growth: Any
    factor: Any
    min_scale: Any
    max_scale: Any

    def init(self) -> BoldDriverState:
        return BoldDriverState(number(1), number(0), number(False, bool))

    def observe(
        self, state: BoldDriverState, value: Float[Array, ""], step: Array
    ) -> BoldDriverState:
        del step
        moved = state.scale * jnp.where(value > state.last, self.factor, self.growth)
        scale = jnp.clip(moved, self.min_scale, self.max_scale)
        return BoldDriverState(jnp.where(state.heard, scale, state.scale), value, jnp.bool_(True))

    def at(self, step: Array, state: BoldDriverState) -> Array:
        del step
        return state.scale


@schedule
def on_bold_driver(
    growth: Growth = 1.05,
    factor: Factor = 0.5,
    *,
    min_scale: NonNegativeConstant = 0.0,
    max_scale: NonNegativeConstant = 1e6,
):
    """Bold driver: grow a little after a step that did not raise the loss, else shrink.

        scale ← clip(scale · (factor if metric > last else growth), min_scale, max_scale)

    The metric is the `metric=` of `update`, by default its `value=`, the loss. Made for full
    batches: on the noisy losses of mini-batches it shrinks for no reason.

    Args:
        growth: at least 1.
        factor: in (0, 1).
        min_scale, max_scale: the bounds of the scale.

    Source: Vogl et al., 1988 (https://doi.org/10.1007/BF00332914), without taking the step back.

    >>> import funcopt
    >>> funcopt.on_bold_driver(growth=1.1)
    on_bold_driver(growth=1.1)
    """
    return _BoldDriver(growth, factor, min_scale, max_scale)
