"""What a schedule is: a value that maps a step to a number, and may listen to a metric."""

import math
from collections.abc import Callable
from typing import Any, ParamSpec

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from .arguments import is_number
from .steps import as_steps, real
from .value import Call, Value, build, register, value_factory

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


class Schedule(Value):
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

    def __mul__(self, other: Any) -> "Schedule":
        from .arithmetic import product  # which needs this class

        return product(self, other)

    def __rmul__(self, other: Any) -> "Schedule":
        from .arithmetic import product

        return product(other, self)

    def __add__(self, other: Any) -> "Schedule":
        from .arithmetic import total

        return total(self, other)

    def __radd__(self, other: Any) -> "Schedule":
        from .arithmetic import total

        return total(other, self)

    def scaled(self, factor: ArrayLike) -> "Schedule":
        """`factor` times the schedule."""
        return self * factor

    def shifted(self, steps: int) -> "Schedule":
        """The schedule begun `steps` later; until then, its first value."""
        from .arithmetic import shifted

        return shifted(self, steps)

    def clipped(self, low: float = -math.inf, high: float = math.inf) -> "Schedule":
        """The schedule, kept between `low` and `high`."""
        from .arithmetic import clipped

        return clipped(self, low, high)


register(Schedule)


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
