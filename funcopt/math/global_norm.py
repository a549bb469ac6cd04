"""The global norm, in float32 or wider, of anything that is finite.

    norm = √Σ |x|²  over all elements of all leaves

One pass gives the sum of squares, and it also tells whether everything is finite. Only when the
sum has left the range of its type, or is too small to be exact, a second pass sums the squares of
what is divided by a number near it.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from .dtypes import common_dtype
from .moments import abs_sq
from .safe import safe_sqrt
from .varying import AxisNames, grouped_by_axes, norm_across


class Facts(NamedTuple):
    """What is known of some gradients: the sum of squares of each leaf that has elements, and the
    norm of all of them.
    """

    squares: list[Array]
    norm: Array


def global_norm(tree: Any, axis_name: AxisNames = None) -> Float[Array, ""]:
    """The Euclidean norm of all leaves together, in float32 or wider; 0 of an empty tree.

    It is finite wherever the norm itself fits the type, infinite or NaN where an element is, and
    its derivative at zero is zero.

    Args:
        tree: arrays.
        axis_name: the axes of `jax.shard_map` over which arrays are sharded by hand; the norm is
            that of all shards, the same on each device. A leaf is summed over those of them along
            which it varies by its type: one that all devices hold as a whole counts once. Where
            types do not tell (`check_vma=False`, `pmap`, `vmap`), every leaf counts as sharded
            over all of them, so take copies out of the tree there. None: what is on this device.

    >>> import funcopt, jax.numpy as jnp
    >>> funcopt.global_norm({"a": jnp.float16(300), "b": jnp.float16(-400)})
    Array(500., dtype=float32)
    >>> funcopt.global_norm(jnp.array([3e25, 4e25]))
    Array(5.e+25, dtype=float32)
    """
    leaves = [x for x in jax.tree.leaves(tree) if jnp.size(x)]
    sums = square_sums(leaves)
    if axis_name is None:
        return norm_of(leaves, sums)
    if not leaves:
        return total(sums)
    norms = []
    for group in grouped_by_axes(sums, axis_name):
        part = norm_of([leaves[i] for i in group], [sums[i] for i in group])
        norms.append(norm_across(part, axis_name))
    return together(norms)


def square_sum(leaves: Sequence[Any]) -> Float[Array, ""]:
    """The sum of squares of all elements: infinite or NaN where it is not representable."""
    return total(square_sums(leaves))


def square_sums(leaves: Sequence[Any], facts: Facts | None = None) -> list[Float[Array, ""]]:
    """The sum of squares of each leaf."""
    return list(map(_square_sum, leaves)) if facts is None else facts.squares


def total(sums: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """The sum of some sums, in the widest of their types."""
    widest = common_dtype(jnp.float32, *sums)
    wide = [jax.lax.convert_element_type(x, widest) for x in sums]
    return reduce(jax.lax.add, wide, jnp.zeros([], widest))


def norm_of(
    leaves: Sequence[Any], sums: Sequence[Float[Array, ""]], facts: Facts | None = None
) -> Float[Array, ""]:
    """The norm of leaves whose sums of squares are known."""
    if facts is not None:
        return facts.norm
    squares = total(sums)
    if not leaves:
        return squares
    return _either(_is_exact(squares), squares, sums, leaves)[1]


def norms_of(
    leaves: Sequence[Any], sums: Sequence[Float[Array, ""]], each: Bool[Array, ""]
) -> tuple[Float[Array, " leaves"], Float[Array, ""]]:
    """The norm of each leaf, and of all of them, whose sums of squares are known.

    Where it is not asked for `each` of them, those of leaves whose squares are too small may be 0.
    """
    squares = total(sums)
    if not leaves:
        return jnp.zeros(0, squares.dtype), squares
    all_exact = jnp.all(_in_line(map(_is_exact, sums), bool))
    return _either(_is_exact(squares) & (all_exact | ~each), squares, sums, leaves)


def _either(exact: Array, squares: Array, sums: Any, leaves: Any) -> tuple[Array, Array]:
    # Both are functions of the module, so that JAX finds their traces for the next clip.
    return jax.lax.cond(exact, _plain, _scaled, squares, list(sums), list(leaves))


def _plain(squares: Array, sums: list[Array], leaves: list[Array]) -> tuple[Array, Array]:
    del leaves
    return safe_sqrt(_in_line(sums, squares.dtype)), safe_sqrt(squares)


def _scaled(squares: Array, sums: list[Array], leaves: list[Array]) -> tuple[Array, Array]:
    norms = _in_line(map(_scaled_norm, sums, leaves), squares.dtype)
    return norms, jnp.where(_is_exact(squares), safe_sqrt(squares), _together(norms))


def _in_line(numbers: Iterable[Array], dtype: Any) -> Shaped[Array, " numbers"]:
    return jnp.stack([jax.lax.convert_element_type(x, dtype) for x in numbers])


def _least(squares: Float[Array, ""]) -> float:
    """The smallest sum of squares that is exact."""
    limits = jnp.finfo(squares.dtype)
    return float(limits.tiny) / float(limits.eps) ** 2


def _is_exact(squares: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether a sum of squares is not too small, and not infinite."""
    return (squares >= _least(squares)) & (squares <= jnp.finfo(squares.dtype).max)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _square_sum(x: Array) -> Float[Array, ""]:
    return jnp.sum(abs_sq(x.astype(common_dtype(jnp.float32, x))))


@jax.jit
def _scaled_norm(squares: Float[Array, ""], x: Array) -> Float[Array, ""]:
    """The norm of what has this sum of squares, of elements divided by a number near them."""
    wide = x.astype(common_dtype(squares, x))
    # Of one element XLA would take the square before the quotient.
    if x.size == 1:
        return jnp.abs(wide).sum()
    large = 2.0 ** int(0.7 * jnp.finfo(squares.dtype).maxexp)
    unit = jnp.where(squares < _least(squares), 1 / large, large)
    unit = jnp.where(_is_exact(squares), 1, unit).astype(wide.real.dtype)
    return unit * safe_sqrt(_square_sum(wide / unit))


def together(norms: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """The norm of everything of whose parts these are the norms."""
    return _together(_in_line(norms, common_dtype(jnp.float32, *norms)))


def _together(norms: Float[Array, " leaves"]) -> Float[Array, ""]:
    """The norm of some norms."""
    highest = jnp.max(norms)
    usual = jnp.isfinite(highest) & (highest >= jnp.finfo(highest.dtype).tiny)
    safe = jax.lax.stop_gradient(jnp.where(usual, highest, 1))
    return jnp.where(usual, safe * safe_sqrt(jnp.sum((norms / safe) ** 2)), highest)
