"""Running means and what corrects them.

Every parameter's step is made of these, so they call lax's primitives: each of jnp's operators is a
function of its own to JAX, which is traced anew for every shape.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact, Int

from .dtypes import cast


def ema(mean: Inexact[Array, "*p"], x: Inexact[Array, "*p"], decay: Any) -> Inexact[Array, "*p"]:
    """The exponential moving average `mean` after seeing `x`."""
    dtype = jnp.promote_types(mean.dtype, x.dtype)
    return lax.add(times(decay, cast(mean, dtype)), times(1 - decay, cast(x, dtype)))


def ema_between(
    mean: Inexact[Array, "*p"],
    x: Inexact[Array, "*p"],
    first: Any,
    last: Any,
    part: Float[Array, ""],
) -> Inexact[Array, "*p"]:
    """`ema` with a half-life that is `part` of the way from that of one decay to another's.

    The weight of x is computed itself: in float32, 1 − 0.9999 has half the digits.
    """
    rate = 1 / ((1 - part) / _log(first) + part / _log(last))
    weight = lax.neg(lax.expm1(rate))
    return lax.add(mean, times(weight, lax.sub(x, mean)))


def times(number: ArrayLike, x: Inexact[Array, "*p"]) -> Inexact[Array, "*p"]:
    """number · x, in the type of x."""
    return lax.mul(cast(number, x.dtype), x)


def abs_sq(x: Inexact[Array, "*p"]) -> Float[Array, "*p"]:
    """|x|², real even where `x` is complex."""
    if jnp.iscomplexobj(x):
        return lax.add(lax.square(lax.real(x)), lax.square(lax.imag(x)))
    return lax.square(x)


def divide_or_keep(
    x: Inexact[Array, "*p"], scale: Float[Array, "*p"], eps: ArrayLike = 0.0
) -> Inexact[Array, "*p"]:
    """x / (scale + eps); where that is 0, which is where no gradient ever came and eps is 0, x.

    There x is 0 too, or so small that its square is.
    """
    scale = _plus(scale, eps)
    if not isinstance(eps, int | float) or eps < jnp.finfo(scale.dtype).tiny:
        scale = lax.select(lax.eq(scale, cast(0, scale.dtype)), jnp.ones_like(scale), scale)
    return lax.div(x, cast(scale, x.dtype))


def divide_by_root(
    x: Inexact[Array, "*p"],
    square: Float[Array, "*p"],
    eps: ArrayLike = 0.0,
    eps_root: ArrayLike = 0.0,
) -> Inexact[Array, "*p"]:
    """x / (√(square + eps_root) + eps), and x where that is 0, as in `divide_or_keep`."""
    return divide_or_keep(x, lax.sqrt(_plus(square, eps_root)), eps)


def _plus(x: Float[Array, "*p"], number: ArrayLike) -> Float[Array, "*p"]:
    """x + number for x ≥ 0, which a Python 0 does not change."""
    return x if is_known_zero(number) else lax.add(x, cast(number, x.dtype))


def is_known_zero(number: ArrayLike) -> bool:
    """Whether it is a Python 0: one in an array may be another at the next call."""
    return isinstance(number, int | float) and number == 0


def power(base: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    """base**t for a base in [0, 1)."""
    return lax.exp(times(_log(base), cast(t, dtype)))


def bias_correction(decay: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    """1 - decay**t: the total weight in a moving average after `t` values.

    Written with expm1, since at small `t` the plain form loses half of float32's digits: with
    decay 0.999 and t = 1 it is 6e-6 off, which then is the error of Adam's first step.
    """
    return lax.neg(_minus_bias_correction(decay, t, dtype))


def unbiased(
    mean: Inexact[Array, "*p"], decay: ArrayLike, t: Int[Array, ""]
) -> Inexact[Array, "*p"]:
    """mean / (1 - decay**t): a moving average after `t` values, without the zeros it began with."""
    return times(lax.neg(minus_weight(decay, t, jnp.finfo(mean.dtype).dtype)), mean)


def minus_weight(decay: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    """-1 / (1 - decay**t), by which `unbiased` multiplies, but for the sign.

    That is for every loop to turn: XLA then makes one program of the loops of leaves of a shape.
    """
    return lax.div(cast(1, dtype), _minus_bias_correction(decay, t, dtype))


def _minus_bias_correction(decay: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    return lax.expm1(times(_log(decay), cast(t, dtype)))


def _log(decay: ArrayLike) -> ArrayLike:
    if isinstance(decay, int | float):
        return math.log(decay) if decay > 0 else -math.inf
    return jnp.log1p(-(1 - decay))  # type: ignore[operator]


def zeros_real(x: Inexact[Array, "*p"]) -> Float[Array, "*p"]:
    """Zeros shaped and placed like `x`, real where `x` is complex."""
    return jnp.zeros_like(x.real if jnp.iscomplexobj(x) else x)


def full_real(x: Inexact[Array, "*p"], value: ArrayLike) -> Float[Array, "*p"]:
    """`value` everywhere, shaped and placed like `x`, real where `x` is complex."""
    return jnp.full_like(x.real if jnp.iscomplexobj(x) else x, value)
