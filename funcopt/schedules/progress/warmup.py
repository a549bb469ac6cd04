"""Warm-ups: how a schedule begins."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.arguments import Choice, Constant, Delay, Flag, OptionalConstant, Positive, Real, Span
from ...core.schedule import Listening, Schedule, listening, listens, part_at
from ...core.schedule import schedule as as_value
from ...core.steps import elapsed, reached, remaining, since
from .compose import join_schedules
from .curves import at_least_one, between
from .progress import exponential_decay, line, linear_schedule

RiseName = Literal["linear", "exponential", "cosine"]
Rise = Annotated[RiseName, Choice(get_args(RiseName))]


@dataclass(frozen=True)
class _Warmup(Listening):
    """A schedule after its warm-up, in which it hears nothing."""

    schedule: Any
    steps: Any
    shape: str
    init_value: Any

    def init(self) -> Any:
        return self.schedule.init() if isinstance(self.schedule, Schedule) else ()

    def observe(self, state: Any, value: Array, step: Array) -> Any:
        heard = self.schedule.observe(state, value, self._own(step))
        over = reached(step, self.steps)
        return jax.tree.map(lambda new, old: jnp.where(over, new, old), heard, state)

    def at(self, step: Array, state: Any) -> Array:
        done = elapsed(step, 0, self.steps)
        left, steps = remaining(done, self.steps), at_least_one(self.steps)
        first = part_at(self.schedule, jnp.zeros_like(step), state)
        rise = between(self.shape, done, left, steps, self.init_value, first)
        following = part_at(self.schedule, self._own(step), state)
        return jnp.where(reached(step, self.steps), following, rise)

    def _own(self, step: Array) -> Array:
        """The schedule's own step; during the warm-up it is not asked about negative ones."""
        return jnp.maximum(since(step, self.steps), 0)


@as_value
def warmup(schedule: Real, steps: Delay, shape: Rise = "linear", init_value: Constant = 0.0):
    """Warm up to any schedule, which then counts its own steps from 0.

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

    return listening(_Warmup(schedule, steps, shape, init_value), listens(schedule))


@as_value
def warmup_constant_schedule(init_value: Constant, peak_value: Constant, warmup_steps: Delay):
    """Linear warm-up to `peak_value`, then constant.

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
        return jnp.where(reached(step, warmup_steps), peak_value, rise)

    return value


@as_value
def warmup_exponential_decay_schedule(
    init_value: Constant,
    peak_value: Constant,
    warmup_steps: Delay,
    transition_steps: Span,
    decay_rate: Positive,
    transition_begin: Delay = 0,
    staircase: Flag = False,
    end_value: OptionalConstant = None,
):
    """Linear warm-up to `peak_value`, then exponential decay.

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
