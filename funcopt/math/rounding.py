"""Rounding to fewer digits, to the nearest or by chance, and the noise that decides the chance.

Nothing here is a conversion there and back, which a compiler may leave out: XLA does on GPUs.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, BFloat16, Float32, UInt32

GOLDEN = 0x9E3779B9
_SIGN, _INFINITE, _LARGEST = 0x80000000, 0x7F800000, 0x7F7F0000


def mixed(x: UInt32[Array, "*n"]) -> UInt32[Array, "*n"]:
    """A permutation of 32-bit integers that spreads every bit over all: lowbias32.

    Wellons, 2018 (https://nullprogram.com/blog/2018/07/31/).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def hash_noise(
    shape: tuple[int, ...],
    step: Array | int,
    salt: Array | int,
    *,
    like: Array | None = None,
    first: Array | int = 0,
) -> UInt32[Array, "*n"]:
    """Random bits that are a function of an element's index, a step and a salt: no key is kept.

    Args:
        shape: of the whole array. The bits of an element are the same however the array is split
            over the devices of a mesh, and no device asks another. Inside of `jax.shard_map` an
            index is that in the shard.
        step: a count; every step has bits of its own.
        salt: an integer from 0 to 2³² − 1 that tells arrays apart.
        like: an array of this shape, along which the bits are split on a mesh with explicit axes.
        first: the index of the first element, where these are some rows of a larger array.

    >>> from funcopt.math.rounding import hash_noise
    >>> hash_noise((3,), 1, 0).tolist() == hash_noise((5,), 1, 0)[:3].tolist()
    True
    >>> hash_noise((3,), 1, 0).tolist() == hash_noise((3,), 2, 0).tolist()
    False
    """
    step, salt = jnp.asarray(step).astype(jnp.uint32), jnp.asarray(salt).astype(jnp.uint32)
    index = jnp.asarray(first).astype(jnp.uint32)
    stride, places = 1, _explicit(like)
    for axis in reversed(range(len(shape))):
        along = jax.lax.broadcasted_iota(jnp.uint32, shape, axis, **places)
        index = index + along * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    return mixed(index ^ mixed((step * jnp.uint32(GOLDEN)) ^ salt))


def even_noise(
    shape: tuple[int, ...],
    step: Array | int,
    salt: Array | int,
    *,
    like: Array | None = None,
    first: Array | int = 0,
) -> UInt32[Array, "*n"]:
    """Random bits as those of `hash_noise`, which over some steps are even at each index.

    From step to step all bits turn by the golden section of 2³²: among any n draws of an element
    there are about p n below p, with an error of log n where independent ones have √n. A mean that
    is rounded by them is not driven about by their luck: it wanders a third as far.

    >>> import jax.numpy as jnp
    >>> from funcopt.math.rounding import even_noise
    >>> draws = jnp.stack([even_noise((), step, 7) for step in range(100)]) / 2.0**32
    >>> 28 <= int((draws < 0.3).sum()) <= 32
    True
    """
    step = jnp.asarray(step).astype(jnp.uint32)
    # The first part changes now and then, so that no loop keeps it in memory as a constant.
    seldom = jax.lax.shift_right_logical(step, jnp.uint32(16))
    start = hash_noise(shape, seldom, salt, like=like, first=first)
    return start + step * jnp.uint32(GOLDEN)


def _explicit(like: Array | None) -> dict[str, Any]:
    """Where an array like this is made, as far as its type says so."""
    sharding = None if like is None else getattr(jax.typeof(like), "sharding", None)
    if sharding is None or not getattr(sharding.mesh, "_any_axis_explicit", False):
        return {}
    return {"out_sharding": sharding}


def rounded_to_bfloat16(
    x: Float32[Array, "*n"], noise: UInt32[Array, "*n"] | None = None
) -> BFloat16[Array, "*n"]:
    """The bfloat16 nearest to `x`, or with `noise` one of the two beside it, whose mean is `x`.

    Args:
        x: what is finite stays finite with noise; infinities and NaN stay what they are.
        noise: random bits, of which the lower 16 are used; None for the nearest, ties to even.

    >>> import jax.numpy as jnp
    >>> from funcopt.math.rounding import hash_noise, rounded_to_bfloat16
    >>> x = jnp.full(10_000, 1 + 1 / 1024)
    >>> float(rounded_to_bfloat16(x).astype("float32").mean())
    1.0
    >>> float(rounded_to_bfloat16(x, hash_noise(x.shape, 1, 0)).astype("float32").mean())
    1.00...
    """
    if noise is None:
        return x.astype(jnp.bfloat16)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    size = bits & jnp.uint32(~_SIGN % 2**32)
    up = jnp.minimum(size + (noise & jnp.uint32(0xFFFF)), jnp.uint32(_LARGEST))
    finite = size < jnp.uint32(_INFINITE)
    some = (bits & jnp.uint32(_SIGN)) | up
    chosen = jax.lax.bitcast_convert_type((some >> 16).astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(finite, chosen, x.astype(jnp.bfloat16))
