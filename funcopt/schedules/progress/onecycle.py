"""The one-cycle policy: one rise and one fall over the whole run."""

import math
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

import jax.numpy as jnp

from ...core.arguments import (
    MOST_STEPS,
    Choice,
    Constant,
    Flag,
    NumberOfSteps,
    Numeric,
    Positive,
    Span,
    Within,
)
from ...core.schedule import schedule
from ...core.steps import is_whole, most, real, since
from .curves import CURVES, above, through

ShapeName = Literal["cosine", "linear"]
Shape = Annotated[ShapeName, Choice(get_args(ShapeName))]
Share = Annotated[Numeric, Within(0, 1, schedule=False)]
"""A part of the run: in [0, 1]."""


def _steps_of(part: Any, steps: Any) -> tuple[Any, Any]:
    """Whole steps in a part of so many, and the rest of a step.

    Known numbers are taken as they are written, so that 0.29 of 100 steps are 29 and not 28. What
    is traced comes in float32, and may be a rounding error below the whole number that was meant.
    """
    if isinstance(part, float) and isinstance(steps, int | float):
        exact = Fraction(str(part)) * (steps if isinstance(steps, int) else Fraction(str(steps)))
        return exact.numerator // exact.denominator, float(exact % 1)
    product = real(part) * real(steps)
    rounding = 2 * float(jnp.finfo(product.dtype).eps)
    whole = jnp.floor(product * (1 + rounding)).astype(jnp.int32)
    if isinstance(steps, int | float):
        steps = min(math.floor(steps), MOST_STEPS)
    whole = jnp.minimum(whole, steps if is_whole(steps) else jnp.floor(steps).astype(jnp.int32))
    return whole, product - real(whole)


@schedule
def cosine_onecycle_schedule(
    transition_steps: Span,
    peak_value: Constant,
    pct_start: Share = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
):
    """The one-cycle policy in cosines: up to the peak, then down far below the start.

        peak_value / div_factor → peak_value → peak_value / (div_factor final_div_factor)

    Args:
        transition_steps: the length of the cycle.
        peak_value: the value after ⌊pct_start transition_steps⌋ steps.
        pct_start: the part of the cycle that goes up, in [0, 1].
        div_factor: the peak over the first value, above 0.
        final_div_factor: the first value over the last, above 0.

    >>> import funcopt
    >>> rate = funcopt.cosine_onecycle_schedule(8, 1.0, 0.5, div_factor=4.0, final_div_factor=2.0)
    >>> [float(rate(step)) for step in (0, 2, 4, 6, 8)]
    [0.25, 0.625, 1.0, 0.5625, 0.125]

    Source: Smith & Topin, 2018 (https://arxiv.org/abs/1708.07120).
    """

    def value(step):
        first = peak_value / div_factor
        up, _ = _steps_of(pct_start, transition_steps)
        values = [first, peak_value, first / final_div_factor]
        return through(step, [0, up, transition_steps], values, "cosine")

    return value


@schedule
def linear_onecycle_schedule(
    transition_steps: Span,
    peak_value: Constant,
    pct_start: Share = 0.3,
    pct_final: Share = 0.85,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
):
    """The one-cycle policy in three lines: up to the peak, down to the start, and almost to 0.

        peak_value / div_factor → peak_value → peak_value / div_factor
                                             → peak_value / (div_factor final_div_factor)

    Args:
        transition_steps: the length of the cycle.
        peak_value: the value after ⌊pct_start transition_steps⌋ steps.
        pct_start: the part of the cycle that goes up, in [0, 1].
        pct_final: the part after which the first value is reached again, not below `pct_start`.
        div_factor: the peak over the first value, above 0.
        final_div_factor: the first value over the last, above 0.

    Raises:
        ValueError: `pct_final` is below `pct_start`.

    >>> import funcopt
    >>> rate = funcopt.linear_onecycle_schedule(8, 1.0, 0.25, 0.5, 4.0, 2.0)
    >>> [float(rate(step)) for step in (0, 1, 2, 3, 4, 6, 8)]
    [0.25, 0.625, 1.0, 0.625, 0.25, 0.1875, 0.125]

    Source: Smith & Topin, 2018 (https://arxiv.org/abs/1708.07120).
    """
    if above(pct_start, pct_final):
        raise ValueError(
            f"linear_onecycle_schedule: pct_final={pct_final} must not be below "
            f"pct_start={pct_start}."
        )

    def value(step):
        first = peak_value / div_factor
        up, _ = _steps_of(pct_start, transition_steps)
        down, _ = _steps_of(pct_final, transition_steps)
        values = [first, peak_value, first, first / final_div_factor]
        return through(step, [0, up, down, transition_steps], values, "linear")

    return value


