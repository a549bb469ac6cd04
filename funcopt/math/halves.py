"""A float32 as a number of 16 bits and what is left of it, and updates that land on such a number.

    x = high + low        high: the bfloat16 nearest to x, ties away from 0; low: 16 bits, or 8

Everything is done with the integers that the bits are: the carry of a rounding is that of their
addition, and no conversion to 16 bits and back is there that a compiler might leave out, as XLA
does on GPUs.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float, Float32, Int, UInt32

_SIGN, _INFINITE, _QUIET = -(2**31), 0x7F800000, 0x00400000
_LARGEST = 0x7F7F7FFF
"""The largest magnitude that a bfloat16 and 16 bits are together."""
HALF_UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
"""Half a unit in the last place, at most, as a share of a number."""
_FINEST = 2.0**-24
"""Between two neighbours below 2⁻¹⁴ in float16."""


def split(
    x: Float32[Array, "*n"], low: Any, noise: UInt32[Array, "*n"] | None = None
) -> tuple[BFloat16[Array, "*n"], Int[Array, "*n"]]:
    """The nearest bfloat16 and the rest: all of `x` in int16, 24 bits of it in all with int8.

    Args:
        x: what is finite stays finite, at most 3.396e38 in magnitude; of a NaN nothing is left but
            that it is one.
        low: the type of the rest, int16 or int8.
        noise: random bits, of which 8 decide where the 24 bits round to; None for the nearest.

    >>> import jax.numpy as jnp
    >>> from funcopt.math.halves import joined, split
    >>> high, low = split(jnp.float32(1.001), jnp.int16)
    >>> float(high), int(low), float(joined(high, low)) == float(jnp.float32(1.001))
    (1.0, 8389, True)
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    size, sign = bits & ~_SIGN, bits & _SIGN
    if jnp.iinfo(low).bits == 8:
        part = 0x80 if noise is None else (noise & 0xFF).astype(jnp.int32)
        up = (jnp.minimum(size, _LARGEST) + part) & ~0xFF
    else:
        up = size
    up = jnp.minimum(up, _LARGEST)
    top = (up + 0x8000) >> 16
    finite = size < _INFINITE
    special = (size | jnp.where(size > _INFINITE, _QUIET, 0)) >> 16
    rest = jnp.where(finite, up - (top << 16), 0) >> (16 - jnp.iinfo(low).bits)
    return _high(jnp.where(finite, top, special), sign), rest.astype(low)


def _high(top: Int[Array, "*n"], sign: Int[Array, "*n"]) -> BFloat16[Array, "*n"]:
    both = (top | jax.lax.shift_right_logical(sign, jnp.full_like(sign, 16))).astype(jnp.uint16)
    return jax.lax.bitcast_convert_type(both, jnp.bfloat16)


def joined(high: BFloat16[Array, "*n"], low: Int[Array, "*n"]) -> Float32[Array, "*n"]:
    """The float32 of which these are the parts.

    Any `low` beside any `high` gives a number that is at most half a unit in the last place from
    `high`, of the same sign; beside what is not finite it is not looked at.
    """
    whole = jax.lax.bitcast_convert_type(high, jnp.uint16).astype(jnp.int32)
    size, sign = (whole & 0x7FFF) << 16, (whole & 0x8000) << 16
    rest = low.astype(jnp.int32) << (16 - jnp.iinfo(low.dtype).bits)
    size = jnp.where(size < _INFINITE, jnp.maximum(size + rest, 0), size)
    return jax.lax.bitcast_convert_type(size | sign, jnp.float32)


def nearest(x: Float32[Array, "*n"], dtype: Any) -> Float[Array, "*n"]:
    """The number of `dtype`, bfloat16 or float16, nearest to `x`; what is finite stays finite.

    Ties go away from 0 in bfloat16, as in `split`, and to the even one in float16.
    """
    if dtype == jnp.bfloat16:
        return split(x, jnp.int16)[0]
    most = float(jnp.finfo(dtype).max)
    inside = jnp.where(jnp.isfinite(x), jnp.clip(x, -most, most), x)
    return _as_float16(inside).astype(dtype)


def _as_float16(x: Float32[Array, "*n"]) -> Float32[Array, "*n"]:
    """Rounded as a conversion does it, also below 2⁻¹⁴, which `reduce_precision` makes 0."""
    small = jnp.round(x / _FINEST) * _FINEST
    return jnp.where(jnp.abs(x) < 2.0**-14, small, jax.lax.reduce_precision(x, 5, 10))


def landing(
    new: Float[Array, "*n"], param: Float[Array, "*n"]
) -> tuple[Float32[Array, "*n"], Float[Array, "*n"]]:
    """The float32 update that makes `new` of `param`, both in one type of 16 bits, when it is added
    and the sum is rounded to that type; and what the sum is.

    That is `new`, but where this is more than 2¹⁶ times smaller than `param`, 2¹³ in float16: no
    float32 is near enough to their difference then, and the sum is at most 2⁻²⁵ of `param` beside
    it.
    """
    old, wide = param.astype(jnp.float32), new.astype(jnp.float32)
    same = same_bits(new, param)
    update = jnp.where(same, jnp.float32(-0.0), wide - old)
    total = old + update
    if param.dtype == jnp.bfloat16:
        sum_ = jax.lax.reduce_precision(total, 8, 7)
    else:
        sum_ = _as_float16(total)
    return update, jnp.where(same, new, sum_.astype(param.dtype))


def same_bits(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Array:
    """Where two arrays of 16 bits are the same number: NaN is itself, and -0 is not 0."""
    return jax.lax.bitcast_convert_type(a, jnp.uint16) == jax.lax.bitcast_convert_type(
        b, jnp.uint16
    )
