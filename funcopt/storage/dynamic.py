"""Dynamic exponents: decades of the block's largest magnitude, the higher ones divided more finely.

With D decades (7 in eight bits, 3 in four), a code p from 1 to 2ᴰ − 1 is in the decade
i = ⌊log2 p⌋ and there the j-th of 2ⁱ, j = p − 2ⁱ; the largest code 2ᴰ is 1:

    u = 10^(i − D + 1) (0.1 + 0.9 (j + ½) / 2ⁱ)
    code = p + 2ᴰ − 1 for u ≥ 0, and −p + 2ᴰ − 1 for u < 0

These are the entries of bitsandbytes' `create_dynamic_map(signed=True)` in their order (Dettmers et
al., 2022, https://arxiv.org/abs/2110.02861), from 1e-6 to 1 in eight bits. They have a 1, but no
−1: a block whose largest magnitude is of a negative number has a negative scale here.

No table is looked up. A decade is found by comparing with its ends, the middles between entries.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .blockwise import SLOW, Blockwise


class Decade(NamedTuple):
    """One decade: where it begins, its number of entries, and their density."""

    begin: float
    entries: int
    density: float


@cache
def decades(total: int) -> tuple[Decade, ...]:
    def entry(i: int, j: float) -> float:
        return 10.0 ** (i - total + 1) * (0.1 + 0.9 * (j + 0.5) / 2**i)

    def each() -> Iterator[Decade]:
        for i in range(total):
            last = 0.0 if i == 0 else entry(i - 1, 2 ** (i - 1) - 1)
            density = 2**i / 0.9 * 10.0 ** (total - 1 - i)
            yield Decade((last + entry(i, 0)) / 2, 2**i, density)

    return tuple(each())


@dataclass(frozen=True)
class Dynamic(Blockwise):
    """What the codecs of eight and four bits share."""

    holds: ClassVar = ("signed",)
    mirrors: ClassVar = True
    decade_count: ClassVar[int] = 7

    @property
    def slow(self) -> float:
        return SLOW

    @property
    def largest(self) -> int:
        return 2**self.decade_count

    def code(self, u: Array, draw: Array | None, top: Array | None) -> Array:
        size = lax.min(lax.abs(u), jnp.ones_like(u))
        p = self._nearest(size)
        if draw is not None:
            below = jnp.where(self._entry(p) <= size, p, lax.sub(p, jnp.float32(1)))
            low, high = self._entry(below), self._entry(lax.add(below, jnp.float32(1)))
            p = jnp.where(draw * (high - low) < size - low, below + 1, below)
        else:
            assert top is not None
            p = jnp.where(top & (u > 0), jnp.float32(self.largest), p)
        p = jnp.where(u < 0, -jnp.minimum(p, self.largest - 1), p)
        return lax.add(p, jnp.float32(self.largest - 1)).astype(jnp.int32)

    def value(self, code: Array, scale: Array) -> Array:
        p = lax.sub(code.astype(jnp.float32), jnp.float32(self.largest - 1))
        size = self._entry(lax.abs(p))
        return lax.mul(jnp.where(p < 0, -size, size), scale)

    def _nearest(self, size: Array) -> Array:
        """The code p of the nearest entry."""
        first, *rest = decades(self.decade_count)
        begin = jnp.full_like(size, first.entries)
        density = jnp.full_like(size, first.density)
        for each in rest:
            inside = size >= jnp.float32(each.begin)
            begin = jnp.where(inside, jnp.float32(each.entries), begin)
            density = jnp.where(inside, jnp.float32(each.density), density)
        # The cells of a decade begin at a ninth of their number: 0.1 / 0.9 of 2ⁱ.
        place = lax.floor(size * density - begin * jnp.float32(1 / 9))
        p = begin + lax.clamp(jnp.zeros_like(place), place, begin - 1)
        last = (1.0 + 1.0 - 0.45 / 2 ** (self.decade_count - 1)) / 2
        p = jnp.where(size >= jnp.float32(last), jnp.float32(self.largest), p)
        return jnp.where(size < jnp.float32(first.begin), jnp.zeros_like(p), p)

    def _entry(self, p: Array) -> Array:
        """The entry of a code p ≥ 0."""
        total = self.decade_count
        begin, unit = jnp.ones_like(p), jnp.full_like(p, 10.0 ** (1 - total))
        for i in range(1, total):
            inside = p >= jnp.float32(2**i)
            begin = jnp.where(inside, jnp.float32(2**i), begin)
            unit = jnp.where(inside, jnp.float32(10.0 ** (i - total + 1)), unit)
        size = unit * (jnp.float32(0.1) + jnp.float32(0.9) * ((p - begin + 0.5) / begin))
        size = jnp.where(p >= jnp.float32(self.largest), jnp.ones_like(size), size)
        return jnp.where(p < 1, jnp.zeros_like(size), size)


@dataclass(frozen=True)
class Dynamic8(Dynamic):
    __doc__ = __doc__


@dataclass(frozen=True)
class Dynamic4(Dynamic):
    """The dynamic codes of four bits: 7 of each sign in three decades, 0 and 1."""

    bits: ClassVar = 4
    decade_count: ClassVar = 3
