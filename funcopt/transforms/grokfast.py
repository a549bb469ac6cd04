"""Grokfast: gradients whose slow part, their running mean, is amplified.

    ema ← alpha ema + (1 − alpha) g         g at the first step
    u = g + lamb ema

Lee, Kang, Kim & Lee, 2024, Algorithm 2, Grokfast-EMA (https://arxiv.org/abs/2405.20233).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import ema
from ..storage import Storage


class GrokfastSlots(NamedTuple):
    """The running mean of gradients."""

    ema: Signed


@rule(acts_on="element", slots=GrokfastSlots, decay_of={"ema": "alpha"})
class Grokfast(Rule):
    alpha: DecayRate = 0.98
    lamb: NonNegative = 2.0

    def init(self, param: Inexact[Array, "*p"]) -> GrokfastSlots:
        return GrokfastSlots(jnp.zeros_like(param))

    def update(self, grad: Inexact[Array, "*p"], slots: GrokfastSlots, param, clock: Clock):
        del param  # the filter is of gradients
        mean = jnp.where(clock.t == 1, grad, ema(slots.ema, grad, self.alpha))
        slots = clock.renew(slots, ema=mean)
        return grad + self.lamb * slots.ema, slots


GROKFAST = Paper(
    "Lee, Jaerin and Kang, Bong Gyun and Kim, Kihoon and Lee, Kyoung Mu",
    "Grokfast: Accelerated Grokking by Amplifying Slow Gradients",
    2024,
    "https://arxiv.org/abs/2405.20233",
)


@transformation(paper=GROKFAST)
def grokfast(alpha: DecayRate = 0.98, lamb: NonNegative = 2.0, *, storage: Storage = None):
    """Grokfast: add a multiple of the mean gradient, in front of any optimizer.

    Args:
        alpha: decay of the mean gradient, in [0, 1); or a schedule. 0.8 to 0.99 is usual.
        lamb: how much of it is added, at least 0; or a schedule. 0 leaves gradients as they are;
            0.1 to 5 is usual.
        storage: how the mean is kept, see `funcopt.storage`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.grokfast(alpha=0.5, lamb=2.0)
    >>> updates, state = tx.update(jnp.array([1.0]), tx.init(jnp.zeros(1)))
    >>> tx.update(jnp.array([3.0]), state)[0]  # 3 + 2 * (1 / 2 + 3 / 2)
    Array([7.], dtype=float32)

    Source: https://arxiv.org/abs/2405.20233, Algorithm 2.
    """
    return lift(Grokfast(alpha, lamb), storage=storage)
