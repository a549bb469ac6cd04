"""The momentum of Muon and its relatives: a running mean of gradients.

    trace ← beta trace + (1 − beta) g
    u = beta trace + (1 − beta) g           Nesterov; else u = trace

Of a matrix that is made orthogonal afterwards, a sum of gradients is as good as their mean.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate
from ..core.rule import Clock, Rule, rule
from ..math.moments import ema
from .sgd import TraceSlots


@rule(acts_on="element", slots=TraceSlots, decay_of={"trace": "beta"})
class MeanGradient(Rule):
    """The running mean of gradients; with `nesterov`, one step ahead of itself."""

    beta: DecayRate = 0.95
    nesterov: bool = False

    def init(self, param: Inexact[Array, "*p"]) -> TraceSlots:
        return TraceSlots(trace=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: TraceSlots, param, clock: Clock):
        del param  # a mean of gradients needs only those
        slots = clock.renew(slots, trace=ema(slots.trace, grad, self.beta))
        return (ema(slots.trace, grad, self.beta) if self.nesterov else slots.trace), slots
