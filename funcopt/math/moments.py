"""Running means and what corrects them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact, Int


def ema(mean: Inexact[Array, "*p"], x: Inexact[Array, "*p"], decay: Any) -> Inexact[Array, "*p"]:
    """The exponential moving average `mean` after seeing `x`."""
    return decay * mean + (1 - decay) * x


def abs_sq(x: Inexact[Array, "*p"]) -> Float[Array, "*p"]:
    """|x|², real even where `x` is complex."""
    return x.real**2 + x.imag**2 if jnp.iscomplexobj(x) else x**2


def over(
    x: Inexact[Array, "*p"], scale: Float[Array, "*p"], eps: ArrayLike = 0.0
) -> Inexact[Array, "*p"]:
    """x / (scale + eps); where that is 0, which is where no gradient ever came and eps is 0, x.

    There x is 0 too, or so small that its square is.
    """
    scale = scale + eps
    if isinstance(eps, int | float) and eps >= jnp.finfo(scale.dtype).tiny:
        return x / scale
    # Not `where`, a nested jit, which would be traced and compiled for every shape of leaf.
    return x / jax.lax.select(scale == 0, jnp.ones_like(scale), scale)


def power(base: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    """base**t for a base in [0, 1)."""
    return jnp.exp(t.astype(dtype) * _log(base))


def seen(decay: ArrayLike, t: Int[Array, ""], dtype) -> Float[Array, ""]:
    """1 - decay**t: the total weight in a moving average after `t` values.

    Written with expm1, since at small `t` the plain form loses half of float32's digits: with
    decay 0.999 and t = 1 it is 6e-6 off, which then is the error of Adam's first step.
    """
    return -jnp.expm1(t.astype(dtype) * _log(decay))


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
