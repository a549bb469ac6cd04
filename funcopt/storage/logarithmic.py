"""Codes in equal ratios, for what is never negative and is divided by.

Of N codes, 0 is 0 and stands for nothing else; the others are R octaves of the block's largest:

    k = N − 1 + round((N − 2) / R · log2 u)      at least 1, for u = x / scale > 0
    x ← 2^(R (k − N + 1) / (N − 2)) · scale

What is positive never becomes 0, so that nothing is divided by the `eps` alone. Rounded by chance,
it goes to the code above with the probability that makes its mean right, not that of its logarithm.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .blockwise import TINY, Blockwise


@dataclass(frozen=True)
class Logarithmic(Blockwise):
    """What the codecs of eight and four bits share.

    Args:
        octaves: how far below the largest of a block the least positive code is, in factors of 2.
    """

    octaves: float = 32.0

    holds: ClassVar = ("nonnegative",)

    def __post_init__(self):
        super().__post_init__()
        if not (isinstance(self.octaves, int | float) and 0 < self.octaves <= 100):
            raise ValueError(
                f"{type(self).__name__}: octaves must be a number in (0, 100], got "
                f"{self.octaves!r}."
            )

    @property
    def most(self) -> int:
        """The largest code."""
        return 2**self.bits - 1

    @property
    def ratio(self) -> float:
        """The distance of neighbouring codes in octaves."""
        return self.octaves / (self.most - 1)

    @property
    def step(self) -> float:
        """The distance of neighbouring codes, relative to the lower one."""
        return 2**self.ratio - 1

    @property
    def slow(self) -> float:
        return self.step / 2

    def code(self, u: Array, draw: Array | None, top: Array | None) -> Array:
        del top  # bfloat16 is finer than codes: the largest has the largest code
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
        k = code.astype(jnp.float32)
        size = jnp.exp2((k - jnp.float32(self.most)) * jnp.float32(self.ratio))
        x = lax.max(lax.mul(size, scale), jnp.full_like(scale, TINY))
        return jnp.where((code == 0) & jnp.isfinite(scale), jnp.zeros_like(x), x)


@dataclass(frozen=True)
class Log8(Logarithmic):
    __doc__ = __doc__


@dataclass(frozen=True)
class Log4(Logarithmic):
    """The logarithmic codes of four bits: 0, and 15 powers of a base, over 12 octaves."""

    octaves: float = 12.0

    bits: ClassVar = 4
