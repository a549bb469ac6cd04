"""Schedules driven by performance: factors that change when a metric says so.

Each starts at 1 and is meant to be multiplied with a schedule of progress:
`warmup_cosine_decay_schedule(...) * on_plateau()`. The metric is the `value=` of `update`, usually
the loss; it counts before the update is made. A value that is not finite is no news, so that a
metric which is evaluated rarely is given as NaN in between.

Here is what the schedules of `on_*.py` and `cooldown_on_plateau.py` share.
"""

import math
from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array

from ..value import Choice, Number, Within

Mode = Annotated[str, Choice(("min", "max"))]
Factor = Annotated[Number, Within(0, 1, "()", schedule=False)]
Growth = Annotated[Number, Within(1, math.inf, "[)", schedule=False)]


def number(x: Any, dtype: Any = jnp.float32) -> Array:
    """A number of a state, in a buffer of its own."""
    return jnp.full([], x, dtype)


def lowered(scale: Any, factor: Any, min_scale: Any) -> Array:
    """`scale` times `factor`, but not below `min_scale`, and never above `scale`."""
    return jnp.maximum(scale * factor, jnp.minimum(scale, min_scale))
