"""A renewed slot as it was kept: the one place where slots are encoded."""

import zlib
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..math.rounding import even_noise
from ..storage import declared
from ..storage.kept import Codec, Coded, coded, kept_again
from .leaves import Absent
from .rule import Clock, mean_decay


def kept(rule: Any, name: str, new: Array | None, old: Any, least: Any, clock: Clock) -> Any:
    """The slot `name` of a rule as `old` was kept, an array at least in the type `least`.

    Codes are rounded by chance where the nearest would freeze a slow mean. The chance is told by
    `clock.t`, `clock.path`, `clock.first` and the name of the slot.
    """
    if new is None:
        return Absent()
    if not isinstance(old, Coded):
        return kept_again(new, old, least)
    x = new.astype(jnp.float32)
    flag = by_chance(old.codec, declared(rule.slots, name), mean_decay(rule, name))
    if flag is False:
        return coded(old.codec, x)
    path = jnp.uint32(0) if clock.path is None else jnp.asarray(clock.path, jnp.uint32)
    first = 0 if clock.first is None else clock.first
    noise = even_noise(x.shape, clock.t, path ^ _code(name), like=x, first=first)
    drawn = coded(old.codec, x, noise)
    if flag is True:
        return drawn
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b), drawn, coded(old.codec, x))


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
