"""Types of the arithmetic."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def common_dtype(*xs: Any) -> np.dtype:
    """The narrowest dtype that holds all of `xs`: arrays, weakly typed or not, numbers, dtypes.

    Converting slots and updates explicitly is what callers do with it, so it does not depend on
    the promotion rules that a user has chosen with `jax.numpy_dtype_promotion`.
    """
    dtypes = tuple(map(dtype_of, xs))
    return _common_dtype(dtypes, jax.config.jax_enable_x64)  # type: ignore[attr-defined]


def dtype_of(x: Any) -> Any:
    """The dtype of `x`; JAX is not asked for that of an array, which takes it long."""
    return x.dtype if isinstance(x, jax.Array) else jnp.result_type(x)


@cache
def _common_dtype(dtypes: tuple, x64: bool) -> np.dtype:
    del x64  # by which float64 is float32, so that answers are kept apart
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*dtypes)


def dtype_named(x: Any) -> np.dtype | None:
    """The dtype that `x` names; None for anything else, such as an array, which only has one."""
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        return None
    try:
        return jnp.dtype(x)
    except TypeError:
        return None


def is_narrow(dtype: Any) -> bool:
    """Whether it is a floating dtype of 8 bits or fewer, which JAX promotes to no other."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 16


def is_half(x: Any) -> bool:
    """Whether an array is of floats of 16 bits."""
    dtype = jnp.result_type(x)
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits == 16


@cache
def at_least(kept: Any, expected: Any) -> np.dtype:
    """The dtype `kept`, or `expected` where that has more digits."""
    if not jnp.issubdtype(kept, jnp.inexact):
        return jnp.dtype(kept)
    return jnp.dtype(kept if jnp.finfo(kept).bits >= jnp.finfo(expected).bits else expected)


def cast(x: ArrayLike, dtype: Any) -> Any:
    """`x` in `dtype`; a Python number stays a constant, rounded once."""
    if isinstance(x, int | float | complex):
        return np.asarray(x, dtype)
    return x if x.dtype == dtype else x.astype(dtype)
