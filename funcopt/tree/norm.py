"""The global norm, in float32 or wider, of anything that is finite.

    norm = √Σ |x|²  over all elements of all leaves

One pass gives the sum of squares, and it also tells whether everything is finite. Only when the
sum has left the range of its type, or is too small to be exact, a second pass sums the squares of
what is divided by a number near it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from optax import Updates

from ..math.dtypes import common_dtype
from ..math.moments import abs_sq
from .tree_math import root


class _Known(NamedTuple):
    """Sums of squares by the identity of their leaves, and the norm of all of those together."""

    squares: dict[int, Array]
    norm: Array


_KNOWN: ContextVar[_Known | None] = ContextVar("_KNOWN", default=None)


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
    return total(square_sums(leaves))


def square_sums(leaves: Sequence[Array]) -> list[Float[Array, ""]]:
    """The sum of squares of each leaf."""
    there = _KNOWN.get()
    squares = there.squares if there else {}
    return [squares[id(x)] if id(x) in squares else _square_sum(x) for x in leaves]


@contextmanager
def known(leaves: Sequence[Array], squares: Sequence[Array], norm: Array) -> Iterator[None]:
    """Inside, sums of squares and the norm of these very leaves are not computed again.

    XLA finds by itself what is computed twice, but not across the branches of a `cond`.
    """
    pairs = zip(leaves, squares, strict=True)
    there = {id(x): square for x, square in pairs if jnp.size(x)}
    token = _KNOWN.set(_Known(there, norm))
    try:
        yield
    finally:
        _KNOWN.reset(token)


def total(sums: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """The sum of some sums, in the widest of their types."""
    widest = common_dtype(jnp.float32, *sums)
    wide = [jax.lax.convert_element_type(x, widest) for x in sums]
    return reduce(jax.lax.add, wide, jnp.zeros([], widest))


def exact_range(squares: Float[Array, ""]) -> tuple[float, float]:
    """Between which numbers a sum of squares is exact: not too small, and not infinite."""
    limits = jnp.finfo(squares.dtype)
    return float(limits.tiny) / float(limits.eps) ** 2, float(limits.max)


def norm_of(leaves: Sequence[Array], squares: Float[Array, ""]) -> Float[Array, ""]:
    """The norm of leaves whose sum of squares is known."""
    if not leaves:
        return squares
    there = _KNOWN.get()
    if there and [id(x) for x in leaves] == list(there.squares):
        return there.norm
    least, largest = exact_range(squares)
    return jax.lax.cond(
        (squares >= least) & (squares <= largest),
        lambda s, x: root(s),
        _scaled,
        squares,
        list(leaves),
    )


def _scaled(squares: Float[Array, ""], leaves: list[Array]) -> Float[Array, ""]:
    """The norm, computed of elements that are divided by a number near them."""
    least, _ = exact_range(squares)
    large = 2.0 ** int(0.7 * jnp.finfo(squares.dtype).maxexp)
    unit = jnp.where(squares < least, 1 / large, large)
    norms = []
    for i, x in enumerate(leaves, start=1):
        wide = x.astype(common_dtype(squares, x))
        # Another one for each leaf, since XLA makes an array of one that several leaves share.
        own = (unit * (1 + i / 1024)).astype(wide.real.dtype)
        # Of one element XLA would take the square before the quotient.
        part = jnp.abs(wide).sum() if x.size == 1 else own * root(square_sum([wide / own]))
        norms.append(part.astype(squares.dtype))
    of_leaves = jnp.stack(norms)
    highest = jnp.max(of_leaves)
    usual = jnp.isfinite(highest) & (highest >= jnp.finfo(highest.dtype).tiny)
    safe = jax.lax.stop_gradient(jnp.where(usual, highest, 1))
    return jnp.where(usual, safe * root(jnp.sum((of_leaves / safe) ** 2)), highest)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _square_sum(x: Array) -> Float[Array, ""]:
    return jnp.sum(abs_sq(x.astype(common_dtype(jnp.float32, x))))
