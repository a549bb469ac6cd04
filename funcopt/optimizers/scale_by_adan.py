"""Adan's direction, by the difference of successive gradients.

    d = g − g before                      0 at the first step
    m ← b1 m + (1 − b1) g
    v ← b2 v + (1 − b2) d
    n ← b3 n + (1 − b3) |g + b2 d|²
    u = (m_hat + b2 v_hat) / (√n_hat + eps)     each over its total weight, as in Adam

Xie et al., 2022, Algorithm 1 (https://arxiv.org/abs/2208.06677), whose β is 1 − b; so are the
authors' program and timm's. In optax 0.2.8 the factor of d and of v_hat is 1 − b2.
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Choice, DecayRate, NonNegative
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, times, zeros_real
from ..storage import Storage

VariantName = Literal["paper", "optax"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class AdanSlots(NamedTuple):
    """Means of gradients, of their differences and of squares, and the last gradient."""

    m: Signed
    v: Signed
    n: Accumulator
    g: Signed


@rule(acts_on="element", slots=AdanSlots, decay_of={"m": "b1", "v": "b2", "n": "b3"})
class Adan(Rule):
    b1: DecayRate = 0.98
    b2: DecayRate = 0.92
    b3: DecayRate = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    variant: Variant = "paper"

    corrects = ("b1", "b2", "b3")

    def init(self, param: Inexact[Array, "*p"]) -> AdanSlots:
        zeros = jnp.zeros_like(param)
        return AdanSlots(m=zeros, v=jnp.copy(zeros), n=zeros_real(param), g=jnp.copy(zeros))

    def update(self, grad: Inexact[Array, "*p"], slots: AdanSlots, param, clock: Clock):
        del param  # Adan looks only at gradients
        ahead = self.b2 if self.variant == "paper" else 1 - self.b2
        difference = jnp.where(clock.t == 1, 0, grad - slots.g)
        slots = clock.renew(
            slots,
            m=ema(slots.m, grad, self.b1),
            v=ema(slots.v, difference, self.b2),
            n=ema(slots.n, abs_sq(grad + times(ahead, difference)), self.b3),
            g=grad,
        )
        m, v = clock.unbiased(slots.m, self.b1), clock.unbiased(slots.v, self.b2)
        n = clock.unbiased(slots.n, self.b3)
        return divide_by_root(m + times(ahead, v), n, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        return Divisor(lambda slots: slots.n, self.b3, self.eps, self.eps_root, corrected=True)


ADAN = Paper(
    "Xie, Xingyu and Zhou, Pan and Li, Huan and Lin, Zhouchen and Yan, Shuicheng",
    "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models",
    2022,
    "https://arxiv.org/abs/2208.06677",
)


@transformation(paper=ADAN)
def scale_by_adan(
    b1: DecayRate = 0.98,
    b2: DecayRate = 0.92,
    b3: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    *,
    variant: Variant = "paper",
    storage: Storage = None,
):
    """Adan's direction, without the learning rate and the decay. Arguments as in `adan`.

    >>> import funcopt
    >>> funcopt.scale_by_adan(b3=0.999)
    scale_by_adan(b3=0.999)
    """
    return lift(Adan(b1, b2, b3, eps, eps_root, variant), storage=storage)
