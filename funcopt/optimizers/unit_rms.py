"""The mean gradient with a root mean square of 1: the best step in a ball of that norm.

    mu ← b1 mu + (1 − b1) g
    u = mu / (RMS(mu) + eps)                RMS(mu) = √mean(|mu|²)

Pethick et al., 2025 (https://arxiv.org/abs/2502.07529): what Scion does with vectors, and with the
first and the last layer of a network.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.rule import Clock, Rule, Signed, rule
from ..math.moments import ema, times
from ..math.norm import norm
from ..math.safe import safe_divide


class MeanSlots(NamedTuple):
    mu: Signed


@rule(acts_on="array", slots=MeanSlots)
class UnitRms(Rule):
    """The mean gradient over its root mean square."""

    b1: DecayRate = 0.9
    eps: NonNegative = 1e-8

    def init(self, param: Inexact[Array, "*p"]) -> MeanSlots:
        return MeanSlots(jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: MeanSlots, param, clock: Clock):
        del param  # a direction asks only for gradients
        slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b1))
        rms = norm(slots.mu) / max(grad.size, 1) ** 0.5
        return times(safe_divide(1, rms + self.eps), slots.mu), slots
