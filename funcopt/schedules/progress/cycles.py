"""Schedules that swing between two values without end: cosine waves and triangles."""

from typing import Annotated, Any, Literal, get_args

import jax.numpy as jnp

from ...core.arguments import (
    MOST_STEPS,
    Choice,
    Constant,
    OptionalSpan,
    Positive,
    Span,
)
from ...core.schedule import schedule
from ...core.steps import cycled, elapsed, reached, real, remaining, share, since
from .curves import CURVES, above

ModeName = Literal["triangular", "triangular2", "exp_range"]
Mode = Annotated[ModeName, Choice(get_args(ModeName))]


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
