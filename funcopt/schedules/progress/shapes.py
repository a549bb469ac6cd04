"""Decays over a known number of steps, by the shape of their curve."""

from typing import Annotated

import jax
import jax.numpy as jnp

from ...core.arguments import MOST_STEPS, Constant, Delay, Numeric, Positive, Span, Within
from ...core.schedule import schedule
from ...core.steps import elapsed, real, remaining, share
from .curves import above
from .progress import line, with_exact_ends

PowerOfTwo = Annotated[Numeric, Within(1, MOST_STEPS, schedule=False, integer=True)]
"""What `chebyshev_schedule` looks at once more."""


@schedule
def linear_to_zero(init_value: Constant, total_steps: Span):
    """Linear decay to 0 at the end of the run.

        init_value (1 − step / total_steps), at least 0

    Args:
        init_value: the value at step 0.
        total_steps: the length of the run.

    >>> import funcopt
    >>> rate = funcopt.linear_to_zero(1.0, 4)
    >>> [float(rate(step)) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]

    Source: Bergsma et al., 2025 (https://arxiv.org/abs/2502.15938).
    """
    return lambda step: line(elapsed(step, 0, total_steps), total_steps, init_value, 0.0)


@schedule
def rex_schedule(
    init_value: Constant,
    transition_steps: Span,
    end_value: Constant = 0.0,
    transition_begin: Delay = 0,
):
    """REX: decay above the straight line, slow at first and steeper towards the end.

        w init_value + (1 − w) end_value      w = (1 − x) / (1 − x/2), x = progress, in [0, 1]

    Args:
        init_value, end_value: finite numbers.
        transition_steps: how many steps it takes, at least 1.
        transition_begin: the step at which it begins.

    >>> import funcopt
    >>> rate = funcopt.rex_schedule(1.0, 4)
    >>> [round(float(rate(step)), 4) for step in range(5)]
    [1.0, 0.8571, 0.6667, 0.4, 0.0]

    Source: Chen et al., 2021 (https://arxiv.org/abs/2107.04197).
    """

    def value(step):
        done = elapsed(step, transition_begin, transition_steps)
        left = remaining(done, transition_steps)
        x, y = share(done, transition_steps), share(left, transition_steps)
        between = (2 * y * init_value + x * end_value) / (1 + y)
        return with_exact_ends(done, transition_steps, init_value, end_value, between)

    return value


@schedule
def tanh_schedule(
    init_value: Constant,
    transition_steps: Span,
    end_value: Constant = 0.0,
    lower: Constant = -6.0,
    upper: Constant = 3.0,
):
    """Hyperbolic tangent decay: high for long, then down.

        w init_value + (1 − w) end_value    w = ½ − ½ tanh((1 − x) lower + x upper), x = progress

    It begins at ½ − ½ tanh(lower) of the way and ends at ½ − ½ tanh(upper): neither end is exact.

    Args:
        init_value, end_value: finite numbers.
        transition_steps: how many steps it takes, at least 1.
        lower, upper: the stretch of the tangent; `lower` is below `upper`.

    Raises:
        ValueError: `lower` is above `upper`.

    >>> import funcopt
    >>> rate = funcopt.tanh_schedule(1.0, 9)
    >>> [round(float(rate(step)), 4) for step in (0, 6, 9, 10)]
    [1.0, 0.5, 0.0025, 0.0025]

    Source: Hsueh et al., 2018 (https://arxiv.org/abs/1806.01593).
    """
    if above(lower, upper):
        raise ValueError(f"tanh_schedule: lower={lower} must be below upper={upper}.")

    def value(step):
        done = elapsed(step, 0, transition_steps)
        left = remaining(done, transition_steps)
        x, y = share(done, transition_steps), share(left, transition_steps)
        z = 2 * (y * lower + x * upper)
        return jax.nn.sigmoid(-z) * init_value + jax.nn.sigmoid(z) * end_value

    return value


@schedule
def chebyshev_schedule(min_value: Positive, max_value: Positive, cycle_steps: PowerOfTwo):
    """Chebyshev's step sizes in fractal order: large steps, each healed by small ones.

        1 / (cos²(θ/2) / max_value + sin²(θ/2) / min_value)        θ = π (σ(t) + ½) / cycle_steps
        σ: 0 for one step; for twice as many, σ(2i) = σ(i) and σ(2i + 1) = 2n − 1 − σ(i)

    On a quadratic whose curvatures lie between 1 / max_value and 1 / min_value no other step
    sizes of that number converge as fast; the order keeps them stable.

    Args:
        min_value: the smallest step size, one over the largest curvature; above 0.
        max_value: the largest step size, one over the smallest curvature.
        cycle_steps: a power of two; the steps repeat after it.

    Raises:
        ValueError: `cycle_steps` is not a power of two, or `min_value` is above `max_value`.

    >>> import funcopt
    >>> rate = funcopt.chebyshev_schedule(0.1, 1.0, 4)
    >>> [round(float(rate(step)), 4) for step in range(5)]
    [0.7449, 0.1035, 0.2647, 0.1385, 0.7449]

    Source: Agarwal et al., 2021 (https://arxiv.org/abs/2103.01338).
    """
    if not isinstance(cycle_steps, int) or cycle_steps & (cycle_steps - 1):
        raise ValueError(
            f"chebyshev_schedule: cycle_steps must be a power of two, got {cycle_steps!r}."
        )
    if above(min_value, max_value):
        raise ValueError(
            f"chebyshev_schedule: min_value={min_value} must not be above max_value={max_value}."
        )

    def value(step):
        position = (step % cycle_steps).astype(jnp.int32)
        order, known = jnp.zeros_like(position), 1
        for bit in reversed(range(cycle_steps.bit_length() - 1)):
            known *= 2
            order = jnp.where((position >> bit) & 1 == 1, known - 1 - order, order)
        x = (real(order) + 0.5) / (2.0 * cycle_steps)
        y = (real(cycle_steps - 1 - order) + 0.5) / (2.0 * cycle_steps)
        fast, slow = jnp.sin(jnp.pi * y) ** 2, jnp.sin(jnp.pi * x) ** 2
        return 1 / (fast / max_value + slow / min_value)

    return value
