"""A choice between two arrays as a part of the program: `jnp.where` is a function to be inlined."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array


def where(flag: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """`x` where the flag is true, else `y`, broadcast and promoted as `jnp.where` does it."""
    traced = [each for each in (flag, x, y) if isinstance(each, Tracer)]
    if not traced or not all(jax.typeof(each).sharding.mesh.empty for each in traced):
        return jnp.where(flag, x, y)
    dtype = jnp.result_type(x, y)
    shape = np.broadcast_shapes(np.shape(flag), np.shape(x), np.shape(y))
    flags = _as(flag, bool)
    flags = _broadcast(flags, shape) if flags.ndim else flags
    return jax.lax.select(flags, _broadcast(_as(x, dtype), shape), _broadcast(_as(y, dtype), shape))


def _as(x: Any, dtype: Any) -> Any:
    if not isinstance(x, jax.Array):
        return np.asarray(x, dtype)
    return x if x.dtype == dtype else jnp.asarray(x, dtype)


def _broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    if x.shape == shape:
        return x
    return jnp.broadcast_to(x, shape) if x.ndim else jax.lax.broadcast_in_dim(x, shape, ())
