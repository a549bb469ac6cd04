"""Adamax: Adam with a decaying maximum in place of the root mean square.

    mu ← b1 mu + (1 − b1) g
    nu ← max(b2 nu, |g| + eps)
    u  = mu / (1 − b1ᵗ) / nu

Kingma & Ba, 2015, Algorithm 2 (https://arxiv.org/abs/1412.6980). The paper has no eps; it is
inside the maximum as in PyTorch and optax, where an element without gradient cannot divide by 0.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.optimizer import lift
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import divide_or_keep, ema, zeros_real
from ..storage import Storage
from .scale_by_adam import ADAM


class AdamaxSlots(NamedTuple):
    """A mean gradient and a maximal magnitude: not what Adam keeps by the same names."""

    mu: Signed
    nu: Accumulator


@rule(acts_on="element", slots=AdamaxSlots)
class Adamax(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8

    corrects = ("b1",)

    def init(self, param: Inexact[Array, "*p"]) -> AdamaxSlots:
        return AdamaxSlots(mu=jnp.zeros_like(param), nu=zeros_real(param))

    def update(self, grad: Inexact[Array, "*p"], slots: AdamaxSlots, param, clock: Clock):
        del param  # Adamax looks only at gradients
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, grad, self.b1),
            nu=jnp.maximum(self.b2 * slots.nu, jnp.abs(grad) + self.eps),
        )
        mu, nu = slots
        return divide_or_keep(clock.unbiased(mu, self.b1), nu), slots

    def divides_by(self) -> Divisor:
        # eps is in the maximum already.
        return Divisor(lambda slots: slots.nu**2, self.b2**2, maximum=True)


@transformation(paper=ADAM)
def scale_by_adamax(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    *,
    storage: Storage = None,
):
    """Adamax's direction, without the learning rate. Arguments as in `adamax`.

    >>> import funcopt
    >>> funcopt.scale_by_adamax(b2=0.99)
    scale_by_adamax(b2=0.99)
    """
    return lift(Adamax(b1, b2, eps), storage=storage)
