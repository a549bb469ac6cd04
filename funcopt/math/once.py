"""What many loops read is computed once.

XLA repeats what is cheap, such as sums, comparisons and choices, in every loop that reads it: the
whole decision of a guard, and most of a schedule, three times for each parameter, which is the
larger part of what there is to compile. Roots and quotients it does not repeat.
(`optimization_barrier` is gone before XLA fuses on a CPU.)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .choice import where


def flag_once(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag, of which every loop repeats no more than one comparison."""
    return jax.lax.sqrt(flag.astype(jnp.float32)) > 0


def number_once(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """The number, or an array, every bit of it: over a 1 that XLA does not know to be one."""
    return x / jax.lax.stop_gradient(where(x == x, 1, 2).astype(x.dtype))
