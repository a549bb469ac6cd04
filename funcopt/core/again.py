"""A renewed slot as it was kept: the one place where slots are encoded."""

import zlib
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..math.dtypes import at_least
from ..math.rounding import even_noise
from ..storage import BFloat16, declared
from ..storage.kept import Codec, Coded, coded_again, kept_again
from .leaves import Absent
from .rule import Clock, mean_decay


def kept(rule: Any, name: str, new: Array | None, old: Any, least: Any, clock: Clock) -> Any:
    """The slot `name` of a rule as `old` was kept, an array at least in the type `least`.

    Codes, and arrays in bfloat16, are rounded by chance where the nearest would freeze a slow mean.
    The chance is told by `clock.t`, `clock.path`, `clock.first` and the name of the slot.
    """
    if new is None:
        return Absent()
    if not isinstance(old, Coded) and not _in_bfloat16(new, old, least):
        return kept_again(new, old, least)
    codec = old.codec if isinstance(old, Coded) else BFloat16()
    x = new.astype(jnp.float32)
    flag = by_chance(codec, declared(rule.slots, name), mean_decay(rule, name))
    if flag is False:
        return kept_again(x, old, least)
    path = jnp.uint32(0) if clock.path is None else jnp.asarray(clock.path, jnp.uint32)
    first = 0 if clock.first is None else clock.first
    noise = even_noise(x.shape, clock.t, path ^ _code(name), like=x, first=first)
    drawn = coded_again(old, x, noise) if isinstance(old, Coded) else codec.encode(x, noise)
    if flag is True:
        return drawn
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), drawn, kept_again(x, old, least))


def in_few_bits(slot: Any) -> bool:
    """Whether what is kept of a slot may be rounded by chance."""
    return isinstance(slot, Coded) or getattr(slot, "dtype", None) == jnp.bfloat16


def _in_bfloat16(new: Array, old: Array, least: Any) -> bool:
    """Whether an array in float32 is to be kept in bfloat16."""
    return new.dtype == jnp.float32 and at_least(old.dtype, least or old.dtype) == jnp.bfloat16


def by_chance(codec: Codec, kind: str, decay: Any) -> bool | Bool[Array, ""]:
    """Whether a slot is rounded by chance: a bool where the decay is known before the step runs.

    Where there is none, or none is told, it is if the slot is never negative: a sum of magnitudes
    grows by ever less of itself.
    """
    if codec.slow is None or codec.rounding == "nearest":
        return False
    if codec.rounding == "stochastic":
        return True
    if decay is None:
        return kind == "nonnegative"
    slow = 1 - decay < codec.slow
    return bool(slow) if isinstance(decay, float | int) else slow


@cache
def _code(name: str) -> np.uint32:
    return np.uint32(zlib.crc32(name.encode()))
