"""Sophia's direction: the mean gradient over the curvature of each element, within a bound.

    m ← b1 m + (1 − b1) g
    h ← b2 h + (1 − b2) ĥ                    at steps with an estimate ĥ of the Hessian's diagonal
    u = clip(m / max(gamma h, eps), ±clip_threshold)

Liu et al., 2024, Algorithm 3 (https://arxiv.org/abs/2305.14342): Sophia-H with ĥ by Hutchinson,
Sophia-G by Gauss, Newton and Bartlett. Slots are called as in optax, mu and nu, which in version
0.2.8 corrects the bias of mu, and steps with the nu of the step before.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, NonNegative
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import divide_or_keep, ema, times, zeros_real
from ..storage import Storage, with_slot


class SophiaSlots(NamedTuple):
    """The means of gradients, and of estimates of the Hessian's diagonal."""

    mu: Signed
    nu: Signed


@rule(acts_on="element", slots=SophiaSlots, needs_hessian=True)
class Sophia(Rule):
    b1: DecayRate = 0.965
    b2: DecayRate = 0.99
    eps: NonNegative = 1e-8
    gamma: NonNegative = 0.01
    clip_threshold: NonNegative = 1.0

    def init(self, param: Inexact[Array, "*p"]) -> SophiaSlots:
        return SophiaSlots(mu=jnp.zeros_like(param), nu=zeros_real(param))

    def update(self, grad: Inexact[Array, "*p"], slots: SophiaSlots, param, clock: Clock):
        del param  # Sophia looks at gradients and at the curvature
        slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b1))
        if clock.hessian_diagonal is not None:
            slots = clock.renew(slots, nu=ema(slots.nu, clock.hessian_diagonal, self.b2))
        curvature = jnp.maximum(self.gamma * slots.nu, self.eps)
        # Divided by what is not less than |m|, no quotient overflows.
        bounded = jnp.maximum(self.clip_threshold * curvature, jnp.abs(slots.mu))
        return times(self.clip_threshold, divide_or_keep(slots.mu, bounded)), slots


SOPHIA = Paper(
    "Liu, Hong and Li, Zhiyuan and Hall, David and Liang, Percy and Ma, Tengyu",
    "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training",
    2024,
    "https://arxiv.org/abs/2305.14342",
    booktitle=ICLR,
)


@transformation(paper=SOPHIA)
def scale_by_sophia(
    b1: DecayRate = 0.965,
    b2: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative = 1.0,
    *,
    mu_dtype: DType = None,
    storage: Storage = None,
):
    """Sophia's direction, without the learning rate and the decay. Arguments as in `sophia`.

    >>> import funcopt
    >>> funcopt.scale_by_sophia(gamma=0.05)
    scale_by_sophia(gamma=0.05)
    """
    rule_ = Sophia(b1, b2, eps, gamma, clip_threshold)
    return lift(rule_, storage=with_slot(storage, "mu", mu_dtype))
