"""Schedules that hold their value, or decay without knowing when the run will end."""

from typing import Annotated, Literal, get_args

import jax.numpy as jnp

from ...core.arguments import Choice, Constant, Delay, Positive, Span
from ...core.schedule import schedule
from ...core.steps import elapsed, reached, real, remaining, share
from .curves import above, at_least_one, between, fills
from .progress import line

CooldownName = Literal["linear", "cosine", "1-sqrt", "exponential"]
Cooldown = Annotated[CooldownName, Choice(get_args(CooldownName))]


def _rise(step, warmup_steps, init_value, peak_value):
    """The line that warms up, which is not looked at without a warm-up."""
    done = elapsed(step, 0, warmup_steps)
    return line(done, at_least_one(warmup_steps), init_value, peak_value)


@schedule
def warmup_stable_decay(
    init_value: Constant,
    peak_value: Constant,
    warmup_steps: Delay,
    total_steps: Span,
    cooldown_steps: Span,
    end_value: Constant = 0.0,
    shape: Cooldown = "1-sqrt",
):
    """A linear warm-up, a long stable stretch, and a short cooldown (WSD, or trapezoid).

        the last cooldown_steps:  w peak_value + (1 − w) end_value    x = progress in them

        linear         w = 1 − x
        cosine         w = ½ + ½ cos πx
        1-sqrt         w = 1 − √x
        exponential    peak_value (end_value / peak_value)^x; to 0 as (r^(1−x) − 1) / (r − 1)
                       with r = 1000, also where the ratio is steeper than that

    Args:
        init_value: the value at step 0.
        peak_value: the stable value, from step `warmup_steps` on.
        warmup_steps: the length of the warm-up; 0 for none.
        total_steps: the length of the whole run.
        cooldown_steps: how many of its last steps cool down, at least 1. A tenth to a fifth of
            the run is usual.
        end_value: the value from step `total_steps` on.
        shape: of the cooldown: `"linear"`, `"cosine"`, `"1-sqrt"` or `"exponential"`.

    Raises:
        ValueError: warm-up and cooldown are longer than the run.

    >>> import funcopt
    >>> rate = funcopt.warmup_stable_decay(0.0, 1.0, 2, 10, 4, shape="linear")
    >>> [float(rate(step)) for step in range(11)]
    [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]

    Source: Hägele et al., 2024 (https://arxiv.org/abs/2405.18392).
    """
    if above(warmup_steps + cooldown_steps, total_steps):
        raise ValueError(
            f"warmup_stable_decay: warmup_steps={warmup_steps} and cooldown_steps="
            f"{cooldown_steps} must fit into total_steps={total_steps} together."
        )

    def value(step):
        begin = total_steps - cooldown_steps
        done = elapsed(step, begin, cooldown_steps)
        rise = _rise(step, warmup_steps, init_value, peak_value)
        left = remaining(done, cooldown_steps)
        fall = between(shape, done, left, cooldown_steps, peak_value, end_value)
        return jnp.where(reached(step, warmup_steps), fall, rise)

    return value


@schedule
def knee_schedule(
    peak_value: Constant,
    explore_steps: Delay,
    total_steps: Span,
    warmup_steps: Delay = 0,
    init_value: Constant = 0.0,
):
    """The knee schedule: linear warm-up, a long stretch at a high rate, linear decay to 0.

    It explores for long enough to find a wide minimum, then descends into it.

        a line up in warmup_steps, peak_value for explore_steps, a line down to 0 in the rest

    Args:
        peak_value: the rate of the exploration.
        explore_steps: how long it lasts, warm-up apart. Half of the run is usual.
        total_steps: the length of the whole run.
        warmup_steps: the length of the warm-up; 0 for none.
        init_value: the value at step 0 of a warm-up.

    Raises:
        ValueError: the run leaves no step for the descent.

    >>> import funcopt
    >>> rate = funcopt.knee_schedule(1.0, explore_steps=4, total_steps=8)
    >>> [float(rate(step)) for step in range(9)]
    [1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]

    Source: Iyer et al., 2020 (https://arxiv.org/abs/2003.03977).
    """
    if fills(warmup_steps + explore_steps, total_steps):
        raise ValueError(
            f"knee_schedule: warmup_steps={warmup_steps} and explore_steps={explore_steps} must "
            f"be fewer than total_steps={total_steps} together, so that a descent remains."
        )
    descent = total_steps - warmup_steps - explore_steps
    return warmup_stable_decay(
        init_value, peak_value, warmup_steps, total_steps, descent, 0.0, "linear"
    )


