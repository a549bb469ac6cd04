"""One schedule, and what its laws compare it with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def each_form(cases: Sequence[Case]) -> Any:
    """Parametrise by case, for laws that do not depend on the numbers in the schedule's call.

    The first case implies those whose calls differ from its own in numbers only. They are marked
    `every_row`, and run by `.ci/run`.
    """
    found, forms = [], set()
    for case in cases:
        form = re.sub(r"\d[\d.]*(e[-+]?\d+)?", "0", repr(case.schedule))
        marks = [pytest.mark.every_row] if form in forms else []
        found.append(pytest.param(case, id=repr(case.schedule), marks=marks))
        forms.add(form)
    return pytest.mark.parametrize("case", found)


COUNTS = np.array([*range(1001), *LATE])


@cache
def along(schedule: funcopt.Schedule) -> np.ndarray:
    """Its values at `COUNTS`, compiled once for the laws that compare with them."""
    return over(schedule, COUNTS)


def over(schedule: funcopt.Schedule, steps: object) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32)), np.float64)
