"""A choice between two arrays as a part of the program; `jnp.where` is a function to be inlined."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array


def where(flag: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """`x` where the flag is true, else `y`, broadcast and promoted as `jnp.where` does it."""
    dtype = jnp.result_type(x, y)
    flag, cases = _as(flag, bool), (_as(x, dtype), _as(y, dtype))
    if flag.ndim:
        flag, *cases = jnp.broadcast_arrays(flag, *cases)
    else:
        cases = jnp.broadcast_arrays(*cases)
    return jax.lax.select(flag, *cases)


def _as(x: ArrayLike, dtype: Any) -> Array:
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)
