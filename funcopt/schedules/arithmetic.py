"""Sums and products of schedules, later and bounded ones: of progress and of performance alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..value import Offset, Within, is_number
from .listening import listens
from .schedule import Listening, Schedule, schedule

Bound = Annotated[Any, Within(-math.inf, math.inf, schedule=False)]


def _parts(where: str, x: Any) -> tuple:
    for each in x:
        if not callable(each) and not is_number(each):
            raise TypeError(f"{where} must be schedules or numbers, got {each!r}.")
    return tuple(each if callable(each) or not isinstance(each, int) else float(each) for each in x)


@dataclass(frozen=True)
class _Together(Listening):
    """Several schedules, some of which listen, as one."""

    parts: tuple
    combine: Callable
    delay: Any = 0

    def init(self) -> tuple:
        return tuple(x.init() if isinstance(x, Schedule) else () for x in self.parts)

    def observe(self, state: tuple, value: Float[Array, ""], step: Array) -> tuple:
        step = self._own(step)
        return tuple(
            x.observe(old, value, step) if isinstance(x, Schedule) else old
            for x, old in zip(self.parts, state, strict=True)
        )

    def at(self, step: Array, state: tuple) -> Array:
        step = self._own(step)
        numbers = [_number(x, step, s) for x, s in zip(self.parts, state, strict=True)]
        return self.combine(*numbers)

    def _own(self, step: Array) -> Array:
        return jnp.maximum(step - self.delay, 0)


def _number(x: Any, step: Array, state: Any) -> Array:
    if isinstance(x, Schedule):
        return x.at(step, state)
    return jnp.asarray(x(step) if callable(x) else x, jnp.float32)


def _together(parts: tuple, combine: Callable, delay: Any = 0) -> Callable | Listening:
    together = _Together(parts, combine, delay)
    if any(map(listens, parts)):
        return together
    return lambda step: together.at(step, together.init())


@schedule
def product(*schedules: Annotated[Any, _parts]):
    """The product of schedules and numbers: what `a * b` makes.

    A schedule driven by progress times one driven by performance is one schedule, which can stand
    wherever a number can.

    >>> import funcopt
    >>> funcopt.linear_schedule(1.0, 0.0, 10) * 0.5
    product(linear_schedule(init_value=1.0, end_value=0.0, transition_steps=10), 0.5)
    """
    return _together(schedules, lambda *numbers: reduce(jnp.multiply, numbers))


@schedule
def total(*schedules: Annotated[Any, _parts]):
    """The sum of schedules and numbers: what `a + b` makes.

    >>> import funcopt
    >>> (funcopt.linear_schedule(1.0, 0.0, 10) + 0.5)(10)
    Array(0.5, dtype=float32)
    """
    return _together(schedules, lambda *numbers: reduce(jnp.add, numbers))


@schedule
def shifted(schedule: Callable, steps: Offset):
    """A schedule begun `steps` later; until then, its first value.

    >>> import funcopt
    >>> later = funcopt.linear_schedule(1.0, 0.0, 10).shifted(5)
    >>> [float(later(step)) for step in (0, 5, 10, 15)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return _together((schedule,), lambda number: number, steps)


@schedule
def clipped(schedule: Callable, low: Bound = -math.inf, high: Bound = math.inf):
    """A schedule kept between `low` and `high`.

    >>> import funcopt
    >>> floor = funcopt.linear_schedule(1.0, 0.0, 10).clipped(low=0.25)
    >>> [float(floor(step)) for step in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    return _together((schedule,), lambda number: jnp.clip(number, low, high))
