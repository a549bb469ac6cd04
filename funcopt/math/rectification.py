"""How long a moving average of squares is, in effect, and how far its root is to be trusted."""

import math
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float


def longest_length(decay: Any) -> Any:
    """ρ_∞ = 2 / (1 − decay) − 1: of a simple average as wide as the whole moving one."""
    return 2 / (1 - decay) - 1


def length(decay: ArrayLike, t: Float[Array, ""]) -> Float[Array, ""]:
    """ρ_t = ρ_∞ − 2 t decayᵗ / (1 − decayᵗ): the same after `t` values.

    It is a small difference of large numbers while t (1 − decay) is small, where float32 is left
    with few digits: there its power series is summed instead.
    """
    a = -math.log(decay) if isinstance(decay, int | float) else -jnp.log(decay)
    x = a * t
    series = t
    # Where the first term that is left out, and what the difference loses, are of one size.
    limit = 0.5 if t.dtype == jnp.float32 else 0.05
    for coefficient, n in ((1 / 12, 2), (-1 / 720, 4), (1 / 30240, 6)):
        series = series - 2 / a * coefficient * (x**n - a**n)
    return jnp.where(x < limit, series, longest_length(decay) - 2 * t / jnp.expm1(x))


def rectification(decay: Any, rho: Float[Array, ""]) -> Float[Array, ""]:
    """√( (ρ_t − 4)(ρ_t − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ_t) ), and 0 while ρ_t ≤ 4."""
    longest = longest_length(decay)
    tractable = rho > 4
    safe = jnp.where(tractable, rho, 5.0)
    squared = (safe - 4) * (safe - 2) * longest / ((longest - 4) * (longest - 2) * safe)
    return jnp.where(tractable, jnp.sqrt(squared), 0.0)