@schedule
def inverse_sqrt_schedule(peak_value: Constant, warmup_steps: Span, init_value: Constant = 0.0):
    """A linear warm-up, then decay with the square root of time; no length of the run.

        step < warmup_steps:  a line from init_value to peak_value
        then:                 peak_value √(warmup_steps / step)

    Args:
        peak_value: the value at step `warmup_steps`.
        warmup_steps: at least 1: the length of the warm-up and the time scale of the decay.
        init_value: the value at step 0; `peak_value` makes the start flat, as T5's is.

    >>> import funcopt
    >>> rate = funcopt.inverse_sqrt_schedule(1.0, 4)
    >>> [float(rate(step)) for step in (0, 2, 4, 16, 64)]
    [0.0, 0.5, 1.0, 0.5, 0.25]

    Source: Raffel et al., 2020 (https://arxiv.org/abs/1910.10683).
    """

    def value(step):
        rise = _rise(step, warmup_steps, init_value, peak_value)
        warm = reached(step, warmup_steps)
        slow = peak_value * jnp.sqrt(share(warmup_steps, jnp.where(warm, step, 1)))
        return jnp.where(warm, slow, rise)

    return value


@schedule
def noam_schedule(model_size: Positive, warmup_steps: Span, factor: Constant = 1.0):
    """The Transformer's schedule: linear warm-up, then decay with the square root of time.

        factor model_size^−½ min(t^−½, t warmup_steps^−1.5)        t = step + 1

    Args:
        model_size: the width of the model, above 0.
        warmup_steps: how many updates the rise takes, at least 1.
        factor: of the whole.

    >>> import funcopt
    >>> rate = funcopt.noam_schedule(model_size=4, warmup_steps=4)
    >>> [float(rate(step)) for step in (0, 1, 3, 15)]
    [0.0625, 0.125, 0.25, 0.125]

    Source: Vaswani et al., 2017 (https://arxiv.org/abs/1706.03762), equation 3.
    """

    def value(step):
        t, w = real(step) + 1, real(warmup_steps)
        size = jnp.sqrt(real(model_size))
        return factor / size * jnp.minimum(1 / jnp.sqrt(t), t / (w * jnp.sqrt(w)))

    return value


@schedule
def power_schedule(
    peak_value: Positive,
    scale: Positive,
    exponent: Constant = -0.51,
    tokens_per_step: Positive = 1.0,
):
    """Power-law decay in the number of tokens seen, whatever the length of the run.

        min(peak_value, scale n^exponent)        n = tokens_per_step (step + 1)

    Args:
        peak_value: the largest value.
        scale: the paper's a times the batch size.
        exponent: below 0 to decay.
        tokens_per_step: how many tokens, examples or steps one update sees.

    >>> import funcopt
    >>> rate = funcopt.power_schedule(0.5, scale=1.0, exponent=-0.5)
    >>> [float(rate(step)) for step in (0, 3, 15, 63)]
    [0.5, 0.5, 0.25, 0.125]

    Source: Shen et al., 2024 (https://arxiv.org/abs/2408.13359). Its schedule also warms up and
    ends with an exponential decay: see `warmup` and `join_schedules`.
    """

    def value(step):
        n = tokens_per_step * (real(step) + 1)
        return jnp.minimum(peak_value, scale * n ** real(exponent))

    return value
