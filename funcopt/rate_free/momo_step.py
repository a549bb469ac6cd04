"""MoMo: momentum whose rate follows from a model of the loss.

    f̄ ← β f̄ + (1 − β) f(x)                       averages over past batches of the loss,
    γ ← β γ + (1 − β) ⟨g, x⟩                      of where its linear model was taken,
    m ← β m + (1 − β) g                           and of its slope
    τ = min( α/ρ, ((1 + αλ)(f̄ − ρ f* − γ) + ⟨m, x⟩)₊ / ‖m‖² )
    x ← (x − τ m) / (1 + αλ)

ρ = 1 where the averages begin with the first batch (the default), and ρ = 1 − βᵗ where they begin
with zero. Where a mask leaves elements without decay, these count 1 + αλ times in ⟨m, x⟩ and ‖m‖²
of τ, and x ← x − τ m there: the proximal step of the same model with a λ of each element's own.

A lower bound f* that is not known is estimated: after each step
f* ← max( (f̄ + ⟨m, x⟩ − γ − ½ τ ‖m‖²) / ρ, lower_bound ), and it is halved towards what the model
allows before a step that it would forbid.

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..core.arguments import AxisName, DecayRate, NonNegative, Real
from ..core.paths import Mask
from ..core.tree_rule import SignedColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, emas
from ..math.moments import abs_sq, bias_correction, ema
from .loss_model import LossModel, MomoNumbers, proximal_step, weighted_sums


class MomoSlots(NamedTuple):
    mu: SignedColumn


@tree_rule(slots=MomoSlots, numbers=MomoNumbers, needs_value=True)
class Momo(TreeRule):
    learning_rate: NonNegative
    beta: DecayRate
    lower_bound: Real
    weight_decay: NonNegative
    mask: Mask
    adapt_lower_bound: bool
    bias_correction: bool
    axis_name: AxisName

    decays_by = "proximal"

    def init(self, x: Column, start: Start):
        numbers = map(start.number, (self.learning_rate, 0, 0, self.lower_bound))
        return MomoSlots(start.zeros(x)), MomoNumbers(*numbers)

    def update(self, g: Column, slots: MomoSlots, was: MomoNumbers, x: Column, step: Step):
        beta, rho = self.beta, 1.0
        if self.bias_correction:
            rho = bias_correction(beta, step.clock.t, step.real)
        else:
            # The first batch is the first average.
            beta = jnp.where(step.clock.t == 1, 0, jnp.asarray(beta, step.real))
        slots = step.renew(slots, mu=emas(slots.mu, g, beta))
        m = slots.mu
        loss = ema(was.loss_average, step.value, beta)
        gamma = ema(was.gamma, step.vdot(g, x), beta)
        alpha, decay = self.learning_rate, self.weight_decay
        slope, square = step.vdot(m, x), step.square_norm(m)
        decays, sums = step.selected(self.mask), (slope, square)
        if not all(decays):
            sums = weighted_sums(step, m, x, list(map(abs_sq, m)), decays, 1 + alpha * decay)
        model = LossModel(alpha, decay, rho, loss, gamma, slope, square, *sums)
        tau, bound = model.solved(was.lower_bound, self.lower_bound, self.adapt_lower_bound)
        steps = proximal_step(x, m, decays, tau, alpha, decay)
        return steps, slots, MomoNumbers(tau, loss, gamma, bound)
