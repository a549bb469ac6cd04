"""What a schedule is: a value that maps a step to a number."""

from collections.abc import Callable
from typing import ParamSpec

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..call import Call, Value, build, register, value_factory

P = ParamSpec("P")


class Schedule(Value):
    """A function of the step, as a value. The first update is step 0.

    >>> import funcopt
    >>> funcopt.linear_schedule(1.0, 0.0, transition_steps=4)(1)
    Array(0.75, dtype=float32)
    """

    def __init__(self, call: Call, numbers: tuple):
        self._call, self._numbers, self._function = call, numbers, None

    def body(self) -> Callable:
        if self._function is None:
            self._function = build(self._call, self._numbers)
        return self._function

    def __call__(self, step: ArrayLike) -> Float[Array, ""]:
        step = jnp.asarray(step)
        if jnp.issubdtype(step.dtype, jnp.unsignedinteger):
            step = step.astype(jnp.int32)  # steps are subtracted from each other
        return jnp.asarray(self.body()(step), jnp.float32)


register(Schedule)


def schedule(function: Callable[P, Callable]) -> Callable[P, Schedule]:
    """Decorate a factory of functions of the step, so that what it makes is a value.

    >>> import funcopt
    >>> from funcopt.value import Constant
    >>> @funcopt.schedule
    ... def halving(init_value: Constant):
    ...     return lambda step: init_value * 0.5**step
    >>> halving(8.0), halving(8.0)(2)
    (halving(init_value=8.0), Array(2., dtype=float32))
    """
    return value_factory(Schedule, function)
