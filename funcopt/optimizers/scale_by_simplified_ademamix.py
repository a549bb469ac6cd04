"""Simplified AdEMAMix: one long sum of gradients and the gradient of the step, over Adam's root.

    m ← b1 m + g
    n ← b2 n + (1 − b2) |g|²
    u = (m + alpha g) / (√n_hat + eps)      n_hat = n / (1 − b2ᵗ)

Morwani, Vyas, Zhang & Kakade, 2025 (https://arxiv.org/abs/2502.02431), in the form of the authors'
program: a sum and no mean, so that the rate that suits it falls as 1 − b1 does.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, times, zeros_real
from ..storage import Storage


class SimplifiedAdemamixSlots(NamedTuple):
    m: Signed
    n: Accumulator


@rule(acts_on="element", slots=SimplifiedAdemamixSlots, decay_of={"m": "b1", "n": "b2"})
class SimplifiedAdemamix(Rule):
    b1: DecayRate = 0.99
    b2: DecayRate = 0.95
    alpha: NonNegative = 0.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0

    corrects = ("b2",)

    def init(self, param: Inexact[Array, "*p"]) -> SimplifiedAdemamixSlots:
        return SimplifiedAdemamixSlots(m=jnp.zeros_like(param), n=zeros_real(param))

    def update(
        self, grad: Inexact[Array, "*p"], slots: SimplifiedAdemamixSlots, param, clock: Clock
    ):
        del param  # AdEMAMix looks only at gradients
        slots = clock.renew(
            slots,
            m=times(self.b1, slots.m) + grad,
            n=ema(slots.n, abs_sq(grad), self.b2),
        )
        n = clock.unbiased(slots.n, self.b2)
        return divide_by_root(slots.m + times(self.alpha, grad), n, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        return Divisor(lambda slots: slots.n, self.b2, self.eps, self.eps_root, corrected=True)


SIMPLIFIED_ADEMAMIX = Paper(
    "Morwani, Depen and Vyas, Nikhil and Zhang, Hanlin and Kakade, Sham",
    "Connections between Schedule-Free Optimizers, AdEMAMix, and Accelerated SGD Variants",
    2025,
    "https://arxiv.org/abs/2502.02431",
)


@transformation(paper=SIMPLIFIED_ADEMAMIX)
def scale_by_simplified_ademamix(
    b1: DecayRate = 0.99,
    b2: DecayRate = 0.95,
    alpha: NonNegative = 0.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    *,
    storage: Storage = None,
):
    """Simplified AdEMAMix's direction, without the learning rate: see `simplified_ademamix`.

    >>> import funcopt
    >>> funcopt.scale_by_simplified_ademamix(alpha=8.0)
    scale_by_simplified_ademamix(alpha=8.0)
    """
    return lift(SimplifiedAdemamix(b1, b2, alpha, eps, eps_root), storage=storage)
