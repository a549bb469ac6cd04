"""Schedules that go up and down: restarts, waves, triangles and single cycles."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import (
    MOST_STEPS,
    Choice,
    Constant,
    Flag,
    Moment,
    NumberOfSteps,
    Numeric,
    OptionalSpan,
    Positive,
    Span,
    Within,
    settled,
)
from ...core.schedule import schedule
from ...core.steps import cycled, elapsed, is_whole, most, reached, real, remaining, share, since
from .compose import join_schedules, warmup_cosine_decay_schedule
from .curves import CURVES, above, through
from .progress import cosine_weight

ModeName = Literal["triangular", "triangular2", "exp_range"]
Mode = Annotated[ModeName, Choice(get_args(ModeName))]
ShapeName = Literal["cosine", "linear"]
Shape = Annotated[ShapeName, Choice(get_args(ShapeName))]

Share = Annotated[Numeric, Within(0, 1, schedule=False)]
"""A part of the run: in [0, 1]."""


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


@schedule
def cosine_wave(
    init_value: Constant,
    end_value: Constant,
    half_period: Span,
):
    """A cosine that swings between two values without end.

        w init_value + (1 − w) end_value        w = ½ + ½ cos(π step / half_period)

    Args:
        init_value: the value at step 0, and after every two half periods.
        end_value: the value at step `half_period`, and every two half periods later.
        half_period: at least 1.

    >>> import funcopt
    >>> wave = funcopt.cosine_wave(1.0, 0.0, 2)
    >>> [float(wave(step)) for step in range(6)]
    [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]
    """

    _countable("cosine_wave: twice half_period", half_period, half_period)

    def value(step):
        _, position = cycled(step, 2 * half_period)
        left = jnp.abs(remaining(position, half_period))
        x, y = share(remaining(left, half_period), half_period), share(left, half_period)
        value = CURVES["cosine"](x, y, init_value, end_value)
        return jnp.where(position == 0, init_value, jnp.where(left == 0, end_value, value))

    return value


@schedule
def cyclic_schedule(
    base_value: Constant,
    peak_value: Constant,
    up_steps: Span = 2000,
    down_steps: OptionalSpan = None,
    mode: Mode = "triangular",
    gamma: Positive = 1.0,
):
    """Cyclical learning rate: triangles between a low value and a high one, without end.

        base_value + (peak_value − base_value) h g        h = height in the triangle, in [0, 1]

        triangular     g = 1
        triangular2    g = 2^−i in the cycles i = 0, 1, ...
        exp_range      g = gamma^step

    A momentum that falls while the rate rises is the same with the two values exchanged.

    Args:
        base_value: the value at both ends of a cycle.
        peak_value: the value in the middle of the first cycle.
        up_steps: how many steps go up, at least 1.
        down_steps: how many go down; None for as many.
        mode: `"triangular"`, `"triangular2"` or `"exp_range"`.
        gamma: of `"exp_range"`, above 0; the others do not look at it.

    >>> import funcopt
    >>> rate = funcopt.cyclic_schedule(0.0, 1.0, 2, mode="triangular2")
    >>> [float(rate(step)) for step in range(8)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]

    Source: Smith, 2017 (https://arxiv.org/abs/1506.01186).
    """
    down = up_steps if down_steps is None else down_steps
    _countable("cyclic_schedule: up_steps and down_steps together", up_steps, down)

    def value(step):
        cycle, position = cycled(step, up_steps + down)
        rise = share(elapsed(position, 0, up_steps), up_steps)
        fall = share(remaining(position, up_steps + down), down)
        height = jnp.where(reached(position, up_steps), fall, rise)
        top = reached(position, up_steps) & (since(position, up_steps) <= 0)
        height = jnp.where(top, 1.0, height)
        if mode == "triangular2":
            height = height * jnp.exp2(-real(cycle))
        elif mode == "exp_range":
            height = height * real(gamma) ** real(step)
        return (1 - height) * base_value + height * peak_value

    return value


def _countable(what: str, up: Any, down: Any) -> None:
    """Refuse arrays of steps whose sum their type would not hold; Python's integers hold any."""
    known = isinstance(up, int | float) and isinstance(down, int | float)
    if not known and above(up, MOST_STEPS - down):
        raise ValueError(f"{what} must be at most {MOST_STEPS} where they are arrays.")


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
