"""Schedules made of schedules."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import jax.numpy as jnp

from ..value import Constant, Offset, Positive, Steps, is_tracer
from .progress import cosine_weight
from .schedule import schedule


def _schedules(where: str, x: Any) -> list[Callable]:
    wrong = [each for each in x if not callable(each)]
    if wrong or not list(x):
        raise TypeError(f"{where} must be schedules (functions of the step), got {x!r}.")
    return list(x)


def _increasing(where: str, x: Any) -> list[int]:
    steps = [int(each) for each in x]
    if any(step < 0 for step in steps) or any(b <= a for a, b in zip(steps, steps[1:])):
        raise ValueError(f"{where} must be increasing steps from 0 on, got {x!r}.")
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
    known = not (is_tracer(warmup_steps) or is_tracer(decay_steps))
    if known and warmup_steps >= decay_steps:
        raise ValueError(
            f"warmup_cosine_decay_schedule: warmup_steps={warmup_steps} must be below "
            f"decay_steps={decay_steps}, which counts the warm-up too."
        )

    def value(step):
        up = jnp.clip(step, 0, warmup_steps).astype(jnp.float32)
        rise = up / jnp.maximum(jnp.asarray(warmup_steps, jnp.float32), 1)
        down = jnp.clip(step - warmup_steps, 0, decay_steps - warmup_steps).astype(jnp.float32)
        w = cosine_weight(down / jnp.asarray(decay_steps - warmup_steps, jnp.float32), exponent)
        return jnp.where(
            step < warmup_steps,
            (1 - rise) * init_value + rise * peak_value,
            w * peak_value + (1 - w) * end_value,
        )

    return value
