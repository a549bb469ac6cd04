"""Schedules made of schedules."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..value import MOST_STEPS, Constant, Offset, Positive, Steps, Within, is_tracer
from .curves import above
from .progress import cosine_weight, elapsed, line, share
from .schedule import schedule


def _schedules(where: str, x: Any) -> list[Callable]:
    if not isinstance(x, list | tuple) or not x or not all(map(callable, x)):
        raise TypeError(f"{where} must be a list of schedules (functions of the step), got {x!r}.")
    return list(x)


def _increasing(where: str, x: Any) -> list[int]:
    if not isinstance(x, Sequence | np.ndarray | jax.Array) or isinstance(x, str):
        raise TypeError(f"{where} must be a list of steps, got {x!r}.")
    step = Within(0, MOST_STEPS, schedule=False, integer=True)
    steps = [step(f"{where}[{i}]", each) for i, each in enumerate(x)]
    if any(b <= a for a, b in pairwise(steps) if not (is_tracer(a) or is_tracer(b))):
        raise ValueError(f"{where} must increase from each to the next, got {x!r}.")
    return steps


@schedule
def join_schedules(
    schedules: Annotated[Sequence[Callable], _schedules],
    boundaries: Annotated[Sequence[int], _increasing],
):
    """One schedule after the other. Each counts its own steps from 0.

    Args:
        schedules: values of this module, or any functions of the step.
        boundaries: the step at which each schedule but the first takes over: one fewer than
            schedules, increasing.

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

    def value(step):
        x = jnp.asarray(schedules[0](step), jnp.float32)
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            # Before its boundary a schedule is not asked about negative steps.
            own = jnp.maximum(step - boundary, 0)
            x = jnp.where(step < boundary, x, jnp.asarray(following(own), jnp.float32))
        return x

    return value


@schedule
def warmup_cosine_decay_schedule(
    init_value: Constant,
    peak_value: Constant,
    warmup_steps: Offset,
    decay_steps: Steps,
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
    if above(warmup_steps + 1, decay_steps):
        raise ValueError(
            f"warmup_cosine_decay_schedule: warmup_steps={warmup_steps} must be below "
            f"decay_steps={decay_steps}, which counts the warm-up too."
        )

    def value(step):
        warmup = jnp.maximum(warmup_steps, 1)  # without a warm-up it is not looked at
        decay = decay_steps - warmup_steps
        w = cosine_weight(share(decay - elapsed(step, warmup_steps, decay), decay), exponent)
        return jnp.where(
            step < warmup_steps,
            line(elapsed(step, 0, warmup), warmup, init_value, peak_value),
            w * peak_value + (1 - w) * end_value,
        )

    return value
