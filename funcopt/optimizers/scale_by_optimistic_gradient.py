"""Optimistic gradient descent: a step along the gradient, and what it has changed by.

    u = alpha g + beta (g − previous_gradient)      the same at the first step, where that is g
    previous_gradient ← g

Mokhtari, Ozdaglar & Pattathil, 2020 (https://arxiv.org/abs/1901.08511), for games and other saddle
points, around which gradient descent circles outwards. After Adam it is optimistic Adam:
Daskalakis, Ilyas, Syrgkanis & Zeng, 2018 (https://arxiv.org/abs/1711.00141).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Real
from ..core.optimizer import lift
from ..core.paper import AISTATS, ICLR, Paper
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..storage import Storage


class OptimisticSlots(NamedTuple):
    previous_gradient: Signed


@rule(acts_on="element", slots=OptimisticSlots)
class Optimistic(Rule):
    alpha: Real = 1.0
    beta: Real = 1.0

    def init(self, param: Inexact[Array, "*p"]) -> OptimisticSlots:
        return OptimisticSlots(previous_gradient=jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: OptimisticSlots, param, clock: Clock):
        del param  # optimism looks only at updates
        change = jnp.where(clock.t == 1, 0, grad - slots.previous_gradient)
        slots = clock.renew(slots, previous_gradient=grad)
        return times(self.alpha, grad) + times(self.beta, change), slots


OPTIMISTIC = Paper(
    "Mokhtari, Aryan and Ozdaglar, Asuman and Pattathil, Sarath",
    "A Unified Analysis of Extra-gradient and Optimistic Gradient Methods for Saddle Point "
    "Problems: Proximal Point Approach",
    2020,
    "https://arxiv.org/abs/1901.08511",
    booktitle=AISTATS,
)
OPTIMISTIC_ADAM = Paper(
    "Daskalakis, Constantinos and Ilyas, Andrew and Syrgkanis, Vasilis and Zeng, Haoyang",
    "Training GANs with Optimism",
    2018,
    "https://arxiv.org/abs/1711.00141",
    booktitle=ICLR,
)


@transformation(paper=OPTIMISTIC)
def scale_by_optimistic_gradient(alpha: Real = 1.0, beta: Real = 1.0, *, storage: Storage = None):
    """Add to each update, `beta` times, what it has changed by; `alpha` multiplies the update.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_adam(), funcopt.scale_by_optimistic_gradient(beta=0.5))
    chain(scale_by_adam(), scale_by_optimistic_gradient(beta=0.5))
    """
    return lift(Optimistic(alpha, beta), storage=storage)
