"""Evenly spaced codes.

    q = round(127 u)         u = x / scale in [-1, 1]
    x ← q / 127 · scale

Enough for momentum whose magnitudes do not matter much one by one: that of Muon, Lion and SGD.
What is divided by must not be kept so, since all that is small becomes 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from .blockwise import SLOW, Blockwise


@dataclass(frozen=True)
class Int8(Blockwise):
    __doc__ = __doc__

    holds: ClassVar = ("signed",)

    @property
    def slow(self) -> float:
        return SLOW

    def code(self, u: Array, draw: Array | None, top: Array | None) -> Array:
        z = lax.mul(u, jnp.float32(127))
        if draw is not None:
            q = lax.floor(lax.add(z, draw))
        else:
            assert top is not None
            q = jnp.where(top, lax.mul(lax.sign(u), jnp.float32(127)), lax.round(z))
        q = lax.clamp(jnp.float32(-127), q, jnp.float32(127))
        return lax.add(q, jnp.float32(127)).astype(jnp.int32)

    def value(self, code: Array, scale: Array) -> Array:
        q = lax.sub(code.astype(jnp.float32), jnp.float32(127))
        return lax.mul(lax.div(q, jnp.float32(127)), scale)
