"""Adam as in SOAP's program, whose first step only makes a basis, and a mean that begins with it.

    mu ← b1 mu + (1 − b1) g,  nu ← b2 nu + (1 − b2) |g|²    from the second step on
    u = √(1 − b2ˢ) / (1 − b1ˢ) mu / (√nu + eps)             s = t − 1
    x ← x − learning_rate u
    x ← x − learning_rate weight_decay x

Vyas et al., 2025 (https://arxiv.org/abs/2409.11321): eps is added before the bias is corrected, and
decay comes after the step.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.rule import Clock, Divisor, Rule, rule
from ..math.moments import abs_sq, bias_correction, divide_by_root, ema, times
from .moment_slots import Moments, mean_square, zero_moments
from .sgd import TraceSlots


@rule(acts_on="element", slots=Moments)
class LateAdam(Rule):
    """Adam from the second step on, with eps added before the bias is corrected."""

    b1: DecayRate = 0.95
    b2: DecayRate = 0.95
    eps: NonNegative = 1e-8
    bias_correction: bool = True

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Adam looks only at gradients
        late = clock.t > 1
        slots = clock.renew(
            slots,
            mu=lax.select_n(late, slots.mu, ema(slots.mu, grad, self.b1)),
            nu=lax.select_n(late, slots.nu, ema(slots.nu, abs_sq(grad), self.b2)),
        )
        mu, nu = slots
        direction = divide_by_root(mu, nu, self.eps)
        if self.bias_correction:
            s = jnp.maximum(clock.t - 1, 1)
            first, second = (bias_correction(b, s, nu.dtype) for b in (self.b1, self.b2))
            direction = times(jnp.sqrt(second) / first, direction)
        return direction, slots

    def divides_by(self) -> Divisor:
        corrected = self.bias_correction
        return Divisor(mean_square, self.b2, self.eps, corrected=corrected, updates=lambda t: t - 1)


@rule(acts_on="element", slots=TraceSlots)
class LateMean(Rule):
    """The mean gradient from the second step on."""

    beta: DecayRate = 0.9

    def init(self, param: Inexact[Array, "*p"]) -> TraceSlots:
        return TraceSlots(trace=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: TraceSlots, param, clock: Clock):
        del param  # a mean of gradients needs only those
        mean = lax.select_n(clock.t > 1, slots.trace, ema(slots.trace, grad, self.beta))
        slots = clock.renew(slots, trace=mean)
        return slots.trace, slots


@rule(acts_on="element", needs_params=True)
class DecayAfterStep(Rule):
    """Decay of what a step has led to; none at the first step, which there is none of."""

    weight_decay: NonNegative = 0.01

    decays_by = "decoupled, after"
    place = "last"
    rate_power = 1

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        assert clock.lr is not None
        part = jnp.where(clock.t > 1, clock.lr * self.weight_decay, 0)
        return grad - times(part, param + grad), slots
