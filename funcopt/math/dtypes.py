"""Types of the arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def common_dtype(*xs: Any) -> np.dtype:
    """The narrowest dtype that holds all of `xs`, arrays or dtypes.

    Converting slots and updates explicitly is what callers do with it, so it does not depend on
    the promotion rules that a user has chosen with `jax.numpy_dtype_promotion`.
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*xs)


def cast(x: ArrayLike, dtype: Any) -> Any:
    """`x` in `dtype`; a Python number stays a constant, rounded once."""
    if isinstance(x, int | float | complex):
        return np.asarray(x, dtype)
    return x if x.dtype == dtype else x.astype(dtype)
