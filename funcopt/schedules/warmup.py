"""Warm-ups: how a schedule begins."""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..value import Choice, Constant, Flag, Offset, OptionalConstant, Positive, Real, Steps
from .compose import join_schedules
from .curves import at_least_one, between, widened
from .listening import listens
from .progress import elapsed, exponential_decay, line, linear_schedule
from .schedule import Listening, Schedule
from .schedule import schedule as as_value

Rise = Annotated[str, Choice(("linear", "exponential", "cosine"))]


@dataclass(frozen=True)
class _Warmup(Listening):
    """A schedule after its warm-up, in which it hears nothing."""

    schedule: Any
    steps: Any
    shape: str
    init_value: Any

    def init(self) -> Any:
        return self.schedule.init()

    def observe(self, state: Any, value: Array, step: Array) -> Any:
        heard = self.schedule.observe(state, value, self._own(step))
        return jax.tree.map(lambda new, old: jnp.where(step < self.steps, old, new), heard, state)

    def at(self, step: Array, state: Any) -> Array:
        done = elapsed(step, 0, self.steps)
        left, steps = self.steps - done, at_least_one(self.steps)
        first = self._following(jnp.zeros_like(step), state)
        rise = between(self.shape, done, left, steps, self.init_value, first)
        return jnp.where(step < self.steps, rise, self._following(self._own(step), state))

    def _own(self, step: Array) -> Array:
        """The schedule's own step; during the warm-up it is not asked about negative ones."""
        return jnp.maximum(step - self.steps, 0)

    def _following(self, step: Array, state: Any) -> Array:
        if isinstance(self.schedule, Schedule):
            return self.schedule.at(step, state)
        number = self.schedule(step) if callable(self.schedule) else self.schedule
        return jnp.asarray(number, jnp.float32)


@as_value
def warmup(schedule: Real, steps: Offset, shape: Rise = "linear", init_value: Constant = 0.0):
    """Lead up to a schedule, which then counts its own steps from 0.

        step < steps:  (1 − w) init_value + w schedule(0)    x = step / steps
        then:          schedule(step − steps)

        linear         w = x
        cosine         w = ½ − ½ cos πx
        exponential    w = (r^x − 1) / (r − 1), r = schedule(0) / init_value

    The exponential rise multiplies by the same factor at every step. It needs a ratio: beyond
    1000, and so from 0, it rises with the curve of r = 1000.

    Args:
        schedule: any function of the step, or a number to stay at. One that listens to a metric
            hears nothing during the warm-up.
        steps: the length of the warm-up; 0 for none.
        shape: `"linear"`, `"exponential"` or `"cosine"`.
        init_value: the value at step 0. From 0, the first update does nothing.

    >>> import funcopt
    >>> rate = funcopt.warmup(funcopt.linear_to_zero(1.0, 4), 2)
    >>> [float(rate(step)) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    >>> doubling = funcopt.warmup(0.08, 3, "exponential", init_value=0.01)
    >>> [round(float(doubling(step)), 6) for step in range(5)]
    [0.01, 0.02, 0.04, 0.08, 0.08]

    Source: Goyal et al., 2017 (https://arxiv.org/abs/1706.02677), for the linear one.
    """

    warmed = _Warmup(schedule, steps, shape, init_value)
    return warmed if listens(schedule) else lambda step: warmed.at(step, ())


@as_value
def warmup_constant_schedule(init_value: Constant, peak_value: Constant, warmup_steps: Offset):
    """A straight line up to `peak_value`, and then constant.

    Args:
        init_value: the value at step 0.
        peak_value: the value from step `warmup_steps` on.
        warmup_steps: the length of the warm-up; 0 for none.

    >>> import funcopt
    >>> rate = funcopt.warmup_constant_schedule(0.0, 1.0, 2)
    >>> [float(rate(step)) for step in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """

    def value(step):
        done = elapsed(step, 0, warmup_steps)
        rise = line(done, at_least_one(warmup_steps), init_value, peak_value)
        return jnp.where(widened(step) < warmup_steps, rise, peak_value)

    return value


@as_value
def warmup_exponential_decay_schedule(
    init_value: Constant,
    peak_value: Constant,
    warmup_steps: Offset,
    transition_steps: Steps,
    decay_rate: Positive,
    transition_begin: Offset = 0,
    staircase: Flag = False,
    end_value: OptionalConstant = None,
):
    """A straight line up to `peak_value`, then `exponential_decay`.

        step >= warmup_steps:  peak_value decay_rate^p
        p = (step − warmup_steps − transition_begin) / transition_steps, at least 0

    Args:
        init_value: the value at step 0.
        peak_value: the value at step `warmup_steps`.
        warmup_steps: the length of the warm-up; 0 for none.
        transition_steps: the period of the decay, at least 1.
        decay_rate: above 0; the factor of one period.
        transition_begin: how many steps after the warm-up it begins to decay.
        staircase: count whole periods only.
        end_value: where the decay stops, or None for never.

    >>> import funcopt
    >>> rate = funcopt.warmup_exponential_decay_schedule(0.0, 1.0, 2, 1, 0.5)
    >>> [float(rate(step)) for step in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    rise = linear_schedule(init_value, peak_value, at_least_one(warmup_steps))
    decay = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return join_schedules([rise, decay], [warmup_steps])
