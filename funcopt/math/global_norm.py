"""The global norm, in float32 or wider, of anything that is finite.

    norm = √Σ |x|²  over all elements of all leaves

One pass gives the sum of squares, and it also tells whether everything is finite. Only when the
sum has left the range of its type, or is too small to be exact, a second pass sums the squares of
what is divided by a number near it.

Small arrays of one type are summed in one loop: a loop for each costs more than they do, and is one
more thing to compile.
"""

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .choice import where
from .dtypes import common_dtype
from .moments import abs_sq
from .one_loop import in_one_loop
from .safe import safe_sqrt
from .varying import AxisNames, grouped_by_axes, norm_across

SMALL = 4096
"""Arrays of at most so many elements are copied to be summed together."""


class Squares(NamedTuple):
    """The sum of squares of leaves that are alike, or of each of them; `places` among all.

    `whole` is the sum of all.
    """

    sums: Float[Array, "*leaves"]
    whole: Float[Array, ""]
    leaves: list[Any]
    places: list[int]


class Facts(NamedTuple):
    """What is known of some gradients: the sum of their squares, and their norm."""

    square_sum: Float[Array, ""]
    norm: Float[Array, ""]


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
    squares = square_sums([x for x in jax.tree.leaves(tree) if jnp.size(x)])
    if axis_name is None or not squares:
        return norm_of(squares)
    norms = []
    for group in grouped_by_axes([each.sums for each in squares], axis_name):
        norms.append(norm_across(norm_of([squares[i] for i in group]), axis_name))
    return together(norms)


def square_sum(leaves: Sequence[Any]) -> Float[Array, ""]:
    """The sum of squares of all elements: infinite or NaN where it is not representable."""
    return total(square_sums(leaves))


def square_sums(leaves: Sequence[Any], each: bool = False) -> list[Squares]:
    """The sums of squares in the widest type of the leaves: of small ones that are alike their sum,
    or that of each, of a larger one its own.
    """
    real = jnp.finfo(common_dtype(jnp.float32, *leaves)).dtype
    groups: dict[Any, list[int]] = {}
    for i, x in enumerate(leaves):
        groups.setdefault(jax.typeof(x) if jnp.size(x) <= SMALL else i, []).append(i)
    return [_squares([leaves[i] for i in places], places, real, each) for places in groups.values()]


def _squares(xs: list[Any], places: list[int], real: Any, each: bool) -> Squares:
    whole = sums = _square_sum(xs, None, real, False)
    if each and len(xs) > 1:
        # Times a 1 that XLA does not know to be one: else it writes squares that two sums read.
        one = where(jax.lax.stop_gradient(whole) < 0, 2, 1).astype(real)
        sums = _square_sum(xs, jnp.broadcast_to(one, len(xs)), real, True)
    return Squares(sums, whole, xs, places)


def total(squares: Sequence[Squares]) -> Float[Array, ""]:
    """The sum of all elements' squares."""
    return _added([each.whole for each in squares])


