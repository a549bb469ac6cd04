"""bfloat16, whose numbers have 8 digits in base 2 and the range of float32.

To the nearest, or by chance: x is added to 16 random bits below its last digit, and cut off.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ..math.dtypes import cast
from ..math.rounding import rounded_to_bfloat16
from .kept import Codec, Rounding


@dataclass(frozen=True)
class BFloat16(Codec):
    __doc__ = __doc__

    rounding: Rounding = "auto"

    holds: ClassVar = ("signed", "nonnegative")

    @property
    def slow(self) -> float:
        return 2.0**-8

    @property
    def step(self) -> float:
        return 2.0**-7

    def encode(self, x: Array, noise: Array | None = None) -> Array:
        high = None if noise is None else lax.shift_right_logical(noise, jnp.uint32(16))
        return rounded_to_bfloat16(cast(x, jnp.float32), high)

    def decode(self, codes: Array, shape: tuple[int, ...], dtype: type) -> Array:
        del shape  # codes have it
        return cast(codes, dtype)

    def part(self, codes: Array, whole: tuple[int, ...]) -> tuple[int, ...]:
        del whole  # codes have it
        return codes.shape
