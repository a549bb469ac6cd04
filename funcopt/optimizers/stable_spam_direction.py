"""Stable-SPAM: Adam behind a clip of spikes and a norm that follows its history.

For each leaf, with s = 1, or falling to eta_min along a cosine over `total_steps`:

    M ← γ3 M + (1 − γ3) max|g|          g_i ← g_i M̂ / max|g|  where |g_i| > M̂      (AdaClip)
    N ← γ1 s N + (1 − γ1 s) ‖g‖         g ← g / ‖g‖ · N̂ / (√R̂ + eps)                (AdaGN)
    R ← γ2 R + (1 − γ2) ‖g‖²
    μ ← b1 s μ + (1 − b1 s) g,  ν ← b2 ν + (1 − b2) |g|²
    x ← x − η (μ̂ / (√ν̂ + eps) + weight_decay x)

Hats correct the bias. Every `reset_interval` steps μ and ν begin anew.

Huang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.17055v2). At a reset the authors'
program still uses the old moments, corrected as if they were new, and counts M, N and R anew
without resetting them, so that M̂ is hundreds of times too large from then on; here moments begin
at once and the counts of the others go on. √R is kept, whose square may be too large for a float,
and what is not finite enters none of the three.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ..clips.clip_report import ClipReport
from ..core.arguments import AxisName, ClosedDecayRate, DecayRate, NonNegative, OptionalSteps
from ..core.rule import Clock, Divisor, Rule, rule
from ..math.moments import abs_sq, bias_correction, divide_by_root, ema, zeros_real
from ..math.varying import zero_learnt_from
from .calmed_gradient import StableSpamSlots, calmed
from .moment_slots import mean_square


@rule(acts_on="array", slots=StableSpamSlots, report=ClipReport)
class StableSpam(Rule):
    b1: DecayRate
    b2: DecayRate
    eps: NonNegative
    gamma1: DecayRate
    gamma2: DecayRate
    gamma3: DecayRate
    reset_interval: OptionalSteps
    total_steps: OptionalSteps
    eta_min: ClosedDecayRate
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> StableSpamSlots:
        none, *zeros = (zero_learnt_from(param, self.axis_name) for _ in range(4))
        moments = jnp.zeros_like(param), zeros_real(param)
        return StableSpamSlots(*moments, none.astype(jnp.int32), *zeros)

    def update(self, grad: Inexact[Array, "*p"], slots: StableSpamSlots, param, clock: Clock):
        del param  # Stable-SPAM looks only at gradients
        t, real = clock.t, slots.nu.dtype
        scale = self._scale(t, real)
        gammas = self.gamma1 * scale, self.gamma2, self.gamma3
        calm, slots, report = calmed(grad, slots, clock, gammas, self.eps, self.axis_name)
        square = jnp.minimum(abs_sq(calm), float(jnp.finfo(real).max))  # no infinity stays
        mu, nu, steps = slots.mu, slots.nu, self._steps(t)
        if self.reset_interval is not None:
            mu, nu = (jnp.where(t % self.reset_interval == 0, 0, x) for x in (mu, nu))
        b1 = self.b1 * scale
        slots = clock.renew(slots, mu=ema(mu, calm, b1), nu=ema(nu, square, self.b2))
        first, second = (bias_correction(b, steps, real) for b in (b1, self.b2))
        return divide_by_root(slots.mu / first, slots.nu / second, self.eps), slots, report

    def _scale(self, t: Int[Array, ""], real) -> Float[Array, ""] | float:
        if self.total_steps is None:
            return 1.0
        part = jnp.minimum(t.astype(real) / (jnp.asarray(self.total_steps, real) + 1), 1)
        return self.eta_min + (1 - self.eta_min) * (1 + jnp.cos(math.pi * part)) / 2

    def _steps(self, t: Int[Array, ""]) -> Int[Array, ""]:
        """How many gradients the moments have seen."""
        if self.reset_interval is None:
            return t
        return jnp.where(t < self.reset_interval, t, t % self.reset_interval + 1)

    def divides_by(self) -> Divisor:
        return Divisor(
            mean_square, self.b2, self.eps, corrected=True, restarts=self.reset_interval,
            updates=self._steps,
        )  # fmt: skip
