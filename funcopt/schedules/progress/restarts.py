"""Cosine decays that start again: warm restarts (SGDR), each with lengths of its own."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import (
    MOST_STEPS,
    Constant,
    Moment,
    Positive,
    Span,
    settled,
)
from ...core.schedule import schedule
from ...core.steps import cycled, most, reached, real, remaining, share
from .compose import join_schedules, warmup_cosine_decay_schedule
from .progress import cosine_weight


def _whole_number(where: str, x: Any) -> int:
    if not isinstance(x, int | np.integer) or isinstance(x, bool) or not 1 <= x <= MOST_STEPS:
        raise ValueError(f"{where} must be a Python integer from 1 to {MOST_STEPS}, got {x!r}.")
    return int(x)


@schedule
def cosine_restarts(
    init_value: Constant,
    first_steps: Span,
    multiplier: Annotated[int, _whole_number] = 1,
    end_value: Constant = 0.0,
    decay: Positive = 1.0,
):
    """Cosine annealing with warm restarts (SGDR): each decay may be longer than the one before.

        w init_value decay^i + (1 − w) end_value    w = ½ + ½ cos πx, x = progress through cycle i
        cycle i takes first_steps multiplier^i      steps, for i = 0, 1, ...

    Args:
        init_value: the value at the beginning of the first cycle.
        first_steps: the length of the first cycle, at least 1.
        multiplier: how many times longer each cycle is than the one before; an integer.
        end_value: what each cycle decays to; the next begins in the step that would reach it.
        decay: the factor from the beginning of a cycle to that of the next, above 0.

    >>> import funcopt
    >>> rate = funcopt.cosine_restarts(1.0, 2, multiplier=2, decay=0.5)
    >>> [round(float(rate(step)), 4) for step in range(7)]
    [1.0, 0.5, 0.5, 0.4268, 0.25, 0.0732, 0.25]

    Source: Loshchilov & Hutter, 2017 (https://arxiv.org/abs/1608.03983).
    """
    lengths, before = [1], [0]  # of each cycle, and of all before it, in first cycles
    while multiplier > 1 and before[-1] + lengths[-1] <= MOST_STEPS:
        before.append(before[-1] + lengths[-1])
        lengths.append(lengths[-1] * multiplier)

    def value(step):
        cycle, done = cycled(step, first_steps)
        steps, fits = first_steps, True
        if multiplier > 1 and _between(first_steps):
            cycle, done, steps = _longer_each_time(step, first_steps, before, lengths)
            x = done / steps
        elif multiplier > 1:
            begun = [(cycle >= n).astype(jnp.int32) for n in before[1:]]
            cycle = sum(begun, jnp.zeros(step.shape, jnp.int32))
            done = step - first_steps * jnp.asarray(before, jnp.int32)[cycle].astype(step.dtype)
            # The last cycle may be longer than steps can count: then they end before it does.
            growth = jnp.asarray([min(n, MOST_STEPS) for n in lengths], jnp.int32)[cycle]
            fits = first_steps <= jnp.asarray([MOST_STEPS // n for n in lengths], jnp.int32)[cycle]
            steps = jnp.where(fits, first_steps * growth, MOST_STEPS).astype(step.dtype)
            longer = jnp.asarray(np.asarray(lengths, np.float64), float)[cycle]
            x = share(done, first_steps) / longer
        else:
            x = share(done, steps)
        left = jnp.where(fits, share(remaining(done, steps), steps), 1 - x)
        w = jnp.where(done <= 0, 1.0, cosine_weight(left, 1.0))
        peak = init_value * real(decay) ** real(cycle)
        return w * peak + (1 - w) * end_value

    return value


def _between(steps: Any) -> bool:
    """Whether a known number of steps ends between two, or beyond every count."""
    return isinstance(steps, Moment) or (isinstance(steps, int) and steps > MOST_STEPS)


def _longer_each_time(step, first: Any, before: list[int], lengths: list[int]) -> tuple:
    """Which cycle it is, the steps in it that are done, and its length; for such a first one."""
    begins = [settled(first * n) for n in before if first * n <= most(step)]
    cycle = sum((reached(step, begin).astype(jnp.int32) for begin in begins[1:]), jnp.int32(0))
    cycle = jnp.broadcast_to(cycle, step.shape)
    whole = jnp.asarray([math.floor(begin) for begin in begins], step.dtype)[cycle]
    rest = jnp.stack([real(begin - math.floor(begin)) for begin in begins])[cycle]
    length = jnp.stack([real(first * n) for n in lengths[: len(begins)]])[cycle]
    return cycle, jnp.clip(real(step - whole) - rest, 0, length), length


def _cycles(where: str, x: Any) -> list[dict[str, Any]]:
    if isinstance(x, str | dict | np.ndarray | jax.Array) or not isinstance(x, Iterable):
        raise TypeError(f"{where} must be a list of dicts, one for each cycle, got {x!r}.")
    x = list(x)
    if not x or not all(isinstance(each, dict) for each in x):
        raise TypeError(f"{where} must be a list of dicts, one for each cycle, got {x!r}.")
    checked = []
    for i, each in enumerate(x):
        try:
            arguments = warmup_cosine_decay_schedule(**each).arguments
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}[{i}]: {error}") from None
        checked.append({name: arguments[name] for name in each})
    return checked


@schedule
def sgdr_schedule(cosine_kwargs: Annotated[Iterable[dict[str, Any]], _cycles]):
    """Several warm-ups with cosine decay, one after the other (SGDR with warm-up).

    Args:
        cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay_schedule`. Its
            `decay_steps` is the length of the cycle, warm-up included.

    Raises:
        ValueError, TypeError: one of them is refused; the message says which, and why.

    >>> import funcopt
    >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 1, "decay_steps": 3}
    >>> rate = funcopt.sgdr_schedule([cycle, {**cycle, "peak_value": 0.5}])
    >>> [float(rate(step)) for step in range(7)]
    [0.0, 1.0, 0.5, 0.0, 0.5, 0.25, 0.0]

    Source: Loshchilov & Hutter, 2017 (https://arxiv.org/abs/1608.03983). `cosine_restarts` is the
    one of the paper.
    """
    cycles: list[Any] = list(cosine_kwargs)
    ends = []
    for each in cycles[:-1]:
        ends.append((ends[-1] if ends else 0) + each["decay_steps"])
    return join_schedules([warmup_cosine_decay_schedule(**each) for each in cycles], ends)