@schedule
def onecycle_schedule(
    peak_value: Constant,
    total_steps: Annotated[Numeric, NumberOfSteps(2, between=True)],
    pct_start: Share = 0.3,
    shape: Shape = "cosine",
    three_phase: Flag = False,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
):
    """The one-cycle policy as PyTorch's OneCycleLR: in two phases or three.

        peak_value / div_factor → peak_value → peak_value / (div_factor final_div_factor)
        three_phase: after the peak first back to peak_value / div_factor

    The first phase ends pct_start total_steps − 1 steps after step 0 (the second of three as many
    later) and the last at step total_steps − 1, the last of the run. Phases may end between steps.

    The momentum of the cycle, from 0.95 down to 0.85 and back, is
    `onecycle_schedule(0.85, total_steps, div_factor=0.85 / 0.95, final_div_factor=1.0)`.

    Args:
        peak_value: the value where the first phase ends.
        total_steps: the length of the run, at least 2.
        pct_start: the part of the run that goes up; with three phases at most ½.
        shape: `"cosine"` or `"linear"`.
        three_phase: come down as fast as it went up, and then on to almost nothing.
        div_factor: the peak over the first value, above 0.
        final_div_factor: the first value over the last, above 0.

    Raises:
        ValueError: `three_phase` with a `pct_start` above ½.

    >>> import funcopt
    >>> rate = funcopt.onecycle_schedule(1.0, 10, 0.5, "linear", div_factor=5.0)
    >>> [round(float(rate(step)), 4) for step in (0, 2, 4, 9)]
    [0.2, 0.6, 1.0, 0.0]

    Source: Smith & Topin, 2018 (https://arxiv.org/abs/1708.07120).
    """
    if three_phase and above(pct_start, 0.5):
        raise ValueError(
            f"onecycle_schedule: pct_start={pct_start} leaves no third phase; with three_phase it "
            "must be at most 0.5."
        )

    def value(step):
        first = peak_value / div_factor
        whole, rest = _steps_of(pct_start, total_steps)
        ends = [(0, 0.0), (whole - 1, rest), (total_steps - 1, 0.0)]
        values = [first, peak_value, first / final_div_factor]
        if three_phase:
            ends.insert(2, (2 * whole - 2, 2 * rest))
            values.insert(2, first)
        x = real(values[-1])
        for i in reversed(range(len(ends) - 1)):
            phase = _phase(step, ends[i], ends[i + 1], shape, values[i], values[i + 1])
            x = jnp.where(_after(step, ends[i + 1]) > 0, x, phase)
        return x

    return value


def _after(step, end: tuple[Any, Any]):
    """How many steps after an end that may lie between steps, or beyond all of them."""
    whole, rest = end
    beyond = isinstance(whole, int) and whole > most(step)
    return (real(step) - real(whole) if beyond else real(since(step, whole))) - rest


def _apart(first: Any, last: Any):
    """From a whole step, which may be traced, to a moment."""
    between = isinstance(last, float) and not isinstance(first, int)
    return -since(jnp.asarray(first), last) if between else real(last - first)


def _phase(step, begin: tuple[Any, Any], end: tuple[Any, Any], shape: str, first, last):
    """The curve from one end to another; a phase of no length is at its last value."""
    length = _apart(begin[0], end[0]) + (end[1] - begin[1])
    some = jnp.where(length > 0, length, 1.0)
    x = jnp.where(length > 0, _after(step, begin) / some, 1.0)
    x, y = jnp.clip(x, 0, 1), jnp.clip(-_after(step, end) / some, 0, 1)
    value = CURVES[shape](x, y, first, last)
    return jnp.where(x <= 0, first, jnp.where(y <= 0, last, value))
