"""Schedules: values that map a step to a number, may listen to a metric, and multiply and add."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, ParamSpec

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..math.choice import where
from .arguments import Delay, Hyperparameter, Numeric, Within, function_of_the_step, is_number
from .steps import as_steps, reached, real, since
from .value import Call, Configured, build, register, value_factory

P = ParamSpec("P")


class Listening:
    """The body of a schedule that listens: a record with a state, which its metric changes.

    The state is a NamedTuple of arrays, `()` if there is none.
    """

    def init(self) -> Any:
        raise NotImplementedError

    def observe(self, state: Any, value: Float[Array, ""], step: Array) -> Any:
        """The state after hearing `value`, which is finite, at `step`."""
        raise NotImplementedError

    def at(self, step: Array, state: Any) -> Array:
        """The number in force at `step`."""
        raise NotImplementedError


class Schedule(Configured):
    """A function of the step, as a value. The first update is step 0.

    Schedules multiply and add, with each other and with numbers. Some listen to a metric, which is
    given to `update` as `metric=` (by default, `value=`); those have a value only inside of a
    transformation.

    >>> import funcopt
    >>> line = funcopt.linear_schedule(1.0, 0.0, transition_steps=4)
    >>> line(1)
    Array(0.75, dtype=float32)
    >>> (0.1 * line * line)(2)
    Array(0.025, dtype=float32)
    """

    def __init__(self, call: Call, numbers: tuple):
        self._call, self._numbers = call, numbers
        self._built, self._memory = None, None

    def body(self) -> Callable | Listening:
        if self._built is None:
            self._built = build(self._call, self._numbers)
        return self._built

    def __call__(self, step: ArrayLike) -> Float[Array, ""]:
        if self.listens:
            raise TypeError(
                f"{self!r} listens to a metric, so the step alone does not determine it. Give it "
                "to an optimizer, and the metric to `update` as metric=."
            )
        return self.at(step, ())

    @property
    def listens(self) -> bool:
        return isinstance(self.body(), Listening)

    def init(self) -> Any:
        """The state of a schedule that listens, else `()`."""
        body = self.body()
        return body.init() if isinstance(body, Listening) else ()

    @property
    def memory(self) -> Any:
        """The structure and the shapes of the state."""
        if self._memory is None:
            self._memory = jax.eval_shape(self.init)
        return self._memory

    def observe(self, state: Any, value: ArrayLike, step: ArrayLike) -> Any:
        """The state after hearing `value`."""
        body = self.body()
        if not isinstance(body, Listening):
            return state
        return body.observe(state, real(value), as_steps(step))

    def at(self, step: ArrayLike, state: Any) -> Float[Array, ""]:
        """The number at `step`, for a schedule in `state`."""
        step = as_steps(step)
        body = self.body()
        number = body.at(step, state) if isinstance(body, Listening) else body(step)
        return real(number)

    def __mul__(self, other: Hyperparameter) -> "Schedule":
        return product(self, other)

    def __rmul__(self, other: Hyperparameter) -> "Schedule":
        return product(other, self)

    def __add__(self, other: Hyperparameter) -> "Schedule":
        return total(self, other)

    def __radd__(self, other: Hyperparameter) -> "Schedule":
        return total(other, self)

    def scaled(self, factor: Hyperparameter) -> "Schedule":
        """`factor` times the schedule."""
        return self * factor

    def shifted(self, steps: int) -> "Schedule":
        """The schedule begun `steps` later; until then, its first value."""
        return shifted(self, steps)

    def clipped(self, low: Numeric = -math.inf, high: Numeric = math.inf) -> "Schedule":
        """The schedule, kept between `low` and `high`."""
        return clipped(self, low, high)


register(Schedule)


def listens(x: Any) -> bool:
    return isinstance(x, Schedule) and x.listens


def listening(body: Listening, any_listens: bool) -> Callable | Listening:
    """The body of a schedule that listens, or of one that does not, a function of the step."""
    return body if any_listens else lambda step: body.at(step, body.init())


def part_at(x: Any, step: Array, state: Any) -> Array:
    """A part of a schedule, itself a schedule, a function or a number: its number at `step`."""
    if isinstance(x, Schedule):
        return x.at(step, state)
    number = x(step) if callable(x) else x
    if not is_number(number):
        raise TypeError(f"the schedule {x!r} returned {number!r}, which is not a number.")
    return real(number)


def schedule(function: Callable[P, Callable | Listening]) -> Callable[P, Schedule]:
    """Decorate a factory of functions of the step, so that what it makes is a value.

    >>> import funcopt
    >>> from funcopt.arguments import Constant
    >>> @funcopt.schedule
    ... def halving(init_value: Constant):
    ...     return lambda step: init_value * 0.5**step
    >>> halving(8.0), halving(8.0)(2)
    (halving(init_value=8.0), Array(2., dtype=float32))
    """
    return value_factory(Schedule, function)


Bound = Annotated[Numeric, Within(-math.inf, math.inf, schedule=False)]


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
        return jax.tree.map(lambda new, old: where(begun, new, old), heard, state)

    def at(self, step: Array, state: Any) -> Array:
        return part_at(self.schedule, self._own(step), state)

    def _own(self, step: Array) -> Array:
        return jnp.maximum(since(step, self.delay), 0)


def _together(parts: tuple, combine: Callable) -> Callable | Listening:
    return listening(_Together(parts, combine), any(map(listens, parts)))


def _in_schedules(function: Callable[P, Callable | Listening]) -> Callable[P, Schedule]:
    """A schedule that is found in `funcopt.schedules` only, and prints so."""
    factory = schedule(function)
    vars(factory)["shown"] = f"schedules.{function.__name__}"
    return factory


@_in_schedules
def product(*schedules: Annotated[Hyperparameter, _parts]):
    """The product of schedules and numbers: what `a * b` makes.

    A schedule driven by progress times one driven by performance is one schedule, which can stand
    wherever a number can.

    >>> import funcopt
    >>> funcopt.linear_schedule(1.0, 0.0, 10) * 0.5
    schedules.product(linear_schedule(init_value=1.0, end_value=0.0, transition_steps=10), 0.5)
    """
    return _together(schedules, lambda *numbers: reduce(jnp.multiply, numbers))


@_in_schedules
def total(*schedules: Annotated[Hyperparameter, _parts]):
    """The sum of schedules and numbers: what `a + b` makes.

    >>> import funcopt
    >>> (funcopt.linear_schedule(1.0, 0.0, 10) + 0.5)(10)
    Array(0.5, dtype=float32)
    """
    return _together(schedules, lambda *numbers: reduce(jnp.add, numbers))


@_in_schedules
def shifted(schedule: Single, steps: Delay):
    """A schedule begun `steps` later; until then, its first value.

    One that listens to a metric hears nothing until then.

    >>> import funcopt
    >>> later = funcopt.linear_schedule(1.0, 0.0, 10).shifted(5)
    >>> [float(later(step)) for step in (0, 5, 10, 15)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return listening(_Later(schedule, steps), listens(schedule))


@_in_schedules
def clipped(schedule: Single, low: Bound = -math.inf, high: Bound = math.inf):
    """A schedule kept between `low` and `high`.

    >>> import funcopt
    >>> floor = funcopt.linear_schedule(1.0, 0.0, 10).clipped(low=0.25)
    >>> [float(floor(step)) for step in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """
    return _together((schedule,), lambda number: jnp.clip(number, low, high))
