"""Types of the arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def common_dtype(*xs: Any) -> np.dtype:
    """The narrowest dtype that holds all of `xs`, arrays or dtypes.

    Converting slots and updates explicitly is what callers do with it, so it does not depend on
    the promotion rules that a user has chosen with `jax.numpy_dtype_promotion`.
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*xs)
