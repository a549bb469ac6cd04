"""Quotients and roots whose values and derivatives are finite at zero."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .choice import where


def safe_divide(a: Any, b: Array) -> Array:
    """a / b for b ≥ 0, and 0 where b is 0: where nothing was seen, nothing is estimated."""
    return where(b > 0, a / where(b > 0, b, 1), 0)


def safe_sqrt(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """√x for x ≥ 0, with derivative 0 where x is 0.

    What rounding has made negative counts as 0; NaN stays NaN.
    """
    return where(x <= 0, 0, jnp.sqrt(where(x <= 0, 1, x)))


def safe_cbrt(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """∛x for x ≥ 0, with derivative 0 where x is 0, to two units in the last place.

    One of Newton's steps from exp(log(x) / 3), which XLA vectorizes as it does not `jnp.cbrt`. What
    is not finite stays so.
    """
    usable = (x > 0) & jnp.isfinite(x)
    positive = where(usable, x, 1)
    near = jnp.exp(jnp.log(positive) / 3)
    return where(usable, (2 * near + positive / near**2) / 3, where(x <= 0, 0, x))
