"""The global norm, in float32 or wider, of anything that is finite.

    norm = √Σ |x|²  over all elements of all leaves

One pass gives the sum of squares, and it also tells whether everything is finite. Only when the
sum has left the range of its type, or is too small to be exact, a second pass finds the largest
element m and the norm is m √Σ |x / m|².
"""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from optax import Updates

from ..math.dtypes import common_dtype
from ..math.moments import abs_sq
from .tree_math import root


def global_norm(tree: Updates) -> Float[Array, ""]:
    """The root of the sum of squares of all elements, in float32 or wider; 0 of an empty tree.

    It is finite wherever the norm itself fits the type, infinite or NaN where an element is, and
    its derivative at zero is zero.

    >>> import funcopt, jax.numpy as jnp
    >>> funcopt.global_norm({"a": jnp.float16(300), "b": jnp.float16(-400)})
    Array(500., dtype=float32)
    >>> funcopt.global_norm(jnp.array([3e25, 4e25]))
    Array(5.e+25, dtype=float32)
    """
    leaves = [x for x in jax.tree.leaves(tree) if jnp.size(x)]
    return norm_of(leaves, square_sum(leaves))


def square_sum(leaves: Sequence[Array]) -> Float[Array, ""]:
    """The sum of squares of all elements: infinite or NaN where it is not representable."""
    sums = [_square_sum(x) for x in leaves]
    widest = common_dtype(jnp.float32, *sums)
    wide = [jax.lax.convert_element_type(x, widest) for x in sums]
    return reduce(jax.lax.add, wide, jnp.zeros([], widest))


def norm_of(leaves: Sequence[Array], squares: Float[Array, ""]) -> Float[Array, ""]:
    """The norm of leaves whose sum of squares is known."""
    if not leaves:
        return squares
    return jax.lax.cond(
        _exact(squares), lambda squares, leaves: root(squares), _scaled_norm, squares, list(leaves)
    )


def _exact(squares: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether no square that mattered can have been lost to overflow or underflow."""
    limits = jnp.finfo(squares.dtype)
    return jnp.isfinite(squares) & (squares > float(limits.tiny) / float(limits.eps) ** 2)


def _scaled_norm(squares: Float[Array, ""], leaves: list[Array]) -> Float[Array, ""]:
    largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x)).astype(squares.dtype) for x in leaves]))
    unit = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest) & (largest > 0), largest, 1))
    scaled = [x.astype(common_dtype(squares.dtype, x)) / unit for x in leaves]
    # Where an element is not finite, it is the largest and says what the norm is.
    return jnp.where(jnp.isfinite(largest), unit * root(square_sum(scaled)), largest)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _square_sum(x: Array) -> Float[Array, ""]:
    return jnp.sum(abs_sq(x.astype(common_dtype(jnp.float32, x))))
