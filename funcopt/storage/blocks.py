"""Blocks of consecutive elements along the last axis, with one scale for each.

Codes have the shape of the array that they are of, so that they are split over devices as it is. A
block size depends on the shape of the whole array alone, never on the part that a device has.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, BFloat16, Float32

SIZES = (256, 128, 64, 32)


def block_size(shape: tuple[int, ...], most: int) -> int:
    """The largest of 256, 128, 64 and 32, but at most `most`, that divides the last axis.

    Where none does, the last block of each row is shorter; rows shorter than a block are one.

    >>> [block_size((3, n), 256) for n in (512, 384, 96, 100, 7)]
    [256, 128, 32, 100, 7]
    """
    last = shape[-1] if shape else 1
    sizes = [size for size in SIZES if size <= most]
    found = next((size for size in sizes if last % size == 0), min(128, most))
    return max(min(found, last), 1)


def _blocks(last: int, block: int) -> int:
    return -(-last // block)


def in_blocks(x: Array, block: int) -> Array:
    """The last axis as two, blocks and their elements; the last block is filled up by zeros."""
    *lead, last = x.shape
    count = _blocks(last, block)
    missing = count * block - last
    if missing:
        x = lax.pad(x, jnp.zeros([], x.dtype), [(0, 0, 0)] * len(lead) + [(0, missing, 0)])
    return lax.reshape(_whole_rows(x, count), (*lead, count, block))


def spread(scale: Array, shape: tuple[int, ...], block: int) -> Array:
    """Each block's number beside each of its elements."""
    *lead, last = shape
    count = scale.shape[-1]
    wide = lax.broadcast_in_dim(scale, (*lead, count, block), tuple(range(len(shape))))
    flat = lax.reshape(wide, (*lead, count * block))
    return flat if count * block == last else lax.slice_in_dim(flat, 0, last, axis=-1)


def _whole_rows(x: Array, count: int) -> Array:
    """`x`, on a mesh with explicit axes with whole rows where a device's part cuts a block."""
    sharding = getattr(jax.typeof(x), "sharding", None)
    if sharding is None or not getattr(sharding.mesh, "_any_axis_explicit", False):
        return x
    spec = (*sharding.spec, *[None] * (x.ndim - len(sharding.spec)))
    if spec[-1] is None or count % _parts(sharding.mesh, spec[-1]) == 0:
        return x
    return jax.sharding.reshard(x, PartitionSpec(*spec[:-1], None))


def _parts(mesh: Any, axes: Any) -> int:
    size = 1
    for axis in axes if isinstance(axes, tuple) else (axes,):
        size *= mesh.shape[axis]
    return size


def scale_above(largest: Float32[Array, "*n"]) -> BFloat16[Array, "*n"]:
    """The least bfloat16 that is not below a magnitude; at most the largest one.

    What is no number stays so, and its block is none.
    """
    bits = lax.bitcast_convert_type(largest, jnp.uint32)
    up = lax.min(
        lax.shift_right_logical(bits + jnp.uint32(0xFFFF), jnp.uint32(16)), jnp.uint32(0x7F7F)
    )
    above = lax.bitcast_convert_type(up.astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(bits < jnp.uint32(0x7F800000), above, largest.astype(jnp.bfloat16))


def power_above(largest: Float32[Array, "*n"]) -> BFloat16[Array, "*n"]:
    """The least power of two that is not below a magnitude, 0 for 0; at most 2¹²⁷."""
    bits = lax.bitcast_convert_type(largest, jnp.uint32)
    up = lax.shift_right_logical(bits + jnp.uint32(0x7FFFFF), jnp.uint32(23))
    power = lax.shift_left(lax.min(up, jnp.uint32(0xFE)), jnp.uint32(7))
    above = lax.bitcast_convert_type(power.astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(bits < jnp.uint32(0x7F800000), above, largest.astype(jnp.bfloat16))


def relative(
    x: Float32[Array, "*p"], scale: Float32[Array, "*b"], block: int
) -> Float32[Array, "*p"]:
    """x / scale of its block, where that is 0: 0."""
    # XLA multiplies by the reciprocal, which of a scale above 2¹²⁶ is not normal and becomes 0.
    part = jnp.where(lax.abs(scale) > 1, jnp.float32(0.25), jnp.float32(1))
    shared = spread(
        lax.mul(jnp.where(scale == 0, jnp.ones_like(scale), scale), part), x.shape, block
    )
    return lax.div(lax.mul(x, spread(part, x.shape, block)), shared)
