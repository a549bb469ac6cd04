"""Adafactor's step: bounded, and relative to the size of the parameter.

    r ← u / max(1, RMS(u) / clipping_threshold)
    s = learning_rate max(min_scale, RMS(x)) r        RMS(x) = √mean(|x|²)
    s ← momentum · mean of s + (1 − momentum) s       if there is one

Shazeer & Stern, 2018, Algorithms 4 and 5 (https://arxiv.org/abs/1804.04235), in which the learning
rate is min(0.01, 1 / √t), and there is no momentum.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from ..core.arguments import AxisName, NonNegative, OptionalDecayRate, OptionalThreshold
from ..core.rule import Clock, Rule, Signed, rule
from ..math.moments import ema, times
from ..math.norm import clip_ratio, norm
from ..math.varying import norm_across, parts
from .stable_adamw_direction import RmsReport


class StepSlots(NamedTuple):
    ema: Signed | None


@rule(acts_on="array", slots=StepSlots, report=RmsReport, needs_params=True)
class RelativeStep(Rule):
    """Adafactor's step: bounded, relative to the size of the parameter, and to the rate or not."""

    clipping_threshold: OptionalThreshold = 1.0
    multiply_by_parameter_scale: bool = True
    momentum: OptionalDecayRate = None
    min_scale: NonNegative = 1e-3
    axis_name: AxisName = None
    with_rate: bool = True

    def init(self, param: Inexact[Array, "*p"]) -> StepSlots:
        return StepSlots(None if self.momentum is None else jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: StepSlots, param: Inexact[Array, "*p"],
               clock: Clock):  # fmt: skip
        r, ratio = self.rms(grad), 1.0
        if self.clipping_threshold is not None:
            ratio = clip_ratio(r, self.clipping_threshold)
        report = RmsReport(r, ratio, ratio < 1)
        scale: ArrayLike = ratio
        if self.with_rate:
            assert clock.lr is not None
            scale = ratio * clock.lr
        if self.multiply_by_parameter_scale:
            scale = scale * jnp.maximum(self.rms(param), self.min_scale)
        step = times(scale, grad)
        if slots.ema is None:
            return step, slots, report
        mean = clock.choose(ema(slots.ema, step, self.momentum), slots.ema)
        return mean, StepSlots(mean), report

    def rms(self, x: Inexact[Array, "*p"]) -> Float[Array, ""]:
        elements = max(x.size, 1) * parts(x, self.axis_name)
        return norm_across(norm(x), self.axis_name) / elements**0.5


def relative_step(step: ArrayLike) -> Float[Array, ""]:
    """The paper's learning rate, min(0.01, 1 / √t), where t is 1 at step 0."""
    return jnp.minimum(0.01, (jnp.asarray(step, float) + 1) ** -0.5)
