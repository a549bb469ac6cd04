"""Sums and products of schedules, later and bounded ones: of progress and of performance alike."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .arguments import Delay, Within, function_of_the_step, is_number
from .listening import listening, listens
from .schedule import Listening, Schedule, part_at, schedule
from .steps import reached, since

Bound = Annotated[Any, Within(-math.inf, math.inf, schedule=False)]


def _schedule(where: str, x: Any) -> Callable:
    return function_of_the_step(where, "a schedule (a function of the step)", x)


Single = Annotated[Callable, _schedule]


def _parts(where: str, x: Any) -> tuple:
    for i, each in enumerate(x):
        if not is_number(each):
            function_of_the_step(f"{where}[{i}]", "one of schedules or numbers", each)
    return tuple(float(each) if isinstance(each, int) else each for each in x)


@dataclass(frozen=True)
class _Together(Listening):
    """Several schedules, some of which listen, as one."""

    parts: tuple
    combine: Callable

    def init(self) -> tuple:
        return tuple(x.init() if isinstance(x, Schedule) else () for x in self.parts)

    def observe(self, state: tuple, value: Float[Array, ""], step: Array) -> tuple:
        return tuple(
            x.observe(old, value, step) if isinstance(x, Schedule) else old
            for x, old in zip(self.parts, state, strict=True)
        )

    def at(self, step: Array, state: tuple) -> Array:
        numbers = [part_at(x, step, s) for x, s in zip(self.parts, state, strict=True)]
        return self.combine(*numbers)


@dataclass(frozen=True)
class _Later(Listening):
    """A schedule begun later, which hears nothing until then."""

    schedule: Any
    delay: Any

    def init(self) -> Any:
        return self.schedule.init() if isinstance(self.schedule, Schedule) else ()

    def observe(self, state: Any, value: Float[Array, ""], step: Array) -> Any:
        heard = self.schedule.observe(state, value, self._own(step))
        begun = reached(step, self.delay)
        return jax.tree.map(lambda new, old: jnp.where(begun, new, old), heard, state)

    def at(self, step: Array, state: Any) -> Array:
        return part_at(self.schedule, self._own(step), state)

    def _own(self, step: Array) -> Array:
        return jnp.maximum(since(step, self.delay), 0)


def _together(parts: tuple, combine: Callable) -> Callable | Listening:
    return listening(_Together(parts, combine), any(map(listens, parts)))


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
def shifted(schedule: Single, steps: Delay):
    """A schedule begun `steps` later; until then, its first value.

    One that listens to a metric hears nothing until then.

    >>> import funcopt
    >>> later = funcopt.linear_schedule(1.0, 0.0, 10).shifted(5)
    >>> [float(later(step)) for step in (0, 5, 10, 15)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return listening(_Later(schedule, steps), listens(schedule))


@schedule
def clipped(schedule: Single, low: Bound = -math.inf, high: Bound = math.inf):
    """A schedule kept between `low` and `high`.

    >>> import funcopt
    >>> floor = funcopt.linear_schedule(1.0, 0.0, 10).clipped(low=0.25)
    >>> [float(floor(step)) for step in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    return _together((schedule,), lambda number: jnp.clip(number, low, high))
