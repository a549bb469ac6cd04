"""Schedules driven by progress: how many updates have been made.

Each has the name, arguments and defaults of optax, where optax has it. What has passed and what
remains are counted in integers up to the one division, and values are weighted means of their end
points, so that they are exact at both ends and keep their digits near them.
"""

from typing import Annotated, Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import (
    Constant,
    Delay,
    Flag,
    NumberOfSteps,
    OptionalConstant,
    Positive,
    Span,
    Within,
)
from ...core.schedule import schedule
from ...core.steps import cycled, elapsed, reached, real, remaining, share, since


def line(done: Array, steps, start, end) -> Float[Array, ""]:
    """From `start` to `end`, when `done` of `steps` have passed."""
    value = share(remaining(done, steps), steps) * start + share(done, steps) * end
    return with_exact_ends(done, steps, start, end, value)


def with_exact_ends(done: Array, steps, start, end, value) -> Float[Array, ""]:
    """XLA multiplies by 1 / steps, so that compiled weights are not exactly 0 and 1 at the ends."""
    return jnp.where(done <= 0, start, jnp.where(reached(done, steps), end, value))


def _periods(step: Array, begin, steps, staircase: bool) -> Float[Array, ""]:
    """How many times `steps` have passed since `begin`; whole times only on a staircase."""
    passed = jnp.maximum(since(step, begin), 0)
    return real(cycled(passed, steps)[0]) if staircase else share(passed, steps)


@schedule
def constant_schedule(value: Constant):
    """A constant: always `value`.

    >>> import funcopt
    >>> funcopt.constant_schedule(0.5)(1_000)
    Array(0.5, dtype=float32)
    """
    return lambda step: jnp.broadcast_to(value, jnp.broadcast_shapes(jnp.shape(value), step.shape))


