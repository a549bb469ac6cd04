"""Steps: how many have passed since a moment, how many remain, and which share that is.

Steps are integers, which are exact where float32 no longer is, up to the one division that makes a
share of them. A moment may be traced, may lie between two steps (a tenth of 1,005 of them), and may
lie beyond what steps can count to: then it never comes.
"""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..math.choice import where
from .arguments import settled

_ENDLESS = 10**30  # as a length it is like any longer one, and float32 holds it


def real(x: Any) -> Float[Array, "*n"]:
    """`x` as wide as floats are: float32, or float64 under x64."""
    if isinstance(x, int):
        x = max(-_ENDLESS, min(x, _ENDLESS))
    return jnp.asarray(x, float)


def as_steps(step: Any) -> Array:
    """Steps that can be subtracted from each other, and compared with any number of steps."""
    step = jnp.asarray(step)
    if jnp.issubdtype(step.dtype, jnp.floating):
        return step.astype(float)
    small = step.dtype.itemsize < 4 or jnp.issubdtype(step.dtype, jnp.unsignedinteger)
    return step.astype(jnp.int32) if small else step


def is_whole(x: Any) -> bool:
    return isinstance(x, int) or jnp.issubdtype(jnp.result_type(x), jnp.integer)


def _is_known(x: Any) -> bool:
    return isinstance(x, int | float)


def most(steps: Array) -> int:
    """The largest step of this type, which a saturated count has."""
    return int(jnp.iinfo(steps.dtype).max) if is_whole(steps) else _ENDLESS


def since(step: Array, moment: Any) -> Array:
    """How many steps have passed since a moment, below 0 before it; integers if it is whole."""
    if not _is_known(moment):
        return step - moment if is_whole(moment) else real(step) - real(moment)
    moment = settled(moment)
    if isinstance(moment, int):
        return step - min(moment, most(step))
    whole = min(math.floor(moment), most(step))
    return real(step - whole) - (moment - whole)


def reached(step: Array, moment: Any) -> Bool[Array, "*n"]:
    """Whether it is the moment, or later."""
    if not _is_known(moment):
        return step >= moment if is_whole(moment) else real(step) >= real(moment)
    moment = settled(moment)
    if moment > most(step):
        return jnp.zeros(step.shape, bool)
    return step >= (math.ceil(moment) if is_whole(step) else moment)


def elapsed(step: Array, begin: Any, steps: Any) -> Array:
    """How many of `steps` have passed since `begin`."""
    passed = since(step, begin)
    if isinstance(steps, int):
        return jnp.clip(passed, 0, min(steps, most(passed)))
    whole = is_whole(passed) and is_whole(steps)
    return jnp.clip(passed, 0, steps) if whole else jnp.clip(real(passed), 0, real(steps))


def remaining(done: Array, steps: Any) -> Array:
    """How many of `steps` are left when `done` of them have passed."""
    countable = steps <= most(done) if isinstance(steps, int) else is_whole(steps)
    return steps - done if countable and is_whole(done) else real(steps) - real(done)


def share(part: Any, steps: Any) -> Float[Array, "*n"]:
    return real(part) / real(steps)


def cycled(step: Array, period: Any) -> tuple[Array, Array]:
    """How many whole periods have passed, and how many steps since the last of them ended."""
    if isinstance(period, int) and period > most(step):
        return jnp.zeros_like(step), step
    if is_whole(step) and isinstance(period, float):
        return _cycled_between(step, period)
    cycle = step // period if is_whole(period) else real(step) // real(period)
    return cycle, step - cycle * period


def _cycled_between(step: Array, period: float) -> tuple[Array, Array]:
    """For periods that end between steps, without forming the product of many and their length.

    One that ends within a rounding error of a step ends there, as the third of 10 / 3 steps does.
    """
    whole = math.floor(period)

    def position(cycle: Array) -> Array:
        return real(step - cycle * whole) - real(cycle) * (period - whole)

    cycle = jnp.floor(real(step) / period).astype(step.dtype)
    at = position(cycle)
    rounding = 4 * float(jnp.finfo(at.dtype).eps) * (real(cycle) + 1)
    late = where(at >= period - rounding, cycle + 1, cycle)
    cycle = where(at < -rounding, cycle - 1, late)
    return cycle, jnp.clip(position(cycle), 0, period)
