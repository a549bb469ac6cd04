"""Decays that look at the step as well as at the parameters, as rules that stand in an optimizer.

With η the learning rate and s the step that comes of all other rules, x moves by s and by

    LateDecay           −η λ (x + s)
    CautiousDecay       −η λ x where s x ≤ 0            Chen et al., 2025, arXiv:2510.12402
    ProximalDecay       to (x + s) / (1 + η λ)          Adan's: Xie et al., 2022, arXiv:2208.06677

Those that look at parameters alone are in `decay_kinds`.
"""

import jax.numpy as jnp

from ..core.arguments import NonNegative
from ..core.rule import Clock, Rule, rule
from .decay_kinds import Arrays, less, rate


@rule(acts_on="element", needs_params=True)
class LateDecay(Rule):
    """The step to (1 − η λ) (x + s)."""

    weight_decay: NonNegative = 0.0

    decays_by = "decoupled, after"
    place = "last"
    rate_power = 1

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        return less(grad, rate(clock) * self.weight_decay, param + grad), slots


@rule(acts_on="element", needs_params=True)
class CautiousDecay(Rule):
    """s − η λ x where s x ≤ 0, else s."""

    weight_decay: NonNegative = 0.0

    decays_by = "cautious"
    place = "last"
    rate_power = 1

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        shrinks = jnp.real(grad * jnp.conj(param)) <= 0
        return jnp.where(shrinks, less(grad, rate(clock) * self.weight_decay, param), grad), slots


@rule(acts_on="element", needs_params=True)
class ProximalDecay(Rule):
    """The step to (x + s) / (1 + η λ)."""

    weight_decay: NonNegative = 0.0

    decays_by = "proximal"
    place = "last"
    rate_power = 1

    def update(self, grad: Arrays, slots, param: Arrays, clock: Clock):
        part = rate(clock) * self.weight_decay
        return less(grad, part, param) / (1 + part).astype(grad.dtype), slots
