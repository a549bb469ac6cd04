"""Prodigy: Adam whose rate is an estimate of the distance to the solution.

    η_t = d_t learning_rate c_t            c_t = √(1 − β₂ᵗ) / (1 − β₁ᵗ), or 1
    r ← β₃ r + (d/d₀) η ⟨g, x_0 − x⟩       what the way so far has earned
    s ← β₃ s + (d/d₀) η g
    m ← β₁ m + (1 − β₁) d g
    v ← β₂ v + (1 − β₂) d² |g|²
    d̂ = coefficient r / ‖s‖₁               d_{t+1} = max(d_t, d̂), growing at most by growth_rate
    x ← x − η ( m / (√v + d_{t+1} eps) + λ x )

Mishchenko & Defazio, 2023 (https://arxiv.org/abs/2306.06101), the Adam version, with the
discounts β₃ = √β₂ and the factor d/d₀, which keeps small numbers from underflowing.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, OptionalDecayRate, Positive
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.tree_rule import (
    AccumulatorColumn,
    ExactColumn,
    Number,
    Reported,
    SignedColumn,
    Start,
    Step,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column, axpy, divided_by_roots, emas, minus, scaled
from ..math.moments import abs_sq
from ..math.safe import safe_divide
from ..optimizers.moment_slots import mean_square
from .estimate import GrowthRate, adam_correction, grown


class ProdigySlots(NamedTuple):
    mu: SignedColumn
    nu: AccumulatorColumn
    grad_sum: ExactColumn
    init_params: ExactColumn


class ProdigyNumbers(NamedTuple):
    """`lr` is the rate in force, d times the learning rate; `d_max` the largest estimate so far."""

    lr: Reported
    d: Reported
    d_max: Number
    numerator: Number


@tree_rule(slots=ProdigySlots, numbers=ProdigyNumbers)
class Prodigy(TreeRule):
    learning_rate: NonNegative
    b1: DecayRate
    b2: DecayRate
    beta3: OptionalDecayRate
    eps: Positive
    estim_lr0: Positive
    estim_lr_coef: Positive
    weight_decay: NonNegative
    safeguard_warmup: bool
    mask: Mask
    bias_correction: bool
    growth_rate: GrowthRate
    axis_name: AxisName

    decays_by = "decoupled"

    def init(self, x: Column, start: Start):
        d0 = start.number(self.estim_lr0)
        slots = ProdigySlots(start.zeros(x), start.magnitudes(x), start.zeros(x), x)
        return slots, ProdigyNumbers(d0 * self.learning_rate, d0, d0, start.number(0))

    def update(self, g: Column, slots: ProdigySlots, was: ProdigyNumbers, x: Column, step: Step):
        b1, b2, d, d0 = self.b1, self.b2, was.d, self.estim_lr0
        b3 = b2**0.5 if self.beta3 is None else self.beta3
        corrected = adam_correction(b1, b2, step.clock.t, step.real) if self.bias_correction else 1
        lr = d * self.learning_rate * corrected
        weight = d / d0 * (d if self.safeguard_warmup else lr)
        r = b3 * was.numerator + d / d0 * lr * step.vdot(g, minus(slots.init_params, x))
        slots = step.renew(
            slots,
            mu=emas(slots.mu, [d * each for each in g], b1),
            nu=emas(slots.nu, [abs_sq(d * each) for each in g], b2),
            grad_sum=[b3 * a + weight * b for a, b in zip(slots.grad_sum, g, strict=True)],
        )
        d_hat = self.estim_lr_coef * safe_divide(r, step.abs_sum(slots.grad_sum))
        d_max = jnp.maximum(was.d_max, d_hat)
        # The authors let the first rise through whatever growth_rate says.
        start = jnp.where(d == d0, jnp.maximum(d, d_hat), d)
        d = jnp.minimum(d_max, grown(start, self.growth_rate))
        u = divided_by_roots(slots.mu, slots.nu, d * self.eps)
        u = axpy(1, u, step.decay(self.weight_decay, self.mask))
        return scaled(-lr, u), slots, ProdigyNumbers(lr, d, d_max, r)

    def divides_by(self, numbers: ProdigyNumbers) -> Divisor:
        # The squares are of d g, and grow with d.
        return Divisor(mean_square, self.b2, numbers.d * self.eps, forgets=False)
