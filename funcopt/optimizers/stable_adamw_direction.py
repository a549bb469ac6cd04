"""StableAdamW's direction: AdamW's, shorter in a leaf that its second moment has lost track of.

    μ ← b1 μ + (1 − b1) g,  ν ← b2 ν + (1 − b2) |g|²,  corrected as in Adam
    r = √mean(|g|² / max(ν̂, eps²))      about 1 while ν keeps up with the gradients
    u = (μ̂ / (√ν̂ + eps) + weight_decay x) / max(1, r)

Wortsman et al., 2023, Algorithm 2 (https://arxiv.org/abs/2304.13013), who correct the bias in the
decay rates; that is the same. r grows one to eight steps before a loss spike.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, DecayRate, NonNegative
from ..core.report import Largest, Mean, Smallest
from ..core.rule import Clock, Divisor, Rule, rule
from ..math.moments import divide_or_keep
from ..math.norm import norm, squarable
from ..math.varying import norm_across, parts
from .moment_slots import Moments, mean_square, with_gradient, zero_moments


class RmsReport(NamedTuple):
    """`update_rms` is the largest r of all leaves, `clip_ratio` the smallest 1 / max(1, r)."""

    update_rms: Largest = 0.0
    clip_ratio: Smallest = 1.0
    clipped: Mean = 0.0


@rule(acts_on="array", slots=Moments, report=RmsReport, needs_params=True)
class StableAdamW(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.99
    eps: NonNegative = 1e-6
    weight_decay: NonNegative = 0.0
    decays: bool = True
    axis_name: AxisName = None

    decays_by = "decoupled"

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param: Inexact[Array, "*p"],
               clock: Clock):  # fmt: skip
        held = squarable(grad)
        slots, (mean, square) = with_gradient(slots, held, self.b1, self.b2, True, clock)
        spread = jnp.sqrt(square)
        direction = divide_or_keep(mean, spread, self.eps)
        length = norm(divide_or_keep(grad, jnp.maximum(spread, self.eps)))
        elements = max(grad.size, 1) * parts(grad, self.axis_name)
        r = norm_across(length, self.axis_name) / elements**0.5
        if self.decays:
            direction = direction + self.weight_decay * param
        shorter = jnp.maximum(r, 1)
        report = RmsReport(r, 1 / shorter, (r > 1).astype(r.dtype))
        return direction / shorter, slots, report

    def left_out(self) -> "StableAdamW":
        return StableAdamW(self.b1, self.b2, self.eps, self.weight_decay, False, self.axis_name)

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, corrected=True)
