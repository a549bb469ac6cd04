"""Schedules driven by performance: factors that change when a metric says so.

Each starts at 1 and is meant to be multiplied with a schedule of progress:
`warmup_cosine_decay_schedule(...) * on_plateau()`. The metric is the `metric=` of `update`, by
default its `value=`, the loss; it counts before the update is made. A metric that is not finite is
no news: one which is evaluated rarely is given as NaN in between.

Here is what the schedules of `on_*.py` and `cooldown_on_plateau.py` share. Their states are as wide
as floats are, and hold finite numbers only, so that `jax_debug_infs` finds none: whether a metric
has been heard at all is a field of its own.
"""

import math
from typing import Annotated, Any, Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array

from ...core.arguments import MOST_STEPS, Choice, Numeric, Within

ModeName = Literal["min", "max"]
Mode = Annotated[ModeName, Choice(get_args(ModeName))]
Factor = Annotated[Numeric, Within(0, 1, "()", schedule=False)]
Growth = Annotated[Numeric, Within(1, math.inf, "[)", schedule=False)]


def number(x: Any, dtype: Any = float) -> Array:
    """A number of a state, in a buffer of its own."""
    return jnp.full([], x, dtype)


def none() -> Array:
    """A count that begins."""
    return number(0, jnp.int32)


def one_more(count: Array) -> Array:
    """The next count; the largest stays as it is."""
    return count + (count < MOST_STEPS).astype(count.dtype)


def lowered(scale: Any, factor: Any, min_scale: Any) -> Array:
    """`scale` times `factor`, but not below `min_scale`, and never above `scale`."""
    return jnp.maximum(scale * factor, jnp.minimum(scale, min_scale))
