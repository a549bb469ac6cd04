"""What codecs with blocks share: a scale for each block, and codes of what is relative to it."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, BFloat16, Float32, UInt8

from .blocks import block_size, in_blocks, relative, scale_above, spread
from .kept import Codec, Rounding
from .nibbles import packed, unpacked

NOISE_UNIT = 2.0**-24
TINY = float(np.finfo(np.float32).tiny)
SLOW = 2.0**-7
"""The weight of a new value below which a signed mean is better rounded by chance.

Measured for means of noisy gradients: whatever the codes are, the errors of both ways cross at a
decay of about 0.99. What is signed grows and shrinks by more than its decay, unlike magnitudes.
"""


class Blocks(NamedTuple):
    """Codes of an array, in its shape, and the scales of its blocks of `size` elements.

    Codes of four bits lie two in a byte along the last axis.
    """

    codes: UInt8[Array, "*p"]
    scales: BFloat16[Array, "*b"]


@dataclass(frozen=True)
class Blockwise(Codec):
    """A codec with a bfloat16 scale for each block of consecutive elements along the last axis.

    The scale of a block is the least bfloat16 that is not below its largest magnitude, so that
    u = x / scale is in [-1, 1]; where `mirrors`, it has the sign of the element with that
    magnitude, for whose u the largest code is exact.

    Args:
        block: how many elements share a scale; None for the largest of 128, 64 and 32 (of 64 and
            32 with codes of four bits) that divides the last axis of the whole array, else 128
            (64), and a shorter last block.
        rounding: to the nearest code, or stochastic: to one of the two beside it, by chance, so
            that the mean is right. "auto": stochastic where the nearest would freeze the slot.
    """

    block: int | None = None
    rounding: Rounding = "auto"

    bits: ClassVar[int] = 8
    mirrors: ClassVar[bool] = False

    def __post_init__(self):
        if self.block is not None and not (type(self.block) is int and self.block >= 1):
            raise ValueError(
                f"{type(self).__name__}: block must be None or an integer >= 1, got {self.block!r}."
            )
        if self.rounding not in ("auto", "nearest", "stochastic"):
            raise ValueError(
                f"{type(self).__name__}: rounding must be 'auto', 'nearest' or 'stochastic', got "
                f"{self.rounding!r}."
            )

    def scale(self, largest: Array) -> Array:
        """The scale of a block, of its largest magnitude; not below it."""
        return scale_above(largest)

    @abstractmethod
    def code(self, u: Array, draw: Array | None, top: Array | None) -> Array:
        """The codes of numbers in [-1, 1], as integers from 0.

        Args:
            u: what is coded.
            draw: even in [0, 1), for stochastic rounding; None for the nearest code.
            top: which elements are the largest of their block; None with `draw`.
        """

    @abstractmethod
    def value(self, code: Array, scale: Array) -> Array:
        """What codes stand for, times a scale."""

    def size(self, shape: tuple[int, ...]) -> int:
        """How many elements a block has in an array of this shape."""
        if self.block is not None:
            return max(min(self.block, shape[-1] if shape else 1), 1)
        return block_size(shape, 128 if self.bits == 8 else 64)

    def encode(self, x: Float32[Array, "*p"], noise: Array | None = None) -> Blocks:
        shape = x.shape
        row = x if shape else x.reshape(1)
        block = self.size(row.shape)
        largest, sign = self._largest(row, block)
        scale = self.scale(largest)
        wide = lax.mul(scale.astype(jnp.float32), sign)
        u = relative(row, wide, block)
        if (
            "nonnegative" in self.holds
        ):  # what is positive stays so, however small beside the largest
            u = jnp.where(row > 0, lax.max(u, jnp.full_like(u, TINY)), u)
        if noise is None:
            top = lax.ge(lax.abs(row), spread(largest, row.shape, block))
            codes = self.code(u, None, top)
        else:
            bits = lax.shift_right_logical(noise.reshape(row.shape), jnp.uint32(8))
            codes = self.code(u, bits.astype(jnp.float32) * jnp.float32(NOISE_UNIT), None)
        codes = codes.astype(jnp.uint8)
        scales = wide.astype(jnp.bfloat16)
        if not shape:
            return Blocks(codes.reshape(()), scales.reshape(()))
        return Blocks(packed(codes) if self.bits == 4 else codes, scales)

    def decode(self, codes: Blocks, shape: tuple[int, ...], dtype: type) -> Array:
        rows = shape or (1,)
        small = codes.codes if shape else codes.codes.reshape(1)
        if self.bits == 4 and shape:
            small = unpacked(small, rows[-1])
        scales = codes.scales if shape else codes.scales.reshape(1)
        scale = spread(scales.astype(jnp.float32), rows, self.size(rows))
        return self.value(small, scale).reshape(shape).astype(dtype)

    def part(self, codes: Blocks, whole: tuple[int, ...]) -> tuple[int, ...]:
        if not whole:
            return whole
        *lead, last = codes.codes.shape
        length = whole[-1]
        if self.bits == 4:
            last = length if last == -(-length // 2) else 2 * last
        block = self.size(whole)
        if last != length and (length % block or last != block * codes.scales.shape[-1]):
            raise ValueError(
                f"{type(self).__name__}: a device has {last} of the {length} elements of a row, "
                f"which cuts one of its blocks of {block}. Give `jax.shard_map` the places that "
                "funcopt.state_shardings tells, and split the parameter along another axis or into "
                "fewer parts."
            )
        return (*lead, last)

    def _largest(self, row: Array, block: int) -> tuple[Array, Array]:
        """The largest magnitude of each block, and the sign of its scale."""
        blocks = in_blocks(row, block)
        if not self.mirrors:
            largest = jnp.max(lax.abs(blocks), axis=-1)
            return largest, jnp.ones_like(largest)
        high, low = jnp.max(blocks, axis=-1), -jnp.min(blocks, axis=-1)
        return lax.max(high, low), jnp.where(low > high, -1.0, 1.0).astype(row.dtype)
