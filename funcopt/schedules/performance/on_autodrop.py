"""AutoDrop: drop the rate when the angular velocity of the weights saturates."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import NonNegativeConstant, Numeric, Positive, Steps
from ...core.schedule import Listening, schedule
from ..progress.curves import above
from .factors import Factor, lowered, none, number, one_more


class AutoDropState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    threshold: Float[Array, ""]
    waited: Int[Array, ""]
    heard: Bool[Array, ""]


@dataclass(frozen=True)
class _AutoDrop(Listening):
    factor: Numeric
    threshold: Numeric
    max_threshold: Numeric
    wait: Numeric
    min_scale: Numeric

    def init(self) -> AutoDropState:
        return AutoDropState(
            number(1), number(0), number(self.threshold), none(), number(False, bool)
        )

    def observe(self, state: AutoDropState, value: Float[Array, ""], step: Array) -> AutoDropState:
        del step  # a direction settles whenever it does
        saturated = state.heard & (jnp.abs(value - state.last) < state.threshold)
        waited = jnp.where(saturated | (state.waited > 0), one_more(state.waited), 0)
        drop = waited >= self.wait
        lower = lowered(state.scale, self.factor, self.min_scale)
        wider = jnp.minimum(state.threshold / self.factor, self.max_threshold)
        return AutoDropState(
            jnp.where(drop, lower, state.scale),
            value,
            jnp.where(drop, wider, state.threshold),
            jnp.where(drop, 0, waited),
            jnp.bool_(True),
        )

    def at(self, step: Array, state: AutoDropState) -> Array:
        del step
        return state.scale


@schedule
def on_autodrop(
    factor: Factor = 0.2,
    threshold: Positive = 0.01,
    wait: Steps = 1,
    *,
    max_threshold: Positive = 1.0,
    min_scale: NonNegativeConstant = 0.0,
):
    """AutoDrop: multiply by `factor` when the angular velocity of the weights stops changing.

        ω_t = angle between x_t − x_{t−1} and x_{t−1} − x_{t−2}, in degrees
        when |ω_t − ω_{t−1}| < θ:  scale ← max(factor scale, min_scale)
                                   θ ← min(θ / factor, max_threshold)

    The metric ω to give is `funcopt.angular_velocity(params, last, before)` of the parameters x
    at the end of an epoch and of the two before, once an epoch, and NaN in between. At a constant
    rate it rises, fast and then slowly: where it no longer does, training has slowed down. The
    threshold θ grows with each drop, because angles are noisier between smaller steps.

    Args:
        factor: in (0, 1).
        threshold: θ at the beginning, in degrees.
        wait: with which metric the drop comes, counted from the one that saturates, which is the
            first; those in between are not judged.
        max_threshold: where θ stops, in degrees, at least `threshold`.
        min_scale: where the scale stops.

    Raises:
        ValueError: `max_threshold` is below `threshold`.

    Source: Teng, Wang, Choromanska, 2021 (https://arxiv.org/abs/2111.15317), and the authors'
    code, whose θ, growth and bounds these are. Their experiments wait for 20 epochs and replace the
    weights by a mean of those epochs' weights when they drop; here the weights stay.

    >>> import funcopt
    >>> funcopt.on_autodrop(0.1, min_scale=0.001)
    on_autodrop(factor=0.1, min_scale=0.001)
    """
    if above(threshold, max_threshold):
        raise ValueError(
            f"on_autodrop: max_threshold={max_threshold} must be at least threshold={threshold}."
        )
    return _AutoDrop(factor, threshold, max_threshold, wait, min_scale)
