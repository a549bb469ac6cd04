"""What is told of each head of an attention, and where heads stand in a parameter.

Heads may be an axis of their own, or equal parts of one; layers may be stacked along the first
axes. `qk_clip` goes by the largest logit of each head.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..core.arguments import is_tracer
from ..math.dtypes import common_dtype


def logits_of_heads(
    max_logits: ArrayLike | Mapping[str, ArrayLike],
) -> dict[str, Float[Array, "..."]]:
    """The logits by pattern, in float32 or wider."""
    given = max_logits if isinstance(max_logits, Mapping) else {"": max_logits}
    found = {}
    for pattern, x in given.items():
        where = "qk_clip: max_logits" + (f"[{pattern!r}]" if pattern else "")
        if not is_tracer(x) and np.asarray(x).dtype.kind not in "fiuV":
            raise TypeError(f"{where} must be an array of numbers, got {x!r}.")
        if jnp.ndim(x) not in (1, 2) or not jnp.size(x):
            raise ValueError(
                f"{where} must be an array [heads] or [layers, heads], got one of shape "
                f"{jnp.shape(x)}."
            )
        found[pattern] = jnp.asarray(x).astype(common_dtype(jnp.float32, x))
    return found


def along_heads(
    name: str, shape: tuple[int, ...], factors: Float[Array, "..."], axis: int
) -> Float[Array, "..."]:
    """The factors of heads where they stand in a parameter, with axes of length 1 beside them."""
    heads, layers = factors.shape[-1], factors.shape[:-1]
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"qk_clip: {name!r} has the shape {shape}, which has no axis {axis}. Say by head_axis= "
            "along which axis its heads are."
        )
    axis %= len(shape)
    if shape[axis] % heads or shape[: len(layers)] != layers or axis < len(layers):
        stacked = f" of {layers[0]} layers" if layers else ""
        raise ValueError(
            f"qk_clip: {name!r} has the shape {shape}, whose axis {axis} does not have {heads} "
            f"heads{stacked}, as max_logits has. Say by head_axis= along which axis they are; keys "
            "that several queries share take alpha=1.0 and key=None."
        )
    each = jnp.repeat(factors, shape[axis] // heads, axis=-1)
    before = (1,) * (axis - len(layers))
    return each.reshape((*layers, *before, shape[axis], *(1,) * (len(shape) - axis - 1)))
