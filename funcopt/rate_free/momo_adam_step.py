"""MoMo-Adam: Adam whose rate follows from a model of the loss.

    f̄ ← β₁ f̄ + (1 − β₁) f(x)                     averages over past batches of the loss,
    γ ← β₁ γ + (1 − β₁) ⟨g, x⟩                    of where its linear model was taken,
    m ← β₁ m + (1 − β₁) g                         and of its slope
    v ← β₂ v + (1 − β₂) |g|²
    D = √(v / (1 − β₂ᵗ)) + eps                    ρ = 1 − β₁ᵗ
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / Σ |m|²/D )
    x ← (x − τ m/D) / (1 + αλ)

A lower bound f* that is not known is estimated as in `momo_step`, with Σ |m|²/D in place of ‖m‖²,
and a mask acts as it does there.

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Positive, Real
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.tree_rule import AccumulatorColumn, SignedColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, emas
from ..math.moments import abs_sq, bias_correction, ema
from ..optimizers.moment_slots import mean_square
from .loss_model import LossModel, MomoNumbers, proximal_step, weighted_sums


class MomoAdamSlots(NamedTuple):
    mu: SignedColumn
    nu: AccumulatorColumn


@tree_rule(slots=MomoAdamSlots, numbers=MomoNumbers, needs_value=True)
class MomoAdam(TreeRule):
    learning_rate: NonNegative
    b1: DecayRate
    b2: DecayRate
    eps: Positive
    lower_bound: Real
    weight_decay: NonNegative
    mask: Mask
    adapt_lower_bound: bool
    axis_name: AxisName

    decays_by = "proximal"

    def init(self, x: Column, start: Start):
        numbers = map(start.number, (self.learning_rate, 0, 0, self.lower_bound))
        return MomoAdamSlots(start.zeros(x), start.magnitudes(x)), MomoNumbers(*numbers)

    def update(self, g: Column, slots: MomoAdamSlots, was: MomoNumbers, x: Column, step: Step):
        b1, b2, t = self.b1, self.b2, step.clock.t
        rho, filled = bias_correction(b1, t, step.real), bias_correction(b2, t, step.real)
        slots = step.renew(
            slots,
            mu=emas(slots.mu, g, b1),
            nu=emas(slots.nu, [abs_sq(each) for each in g], b2),
        )
        m, D = slots.mu, [jnp.sqrt(v / filled) + self.eps for v in slots.nu]
        loss = ema(was.loss_average, step.value, b1)
        gamma = ema(was.gamma, step.vdot(g, x), b1)
        slope = step.vdot(m, x)
        squares = [abs_sq(a) / b for a, b in zip(m, D, strict=True)]
        square = step.abs_sum(squares)
        alpha, decay = self.learning_rate, self.weight_decay
        decays, sums = step.selected(self.mask), (slope, square)
        if not all(decays):
            sums = weighted_sums(step, m, x, squares, decays, 1 + alpha * decay)
        model = LossModel(alpha, decay, rho, loss, gamma, slope, square, *sums)
        tau, bound = model.solved(was.lower_bound, self.lower_bound, self.adapt_lower_bound)
        u = [a / b for a, b in zip(m, D, strict=True)]
        steps = proximal_step(x, u, decays, tau, alpha, decay)
        return steps, slots, MomoNumbers(tau, loss, gamma, bound)

    def divides_by(self, numbers: MomoNumbers) -> Divisor:
        del numbers  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps, corrected=True)
