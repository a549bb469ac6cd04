"""Norms of anything that is finite, and roots of moments, without leaving the range of floats.

    norm = √Σ |x|²

One pass gives the sum of squares. Only where that has left the range of its type, or is too small
to be exact, a second pass divides by the largest element m first: norm = m √Σ |x / m|².
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from .choice import where
from .moments import abs_sq
from .safe import safe_sqrt

Axes = tuple[int, ...] | None


@partial(jax.jit, static_argnames="axes")
def norm(x: Inexact[Array, "*p"], axes: Axes = None) -> Float[Array, "*n"]:
    """The 2-norm of an array, or along `axes`, which stay with length 1.

    Finite wherever the norm itself is, infinite or NaN where an element is; its derivative at zero
    is zero.
    """
    squares = _square_sum(x, axes)
    if not x.size:
        return squares
    limits = jnp.finfo(squares.dtype)
    exact = jnp.isfinite(squares) & (squares > float(limits.tiny) / float(limits.eps) ** 2)
    scaled = partial(_scaled, axes=axes)
    if is_sharded(x):
        return where(exact, safe_sqrt(squares), scaled(squares, x))
    return jax.lax.cond(jnp.all(exact), lambda s, x: safe_sqrt(s), scaled, squares, x)


def is_sharded(x: Array) -> bool:
    """Whether an explicit mesh has parts of it, of which a mapped condition cannot choose any."""
    return any(axis is not None for axis in getattr(jax.typeof(x).sharding, "spec", ()))


def _square_sum(x: Array, axes: Axes) -> Array:
    return jnp.sum(abs_sq(x), axis=axes, keepdims=axes is not None)


def _scaled(squares: Array, x: Array, axes: Axes) -> Array:
    del squares  # they are what could not be trusted
    magnitudes = jax.lax.stop_gradient(jnp.abs(x))
    largest = jnp.max(magnitudes, axis=axes, keepdims=axes is not None)
    usable = jnp.isfinite(largest) & (largest > 0)
    unit = where(usable, largest, 1)
    return where(usable, unit * safe_sqrt(_square_sum(x / unit, axes)), largest)


def norm_below(x: Inexact[Array, "*p"], largest: Float[Array, ""]) -> Float[Array, ""]:
    """The 2-norm of an array whose largest magnitude is known: in one pass, at any scale."""
    unit = where(largest > 0, largest, 1)
    return unit * safe_sqrt(jnp.sum(abs_sq(x / unit)))


def clip_ratio(norm: Float[Array, "*n"], bound: Any) -> Float[Array, "*n"]:
    """min(1, bound / norm): what a vector is multiplied by so that its norm is within `bound`.

    1 where both are infinite, 0 where only the norm is, and NaN where the norm is.
    """
    inside = norm <= bound
    # XLA computes a quotient once, but a choice again in every loop that reads it; and 1 / norm, if
    # it is known to be that, in every element.
    most = where(norm == norm, where(inside, 1, bound), jnp.nan)
    return most.astype(norm.dtype) / where(inside, 1, norm)


def within(x: Inexact[Array, "*p"], bound: Any) -> Inexact[Array, "*p"]:
    """Every element cut off at ± bound, the real and the imaginary part apart."""
    if not jnp.iscomplexobj(x):
        return jnp.clip(x, -bound, bound)
    return jax.lax.complex(jnp.clip(x.real, -bound, bound), jnp.clip(x.imag, -bound, bound))


def squarable(x: Inexact[Array, "*p"]) -> Inexact[Array, "*p"]:
    """x, cut off at what has a square: what keeps a mean beside a mean square keeps one of a spike.

    What is not finite stays so, for all to see.
    """
    largest = float(jnp.finfo(x.dtype).max)
    return where(jnp.isfinite(x), within(x, (largest / 2) ** 0.5), x)


def rms_ema(rms: Float[Array, "*n"], x: Float[Array, "*n"], decay: Any) -> Float[Array, "*n"]:
    """The root of the moving average of squares, √(decay rms² + (1 − decay) x²)."""
    return weighted_rms(rms, decay, x, 1 - decay)


def weighted_rms(a: Float[Array, "*n"], u: Any, b: Float[Array, "*n"], v: Any) -> Array:
    """√(u a² + v b²), where a² or b² themselves may be beyond the range of floats."""
    largest = jax.lax.stop_gradient(jnp.maximum(jnp.abs(a), jnp.abs(b)))
    unit = where(largest > 0, largest, 1)
    return unit * safe_sqrt(u * (a / unit) ** 2 + v * (b / unit) ** 2)
