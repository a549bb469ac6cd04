"""One schedule, and what its laws compare it with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import funcopt

EPS = float(np.finfo(np.float32).eps)
LATE = (2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1)


class Case(NamedTuple):
    """A schedule, its definition in float64, its boundaries, and optax's form if there is one.

    `rounding` is how much a relative error of its float32 inputs grows in the output: where a
    power is taken, by the exponent. It `grows` with the step where the exponent does.
    """

    schedule: funcopt.Schedule
    definition: Callable
    boundaries: tuple[int, ...]
    optax: Callable | None = None
    rounding: float = 1.0
    grows: bool = False


def over(schedule: funcopt.Schedule, steps: object) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32)), np.float64)
