"""The columns of a monitor's table, the bins of |g|, and what stands for what is not there."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..math.choice import where

COLUMNS = (
    "grad_norm",
    "update_norm",
    "param_norm",
    "zero",
    "negligible",
    "nonfinite",
    "eps_dominated",
    "v_lag",
    "rms",
    "spike",
    "lost",
)
NORMS = 3  # the leading columns, which are kept as log2 in running means


def largest(dtype: Any) -> float:
    """Stands for what is not finite, in numbers of this type: a state has no NaN."""
    return 3e38 if jnp.finfo(dtype).bits == 32 else 1.7e308


def absent(dtype: Any) -> float:
    """Stands for what could not be measured, in numbers of this type."""
    return -largest(dtype)


EDGES = tuple(2.0**exponent for exponent in range(-44, 20, 4))
"""What |g| is compared with: the edges of the histogram's bins, each 4 powers of two wide."""

NEGLIGIBLE = 1e-3


def tidy(x: Float[Array, "rows columns"]) -> Float[Array, "rows columns"]:
    """Without NaN and infinities, for which `largest` stands."""
    most = largest(x.dtype)
    return where(jnp.isfinite(x), jnp.clip(x, -most, most), most)