def _added(numbers: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    return reduce(jax.lax.add, numbers, jnp.zeros([], common_dtype(jnp.float32, *numbers)))


def norm_of(squares: Sequence[Squares]) -> Float[Array, ""]:
    """The norm of leaves whose sums of squares are known."""
    whole = total(squares)
    if not squares:
        return whole
    if sum(len(each.leaves) * jnp.size(each.leaves[0]) for each in squares) <= SMALL:
        return _scaled(whole, _known(squares))  # sooner than the choice, and less to compile
    # Both are functions of the module, so that JAX finds their traces for the next clip.
    return jax.lax.cond(_is_exact(whole), _plain, _scaled, whole, _known(squares))


def norms_of(
    squares: Sequence[Squares], each: Bool[Array, ""]
) -> tuple[Float[Array, " leaves"], Float[Array, ""]]:
    """The norm of each leaf, and of all of them, whose sums of squares are known.

    Where it is not asked for `each` of them, those of leaves whose squares are too small may be 0.
    """
    whole = total(squares)
    if not squares:
        return jnp.zeros(0, whole.dtype), whole
    line = _in_line([x.sums for x in squares])
    least, most = in_one_loop([line, line], [jax.lax.min, jax.lax.max], [np.inf, 0])
    exact = _is_exact(whole) & ((_is_exact(least) & _is_exact(most)) | ~each)
    known = _known(squares)
    norms, norm = jax.lax.cond(exact, _plain_each, _scaled_each, whole, line, known)
    order = [place for each in squares for place in each.places]
    return (norms if order == sorted(order) else norms[np.argsort(order)]), norm


Known = list[tuple[Any, list[Any]]]


def _known(squares: Sequence[Squares]) -> Known:
    return [(each.sums, each.leaves) for each in squares]


def _plain(whole: Array, squares: Known) -> Array:
    del squares  # their sum is exact
    return safe_sqrt(whole)


def _scaled(whole: Array, squares: Known) -> Array:
    """The norm, at any scale: of elements that are divided by one number near it."""
    unit, inverse = _units(whole)
    # A factor of its own for each: XLA would write one of all as an array of their shape.
    factors = [where(jnp.sum(sums) >= 0, inverse, jnp.nan) for sums, _ in squares]
    pairs = zip(factors, squares, strict=True)
    return unit * safe_sqrt(
        _added([_square_sum(xs, x, whole.dtype, False) for x, (_, xs) in pairs])
    )


def _plain_each(whole: Array, line: Array, squares: Known) -> tuple[Array, Array]:
    del squares  # their sums are exact
    return safe_sqrt(line), safe_sqrt(whole)


def _scaled_each(whole: Array, line: Array, squares: Known) -> tuple[Array, Array]:
    norms, (unit, inverse) = _scaled_norms(line, squares), _units(whole)
    scaled = unit * safe_sqrt(jnp.sum((norms * inverse) ** 2))
    return norms, where(_is_exact(whole), safe_sqrt(whole), scaled)


def _scaled_norms(line: Array, squares: Known) -> Float[Array, " leaves"]:
    """The norms of what has these sums of squares, also in one `line`: of elements divided by a
    number near them.
    """
    found = _in_line([_scaled_squares(*each) for each in squares])
    norms = _units(line)[0] * safe_sqrt(found)
    alone = [_is_alone(*each) for each in squares]
    if not any(alone):
        return norms
    is_alone = np.repeat(alone, [sums.size for sums, _ in squares])
    return where(is_alone, found, norms)


def _is_alone(sums: Array, xs: list[Array]) -> bool:
    """Whether each sum is of one element, of which XLA would take the square before the quotient.

    Its norm is its magnitude.
    """
    return jnp.size(xs[0]) == 1 and (sums.ndim > 0 or len(xs) == 1)


def _in_line(numbers: Sequence[Float[Array, "..."]]) -> Float[Array, " numbers"]:
    """Scalars and vectors as one vector."""
    dtype = common_dtype(jnp.float32, *numbers)
    return jnp.concatenate([jax.lax.reshape(x.astype(dtype), (x.size,)) for x in numbers])


def _least(squares: Float[Array, "*n"]) -> float:
    """The smallest sum of squares that is exact."""
    limits = jnp.finfo(squares.dtype)
    return float(limits.tiny) / float(limits.eps) ** 2


def _is_exact(squares: Float[Array, "*n"]) -> Bool[Array, "*n"]:
    """Whether a sum of squares is not too small, and not infinite."""
    return (squares >= _least(squares)) & (squares <= jnp.finfo(squares.dtype).max)


def _units(squares: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Powers of two by which what has these sums of squares is divided, so that they are exact, and
    what it is multiplied by for that. (A quotient would be one more program.)
    """
    large = 2.0 ** int(0.7 * jnp.finfo(squares.dtype).maxexp)
    exact, small = _is_exact(squares), squares < _least(squares)
    units = where(exact, 1, where(small, 1 / large, large))
    inverse = where(exact, 1, where(small, large, 1 / large))
    return units.astype(squares.dtype), inverse.astype(squares.dtype)


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames=("real", "each"))
def _square_sum(
    xs: list[Array], factors: Float[Array, "*leaves"] | None, real: Any, each: bool
) -> Float[Array, "*leaves"]:
    """The sum of squares of arrays of one type, or of each, multiplied by their factor."""
    x = jnp.stack(xs) if len(xs) > 1 else xs[0]
    x = x.astype(common_dtype(real, x))
    axes = tuple(range(each and len(xs) > 1, x.ndim))
    if factors is not None:
        x = _multiplied(x, jnp.expand_dims(factors, axes).astype(real))
        # Of one element, XLA would take the square before the product.
        x = jnp.maximum(jnp.abs(x), 0) if x.size == 1 else x
    return jnp.sum(abs_sq(x), axis=axes)


def _multiplied(x: Array, factor: Array) -> Array:
    """x times a real number, of the real and the imaginary part apart: no infinity makes a NaN."""
    return jax.lax.complex(x.real * factor, x.imag * factor) if jnp.iscomplexobj(x) else x * factor


@jax.jit
def _scaled_squares(squares: Float[Array, "*leaves"], xs: list[Array]) -> Float[Array, "*leaves"]:
    """The sums of squares of elements divided by their unit, and the magnitude of one alone."""
    if _is_alone(squares, xs):
        return jnp.abs(jnp.stack(xs)).astype(squares.dtype).reshape(squares.shape)
    return _square_sum(xs, _units(squares)[1], squares.dtype, squares.ndim > 0)


def together(norms: Sequence[Float[Array, ""]]) -> Float[Array, ""]:
    """The norm of everything of whose parts these are the norms."""
    return _together(_in_line(norms))


def _together(norms: Float[Array, " leaves"]) -> Float[Array, ""]:
    """The norm of some norms."""
    highest = jnp.max(norms)
    usual = jnp.isfinite(highest) & (highest >= jnp.finfo(highest.dtype).tiny)
    safe = jax.lax.stop_gradient(where(usual, highest, 1))
    return where(usual, safe * safe_sqrt(jnp.sum((norms / safe) ** 2)), highest)
