"""Vectors that are lists of arrays: one array for each leaf of a tree."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from .moments import abs_sq, ema
from .safe import safe_sqrt
from .varying import AxisNames, total_across

Column = list[Array]
"""One array for each leaf, all of one precision."""


def _sum(numbers: list[Array], real: Any, axis_name: AxisNames) -> Float[Array, ""]:
    return total_across([jnp.zeros([], real), *numbers], axis_name)


def vdot(xs: Column, ys: Column, real: Any, axis_name: AxisNames = None) -> Float[Array, ""]:
    """The inner product; of complex arrays, that of their real and imaginary parts."""

    def inner(x: Array, y: Array) -> Array:
        product = jnp.conj(x) * y
        return jnp.sum(product.real if jnp.iscomplexobj(product) else product)

    return _sum(list(map(inner, xs, ys)), real, axis_name)


def square_norm(xs: Column, real: Any, axis_name: AxisNames = None) -> Float[Array, ""]:
    return _sum([jnp.sum(abs_sq(x)) for x in xs], real, axis_name)


def norm(xs: Column, real: Any, axis_name: AxisNames = None) -> Float[Array, ""]:
    return safe_sqrt(square_norm(xs, real, axis_name))


def held(x: Float[Array, ""]) -> Float[Array, ""]:
    """x ≥ 0, at most what its type holds: a sum that has left its range stays at the end of it."""
    return jnp.minimum(x, float(jnp.finfo(x.dtype).max))


def abs_sum(xs: Column, real: Any, axis_name: AxisNames = None) -> Float[Array, ""]:
    """The 1-norm."""
    return _sum([jnp.sum(jnp.abs(x)) for x in xs], real, axis_name)


def axpy(a: Any, xs: Column, ys: Column) -> Column:
    """a x + y."""
    return [a * x + y for x, y in zip(xs, ys, strict=True)]


class Scaled(NamedTuple):
    """Each array times a number, which is multiplied where the product is used."""

    numbers: Column
    arrays: Column


def scaled(number: Array, xs: Column) -> Scaled:
    """number · x for each array; of a vector, the number of each."""
    return Scaled(in_parts(number) if number.ndim else [number] * len(xs), xs)


def in_line(numbers: Column) -> Float[Array, " leaves"]:
    """Scalars as one vector."""
    return jnp.stack(numbers)


def in_parts(line: Float[Array, " leaves"]) -> Column:
    """The elements of a vector, as scalars."""
    return list(jnp.unstack(line))


def minus(xs: Column, ys: Column) -> Column:
    return [x - y for x, y in zip(xs, ys, strict=True)]


def emas(means: Column, xs: Column, decay: Any) -> Column:
    """The exponential moving average of each array."""
    return [ema(mean, x, decay) for mean, x in zip(means, xs, strict=True)]


def divided_by_roots(xs: Column, squares: Column, eps: Any) -> Column:
    """x / (√square + eps)."""
    return [x / (jnp.sqrt(square) + eps) for x, square in zip(xs, squares, strict=True)]
