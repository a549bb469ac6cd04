"""Codes in equal ratios, for what is never negative and is divided by.

Of N codes, 0 is 0 and stands for nothing else; of the others there are c to an octave:

    k = N − 1 + round(c log2 u)          at least 1, for u = x / scale > 0
    x ← 2^((k − N + 1) / c) · scale

The scale of a block is a power of two. Where c is an integer, all blocks and steps share one grid
of codes, and a scale that follows the largest moves no other element. What is positive never
becomes 0, so that nothing is divided by the `eps` alone. Rounded by chance, it goes to the code
above with the probability that makes its mean right, not that of its logarithm.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .blocks import power_above
from .blockwise import TINY, Blockwise

SLOW = 0.25
"""The weight of a new value below which a mean is better rounded by chance.

Measured on synthetic and recorded gradients: codes of one grid that does not move freeze sooner
than others, and noise is small where a mean is fast.
"""


@dataclass(frozen=True)
class Logarithmic(Blockwise):
    """What the codecs of eight and four bits share.

    Args:
        per_octave: how many codes there are to a factor of 2.
    """

    per_octave: float = 8

    holds: ClassVar = ("nonnegative",)

    def __post_init__(self):
        super().__post_init__()
        if not (isinstance(self.per_octave, int | float) and 1 <= self.octaves <= 100):
            raise ValueError(
                f"{type(self).__name__}: per_octave must be a number from {(self.most - 1) / 100} "
                f"to {self.most - 1}, got {self.per_octave!r}: codes are for 1 to 100 octaves."
            )

    @property
    def most(self) -> int:
        """The largest code."""
        return 2**self.bits - 1

    @property
    def octaves(self) -> float:
        """How far below the scale the least positive code is, in factors of 2."""
        return (self.most - 1) / max(self.per_octave, 1e-9)

    @property
    def ratio(self) -> float:
        """The distance of neighbouring codes in octaves."""
        return 1 / self.per_octave

    @property
    def step(self) -> float:
        """The distance of neighbouring codes, relative to the lower one."""
        return 2**self.ratio - 1

    @property
    def slow(self) -> float:
        return SLOW

    def scale(self, largest: Array) -> Array:
        return power_above(largest)

    def code(self, u: Array, draw: Array | None, top: Array | None) -> Array:
        del top  # the grid of codes does not move, so that the largest needs none of its own
        positive = u > 0
        place = jnp.log2(jnp.where(positive, u, jnp.ones_like(u))) * jnp.float32(1 / self.ratio)
        if draw is None:
            k = lax.round(place)
        else:
            below = lax.floor(place)
            over = jnp.expm1((place - below) * jnp.float32(self.ratio * math.log(2)))
            k = jnp.where(draw * jnp.float32(self.step) < over, below + 1, below)
        k = lax.clamp(jnp.float32(1 - self.most), k, jnp.float32(0)) + jnp.float32(self.most)
        k = lax.max(k, jnp.float32(1))
        return jnp.where(positive, k, jnp.zeros_like(k)).astype(jnp.int32)

    def value(self, code: Array, scale: Array) -> Array:
        below = lax.sub(jnp.float32(self.most), code.astype(jnp.float32))
        # Whole octaves are exact, so that codes of one grid stand for the same bits in every block.
        whole = lax.floor(below / jnp.float32(self.per_octave))
        rest = (below - whole * jnp.float32(self.per_octave)) / jnp.float32(self.per_octave)
        power = lax.shift_left(127 - whole.astype(jnp.int32), jnp.int32(23))
        size = lax.mul(jnp.exp2(-rest), lax.bitcast_convert_type(power, jnp.float32))
        x = lax.max(lax.mul(size, scale), jnp.full_like(scale, TINY))
        return jnp.where((code == 0) & jnp.isfinite(scale), jnp.zeros_like(x), x)


@dataclass(frozen=True)
class Log8(Logarithmic):
    __doc__ = __doc__


@dataclass(frozen=True)
class Log4(Logarithmic):
    """The logarithmic codes of four bits: 0, and 15 over nine octaves."""

    per_octave: float = 1.5

    bits: ClassVar = 4
