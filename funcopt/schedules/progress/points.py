"""Schedules given by their values, or by what happens to them, at chosen steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

import numpy as np

from ...core.arguments import Choice, Constant, NumberOfSteps, Numeric, Positive, Span, Within
from ...core.schedule import schedule
from ...core.steps import cycled, reached, real
from .curves import through

ShapeName = Literal["linear", "cosine", "exponential"]
Shape = Annotated[ShapeName, Choice(get_args(ShapeName))]
InterpolationName = Literal["linear", "cosine"]
Interpolation = Annotated[InterpolationName, Choice(get_args(InterpolationName))]

_STEP = NumberOfSteps(0, between=True)


@dataclass(frozen=True)
class ByStep:
    """Checks a dict from steps to numbers, and sorts it."""

    number: Within
    what: str
    empty: bool = False

    def __call__(self, where: str, x: Any) -> dict[Any, Any]:
        if x is None and self.empty:
            return {}
        if not isinstance(x, dict) or not (x or self.empty):
            raise TypeError(f"{where} must be a dict from step to {self.what}, got {x!r}.")
        checked = {
            _STEP(f"{where}: a step", s): self.number(f"{where}[{s}]", v) for s, v in x.items()
        }
        return dict(sorted(checked.items()))


def _milestones(where: str, x: Any) -> list[float]:
    if not isinstance(x, list | tuple | np.ndarray) or getattr(x, "ndim", 1) != 1:
        raise TypeError(f"{where} must be a list of steps, got {x!r}.")
    steps = [_STEP(f"{where}[{i}]", each) for i, each in enumerate(x)]
    if any(b <= a for a, b in pairwise(steps)):
        raise ValueError(f"{where} must increase from each to the next, got {x!r}.")
    return steps


@schedule
def schedule_from_points(
    points: Annotated[
        dict[Any, float],
        ByStep(Within(-np.inf, np.inf, "()", schedule=False), "value, with one entry at least"),
    ],
    shape: Shape = "linear",
):
    """Piecewise linear through given values at given steps; constant before and after.

        between the points (a, u) and (b, v):  (1 − w) u + w v        x = (step − a) / (b − a)

        linear         w = x
        cosine         w = ½ − ½ cos πx
        exponential    w = (r^x − 1) / (r − 1), r = v / u between 1/1000 and 1000

    Args:
        points: for each step its value, at least one.
        shape: of the curve between two points: `"linear"`, `"cosine"` or `"exponential"`.

    >>> import funcopt
    >>> rate = funcopt.schedule_from_points({0: 0.0, 2: 1.0, 6: 0.5})
    >>> [float(rate(step)) for step in range(8)]
    [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
    """
    return lambda step: through(step, list(points), list(points.values()), shape)


@schedule
def piecewise_interpolate_schedule(
    interpolate_type: Interpolation,
    init_value: Constant,
    boundaries_and_scales: Annotated[
        dict[Any, float] | None,
        ByStep(Within(0, np.inf, "[)", schedule=False), "factor", empty=True),
    ] = None,
):
    """Piecewise linear or cosine: reach a multiple of the value before at each boundary.

        from `init_value` at step 0 through init_value f₁ at b₁, init_value f₁ f₂ at b₂, ...

    Args:
        interpolate_type: `"linear"` or `"cosine"`.
        init_value: the value at step 0.
        boundaries_and_scales: for each boundary the factor, at least 0, that is reached there.
            Factors accumulate.

    >>> import funcopt
    >>> rate = funcopt.piecewise_interpolate_schedule("linear", 1.0, {4: 0.5, 8: 0.5})
    >>> [float(rate(step)) for step in (0, 2, 4, 6, 8, 9)]
    [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    """
    factors = boundaries_and_scales or {}

    def value(step):
        values = [init_value]
        for factor in factors.values():
            values.append(values[-1] * factor)
        return through(step, [0, *factors], values, interpolate_type)

    return value


@schedule
def step_decay(init_value: Constant, step_size: Span, factor: Positive = 0.1):
    """Step decay: multiply by `factor` every `step_size` steps.

        init_value factor^⌊step / step_size⌋

    Args:
        init_value: the value of the first `step_size` steps.
        step_size: at least 1.
        factor: above 0.

    >>> import funcopt
    >>> rate = funcopt.step_decay(1.0, 10, 0.5)
    >>> [float(rate(step)) for step in (0, 9, 10, 19, 20)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def value(step):
        times = real(cycled(step, step_size)[0])
        return init_value * real(factor) ** times

    return value


@schedule
def multistep_decay(
    init_value: Constant,
    milestones: Annotated[Sequence[Numeric] | np.ndarray, _milestones],
    factor: Positive = 0.1,
):
    """Step decay at milestones: multiply by `factor` at each.

        init_value factor^(number of milestones ≤ step)

    Args:
        init_value: the value before the first milestone.
        milestones: increasing steps.
        factor: above 0, the same at each; see `piecewise_constant_schedule` for several.

    >>> import funcopt
    >>> rate = funcopt.multistep_decay(1.0, [10, 15], 0.5)
    >>> [float(rate(step)) for step in (0, 9, 10, 14, 15)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def value(step):
        times = sum(real(reached(step, m)) for m in milestones)
        return init_value * real(factor) ** times

    return value