@schedule
def linear_schedule(
    init_value: Constant, end_value: Constant, transition_steps: Span, transition_begin: Delay = 0
):
    """Linear from `init_value` to `end_value`, and constant before and after.

        (1 − x) init_value + x end_value        x = progress through the transition, in [0, 1]

    Args:
        init_value, end_value: finite numbers.
        transition_steps: how many steps the line takes, at least 1.
        transition_begin: the step at which it begins.

    >>> import funcopt
    >>> line = funcopt.linear_schedule(1.0, 0.0, transition_steps=4)
    >>> [float(line(step)) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def value(step):
        done = elapsed(step, transition_begin, transition_steps)
        return line(done, transition_steps, init_value, end_value)

    return value


@schedule
def polynomial_schedule(
    init_value: Constant,
    end_value: Constant,
    power: Positive,
    transition_steps: Span,
    transition_begin: Delay = 0,
):
    """Polynomial decay from `init_value` to `end_value`.

        w init_value + (1 − w) end_value        w = (1 − x)^power, x = progress, in [0, 1]

    Args:
        init_value, end_value: finite numbers.
        power: above 0; 1 is a straight line, 2 slows down towards the end.
        transition_steps: how many steps it takes, at least 1.
        transition_begin: the step at which it begins.

    >>> import funcopt
    >>> float(funcopt.polynomial_schedule(1.0, 0.0, 2.0, transition_steps=4)(2))
    0.25
    """

    def value(step):
        done = elapsed(step, transition_begin, transition_steps)
        w = share(remaining(done, transition_steps), transition_steps) ** power
        value = w * init_value + (1 - w) * end_value
        return with_exact_ends(done, transition_steps, init_value, end_value, value)

    return value


@schedule
def exponential_decay(
    init_value: Constant,
    transition_steps: Span,
    decay_rate: Positive,
    transition_begin: Delay = 0,
    staircase: Flag = False,
    end_value: OptionalConstant = None,
):
    """Exponential decay: multiply by `decay_rate` every `transition_steps`.

        init_value decay_rate^p        p = (step − transition_begin) / transition_steps, at least 0

    Args:
        init_value: a finite number.
        transition_steps: the period, at least 1.
        decay_rate: above 0; below 1 it decays, above it grows.
        transition_begin: the step at which it begins.
        staircase: count whole periods only.
        end_value: where it stops, or None for never.

    >>> import funcopt
    >>> halving = funcopt.exponential_decay(1.0, 10, 0.5, staircase=True)
    >>> [float(halving(step)) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def value(step):
        p = _periods(step, transition_begin, transition_steps, staircase)
        x = init_value * real(decay_rate) ** p
        if end_value is None:
            return x
        return jnp.where(
            jnp.asarray(decay_rate) < 1, jnp.maximum(x, end_value), jnp.minimum(x, end_value)
        )

    return value


@schedule
def inverse_time_decay(
    init_value: Constant,
    transition_steps: Span,
    decay_rate: Positive,
    transition_begin: Delay = 0,
    staircase: Flag = False,
):
    """Inverse time decay: divide by one plus a multiple of the step.

        init_value / (1 + decay_rate p)    p = (step − transition_begin) / transition_steps, >= 0

    Args:
        init_value: a finite number.
        transition_steps: the unit of time, at least 1.
        decay_rate: above 0; 1 halves the value after one unit of time.
        transition_begin: the step at which it begins.
        staircase: count whole units only.

    >>> import funcopt
    >>> slow = funcopt.inverse_time_decay(1.0, 10, 1.0)
    >>> [float(slow(step)) for step in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """

    def value(step):
        return init_value / (
            1 + decay_rate * _periods(step, transition_begin, transition_steps, staircase)
        )

    return value


def _boundaries(where: str, x: Any) -> dict[Any, Any]:
    if x is None:
        return {}
    if not isinstance(x, dict):
        raise TypeError(f"{where} must be a dict from step to factor, got {x!r}.")
    step = NumberOfSteps(0, between=True)
    factor = Within(0, float("inf"), "[)", schedule=False)
    checked = {step(f"{where}: a step", b): factor(f"{where}[{b}]", s) for b, s in x.items()}
    return dict(sorted(checked.items()))


@schedule
def piecewise_constant_schedule(
    init_value: Constant,
    boundaries_and_scales: Annotated[dict[Any, float] | None, _boundaries] = None,
):
    """Piecewise constant: multiply by a factor at each of some steps.

    Args:
        init_value: the value before the first boundary.
        boundaries_and_scales: for each boundary the factor, at least 0, that counts from this step
            on. Factors accumulate.

    >>> import funcopt
    >>> steps = funcopt.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
    >>> [float(steps(step)) for step in (0, 9, 10, 19, 20)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def value(step):
        x = real(init_value)
        for boundary, factor in (boundaries_and_scales or {}).items():
            x = jnp.where(reached(step, boundary), x * factor, x)
        return x

    return value


@schedule
def cosine_decay_schedule(
    init_value: Constant, decay_steps: Span, alpha: Constant = 0.0, exponent: Positive = 1.0
):
    """Cosine decay from `init_value` to `alpha` times it.

        init_value (w + (1 − w) alpha)     w = (½ + ½ cos πx)^exponent, x = progress, in [0, 1]

    Args:
        init_value: a finite number.
        decay_steps: how many steps it takes, at least 1.
        alpha: the final value over the first.
        exponent: of the cosine term, above 0.

    Source: Loshchilov & Hutter, 2017 (https://arxiv.org/abs/1608.03983), without restarts.

    >>> import funcopt
    >>> decay = funcopt.cosine_decay_schedule(1.0, 4, alpha=0.5)
    >>> [float(decay(step)) for step in (0, 2, 4, 100)]
    [1.0, 0.75, 0.5, 0.5]
    """

    def value(step):
        left = remaining(elapsed(step, 0, decay_steps), decay_steps)
        w = cosine_weight(share(left, decay_steps), exponent)
        return init_value * (w + (1 - w) * alpha)

    return value


def cosine_weight(left: Float[Array, ""], exponent) -> Float[Array, ""]:
    """(½ + ½ cos π(1 − left))^exponent = sin(½π left)^(2 exponent), which is exact at both ends."""
    return jnp.square(jnp.sin(0.5 * jnp.pi * left)) ** exponent


@schedule
def linear_warmup(peak_value: Constant, warmup_steps: Span, init_value: Constant = 0.0):
    """Linear warm-up from `init_value` to `peak_value`, then constant.

    Args:
        peak_value: the value from step `warmup_steps` on.
        warmup_steps: at least 1.
        init_value: the value at step 0. From 0, the first update does nothing.

    >>> import funcopt
    >>> warm = funcopt.linear_warmup(1.0, 4)
    >>> [float(warm(step)) for step in (0, 1, 4, 5)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return linear_schedule(init_value, peak_value, warmup_steps)
