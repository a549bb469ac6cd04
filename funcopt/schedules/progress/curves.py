"""Curves from one value to another: what warm-ups, cooldowns and interpolations follow.

A curve takes the shares of the way that are done and left, which are counted apart so that both
keep their digits, and weighs the end points.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import MOST_STEPS, Moment, is_tracer
from ...core.steps import most, reached, real, share
from .progress import cosine_weight

STEEPEST = 1000.0


def _linear(x, y, start, end):
    return y * start + x * end


def _cosine(x, y, start, end):
    return cosine_weight(y, 1.0) * start + cosine_weight(x, 1.0) * end


def _one_minus_sqrt(x, y, start, end):
    root = jnp.sqrt(x)
    return y / (1 + root) * start + root * end


def _exponential(x, y, start, end):
    """start (end / start)^x, where the ratio is at most `STEEPEST` either way.

    As weights: (r^x − 1) / (r − 1) of the end. Where the ratio is steeper, or an end is 0, the
    weights are those of the steepest ratio, which reach any end from any start.
    """
    start, end = real(start), real(end)
    from_zero = start == 0
    ratio = jnp.where(from_zero, STEEPEST, end / jnp.where(from_zero, 1, start))
    slope = jnp.log(jnp.clip(ratio, 1 / STEEPEST, STEEPEST))
    return _growth(y, -slope) * start + _growth(x, slope) * end


def _growth(x, slope):
    """(e^(slope x) − 1) / (e^slope − 1), which is x for no slope."""
    flat = jnp.abs(slope) < 1e-3
    steep = jnp.where(flat, 1, slope)
    return jnp.where(flat, x * (1 + 0.5 * slope * (x - 1)), jnp.expm1(steep * x) / jnp.expm1(steep))


CURVES: dict[str, Callable] = {
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
    "1-sqrt": _one_minus_sqrt,
}


def between(shape: str, done, left, steps, start, end) -> Float[Array, "*n"]:
    """From `start` to `end`, exactly so at both, when `done` of `steps` have passed."""
    value = CURVES[shape](share(done, steps), share(left, steps), start, end)
    return jnp.where(done <= 0, start, jnp.where(left <= 0, end, value))


def through(step: Array, steps, values, shape: str) -> Float[Array, "*n"]:
    """Through each of `values` at its step, and constant before the first and after the last."""
    values = jnp.stack([real(v) for v in values])
    if len(values) == 1:
        return jnp.broadcast_to(values[0], step.shape)
    passed, done, left, length = _segment(step, steps)
    i = jnp.clip(passed - 1, 0, len(values) - 2)
    value = between(shape, done, left, length, values[i], values[i + 1])
    return jnp.where(reached(step, steps[-1]), values[-1], value)


def _segment(step: Array, steps) -> tuple[Array, Array, Array, Array]:
    """How many of `steps` are reached, and done, left and length of the way to the next."""
    if any(isinstance(s, Moment) or (isinstance(s, int) and s > MOST_STEPS) for s in steps):
        return _segment_between(step, steps)
    at = jnp.stack([jnp.asarray(s, step.dtype) for s in steps])
    passed = jnp.searchsorted(at, step, side="right", method="compare_all")
    i = jnp.clip(passed - 1, 0, len(steps) - 2)
    length = jnp.maximum(at[i + 1] - at[i], 1)
    done = jnp.clip(step - at[i], 0, length)
    return passed, done, length - done, length


def _segment_between(step: Array, steps) -> tuple[Array, Array, Array, Array]:
    """The same where some of the known steps lie between two whole ones, or beyond every count."""
    reachable = [math.ceil(s) for s in steps if s <= most(step)]
    passed = jnp.searchsorted(
        jnp.asarray(reachable, step.dtype), step, side="right", method="compare_all"
    )
    i = jnp.clip(passed - 1, 0, len(steps) - 2)
    whole = jnp.asarray([min(math.floor(s), most(step)) for s in steps], step.dtype)
    rest = jnp.stack([real(s - math.floor(s)) for s in steps])
    length = jnp.stack([real(b - a) for a, b in pairwise(steps)])[i]
    done = jnp.clip(real(step - whole[i]) - rest[i], 0, length)
    return passed, done, length - done, length


def at_least_one(steps):
    return max(steps, 1) if isinstance(steps, int | float) else jnp.maximum(steps, 1)


def above(part, whole) -> bool:
    """Whether both numbers are known and, in any setting of a sweep, the part is the larger."""
    return _known(part, whole) and bool(np.any(np.greater(part, whole)))


def fills(part, whole) -> bool:
    """Whether both are known and, in any setting of a sweep, the part is not the smaller."""
    return _known(part, whole) and bool(np.any(np.greater_equal(part, whole)))


def _known(*numbers) -> bool:
    return not any(map(is_tracer, numbers))
