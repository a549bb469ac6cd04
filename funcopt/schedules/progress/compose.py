"""Schedules made of schedules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import (
    Constant,
    Delay,
    NumberOfSteps,
    Numeric,
    Positive,
    Span,
    function_of_the_step,
    is_tracer,
)
from ...core.schedule import Listening, Schedule, listening, listens, part_at, schedule
from ...core.steps import elapsed, reached, remaining, share, since
from .curves import at_least_one, fills
from .progress import cosine_weight, line


def _schedules(where: str, x: Any) -> list[Callable]:
    if not isinstance(x, list | tuple) or not x or not all(map(callable, x)):
        raise TypeError(f"{where} must be a list of schedules (functions of the step), got {x!r}.")
    each = "a schedule (a function of the step)"
    return [function_of_the_step(f"{where}[{i}]", each, one) for i, one in enumerate(x)]


def _increasing(where: str, x: Any) -> list[float]:
    is_list = isinstance(x, Sequence | np.ndarray | jax.Array) and not isinstance(x, str | bytes)
    if not is_list or getattr(x, "ndim", 1) != 1:
        raise TypeError(f"{where} must be a list of steps, got {x!r}.")
    step = NumberOfSteps(0, between=True)
    steps = [step(f"{where}[{i}]", each) for i, each in enumerate(x)]
    if any(b <= a for a, b in pairwise(steps) if not (is_tracer(a) or is_tracer(b))):
        raise ValueError(f"{where} must increase from each to the next, got {x!r}.")
    return steps


@dataclass(frozen=True)
class _Joined(Listening):
    """Schedules in turn, of which only the one in force hears."""

    schedules: tuple
    boundaries: tuple

    def init(self) -> tuple:
        return tuple(x.init() if isinstance(x, Schedule) else () for x in self.schedules)

    def observe(self, state: tuple, value: Float[Array, ""], step: Array) -> tuple:
        begun = [jnp.bool_(True), *(reached(step, each) for each in self.boundaries)]
        over = [*begun[1:], jnp.bool_(False)]
        heard = [
            x.observe(old, value, self._own(i, step)) if isinstance(x, Schedule) else old
            for i, (x, old) in enumerate(zip(self.schedules, state, strict=True))
        ]
        return tuple(
            jax.tree.map(lambda new, old, here=b & ~o: jnp.where(here, new, old), *pair)
            for b, o, *pair in zip(begun, over, heard, state, strict=True)
        )

    def at(self, step: Array, state: tuple) -> Array:
        x = part_at(self.schedules[0], step, state[0])
        for i, boundary in enumerate(self.boundaries, 1):
            following = part_at(self.schedules[i], self._own(i, step), state[i])
            x = jnp.where(reached(step, boundary), following, x)
        return x

    def _own(self, i: int, step: Array) -> Array:
        """A schedule's own step; before its boundary it is not asked about negative ones."""
        return step if i == 0 else jnp.maximum(since(step, self.boundaries[i - 1]), 0)


@schedule
def join_schedules(
    schedules: Annotated[Sequence[Callable], _schedules],
    boundaries: Annotated[Sequence[Numeric] | np.ndarray | jax.Array, _increasing],
):
    """Schedules one after the other, each of which counts its own steps from 0.

    One that listens to a metric hears it from the step at which it takes over to the one before
    its successor does: with an empty memory it begins there, and what it has reached is over when
    the next one takes over.

    Args:
        schedules: values of this module, or any functions of the step.
        boundaries: the step at which each schedule but the first takes over: one fewer than
            schedules, increasing. A boundary between two steps is a moment: the next schedule is
            asked about fractions of a step from there on.

    Raises:
        ValueError: the numbers do not fit, or boundaries do not increase.

    >>> import funcopt
    >>> up_and_down = funcopt.join_schedules(
    ...     [funcopt.linear_warmup(1.0, 2), funcopt.linear_schedule(1.0, 0.0, 4)], [2]
    ... )
    >>> [float(up_and_down(step)) for step in range(7)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules: {len(schedules)} schedules need {len(schedules) - 1} boundaries, "
            f"got {len(boundaries)}."
        )

    return listening(_Joined(tuple(schedules), tuple(boundaries)), any(map(listens, schedules)))


@schedule
def warmup_cosine_decay_schedule(
    init_value: Constant,
    peak_value: Constant,
    warmup_steps: Delay,
    decay_steps: Span,
    end_value: Constant = 0.0,
    exponent: Positive = 1.0,
):
    """A linear warm-up, then a cosine decay.

    Args:
        init_value: the value at step 0.
        peak_value: the value at step `warmup_steps`.
        warmup_steps: the length of the warm-up, below `decay_steps`.
        decay_steps: the length of the whole schedule, warm-up included (as optax counts).
        end_value: the value from step `decay_steps` on.
        exponent: of the cosine term, above 0.

    Raises:
        ValueError: the warm-up is as long as the whole schedule.

    >>> import funcopt
    >>> rate = funcopt.warmup_cosine_decay_schedule(0.0, 1.0, 2, 6)
    >>> [float(rate(step)) for step in (0, 1, 2, 4, 6)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if fills(warmup_steps, decay_steps):
        raise ValueError(
            f"warmup_cosine_decay_schedule: warmup_steps={warmup_steps} must be below "
            f"decay_steps={decay_steps}, which counts the warm-up too."
        )

    def value(step):
        warmup = at_least_one(warmup_steps)  # without a warm-up it is not looked at
        decay = decay_steps - warmup_steps
        left = remaining(elapsed(step, warmup_steps, decay), decay)
        w = cosine_weight(share(left, decay), exponent)
        return jnp.where(
            reached(step, warmup_steps),
            w * peak_value + (1 - w) * end_value,
            line(elapsed(step, 0, warmup), warmup, init_value, peak_value),
        )

    return value
