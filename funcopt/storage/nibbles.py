"""Codes of four bits, two in a byte along the last axis."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, UInt8


def packed(codes: UInt8[Array, "*p"]) -> UInt8[Array, "*q"]:
    """Pairs of codes below 16 in one byte each, the first in the lower half."""
    *lead, last = codes.shape
    if last % 2:
        codes = lax.pad(codes, jnp.uint8(0), [(0, 0, 0)] * len(lead) + [(0, 1, 0)])
    pairs = lax.reshape(codes, (*lead, (last + 1) // 2, 2))
    return pairs[..., 0] | (pairs[..., 1] << 4)


def unpacked(pairs: UInt8[Array, "*q"], last: int) -> UInt8[Array, "*p"]:
    """The codes of `packed`, of rows of `last` elements."""
    both = jnp.stack([pairs & 15, pairs >> 4], axis=-1)
    flat = lax.reshape(both, (*pairs.shape[:-1], 2 * pairs.shape[-1]))
    return flat if flat.shape[-1] == last else lax.slice_in_dim(flat, 0, last, axis=-1)
