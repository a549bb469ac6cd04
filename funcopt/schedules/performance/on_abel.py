"""ABEL: automatic, bouncing into equilibration."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import NonNegativeConstant, OptionalSpan
from ...core.schedule import Listening, schedule
from ...core.steps import reached
from .factors import Factor, lowered, none, number


class BounceState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    change: Float[Array, ""]
    turned: Int[Array, ""]
    heard: Bool[Array, ""]


@dataclass(frozen=True)
class _Abel(Listening):
    factor: Any
    total_steps: Any
    min_scale: Any

    def init(self) -> BounceState:
        return BounceState(number(1), number(0), number(0), none(), number(False, bool))

    def observe(self, state: BounceState, value: Float[Array, ""], step: Array) -> BounceState:
        del step  # a norm bounces whenever it does
        change = jnp.where(state.heard, jnp.sign(value - state.last), 0)
        turn = change * state.change < 0
        act = turn & (state.turned == 1)
        lower = lowered(state.scale, self.factor, self.min_scale)
        return BounceState(
            jnp.where(act, lower, state.scale),
            value,
            jnp.where(change == 0, state.change, change),
            jnp.where(turn, 1 - state.turned, state.turned),
            jnp.bool_(True),
        )

    def at(self, step: Array, state: BounceState) -> Array:
        if self.total_steps is None:
            return state.scale
        lower = lowered(state.scale, self.factor, self.min_scale)
        return jnp.where(reached(step, _last_decay(self.total_steps)), lower, state.scale)


def _last_decay(total_steps: Any) -> Any:
    """⌊0.85 total_steps⌋, in integers that do not overflow."""
    whole = math.floor(total_steps) if isinstance(total_steps, float) else total_steps
    return whole // 20 * 17 + whole % 20 * 17 // 20


@schedule
def on_abel(
    factor: Factor = 0.1,
    total_steps: OptionalSpan = None,
    *,
    min_scale: NonNegativeConstant = 0.0,
):
    """ABEL: multiply by `factor` when the weight norm bounces, that is falls and rises again.

        (w_t − w_{t−1}) (w_{t−1} − w_{t−2}) < 0 for the 2nd, 4th, ... time:  scale ← factor scale
        from step ⌊0.85 total_steps⌋ on:  factor scale instead of scale

    The metric w to give is the squared norm of the weights, once an epoch (NaN in between):
    `metric=funcopt.global_norm(params) ** 2`. With weight decay this norm falls, then rises, and
    the rate has done its work when it has done both. The last decay, without regard to the norm,
    takes out the noise of a high rate; where the norm does not bounce it is the only one.

    Args:
        factor: in (0, 1).
        total_steps: the length of the run, for the last decay at 85 % of it; None for none.
        min_scale: where it stops.

    Source: Lewkowycz, 2021 (https://arxiv.org/abs/2103.12682), Algorithm 1, whose last decay is "at
    around 85 %". Ours is that a norm that stays the same for a while has not turned, its next
    change being compared with the one before, and that the step of the last decay is rounded down.

    >>> import funcopt
    >>> funcopt.on_abel(0.2, total_steps=90_000)
    on_abel(factor=0.2, total_steps=90000)
    """
    return _Abel(factor, total_steps, min_scale)
