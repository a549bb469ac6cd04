"""COCOB: coin betting, where each element bets on the sign of its gradients what it has won.

    L ← max(L, |g|)                            the largest gradient so far, eps to begin with
    G ← G + |g|
    R ← max(R − g (x − x_0), 0)                the reward: what earlier bets have won
    θ ← θ − g
    x ← x_0 + θ (L + R) / ( L max(G + L, α L) )

Orabona & Tommasi, 2017 (https://arxiv.org/abs/1705.07795), algorithm 2.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import NonNegative, Positive, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Exact, Rule, rule
from ..core.transformation import transformation
from ..math.moments import divide_or_keep, full_real, zeros_real
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import decaying
from .estimate import SummedDecay


class CocobSlots(NamedTuple):
    init_particles: Exact
    cumulative_gradients: Exact
    scale: Accumulator
    subgradients: Accumulator
    reward: Accumulator


@rule(acts_on="element", slots=CocobSlots, needs_params=True)
class Cocob(Rule):
    alpha: NonNegative = 100.0
    eps: Positive = 1e-8

    def init(self, param: Inexact[Array, "*p"]) -> CocobSlots:
        return CocobSlots(
            init_particles=jnp.array(param, copy=True),
            cumulative_gradients=jnp.zeros_like(param),
            scale=full_real(param, self.eps),
            subgradients=zeros_real(param),
            reward=zeros_real(param),
        )

    def update(
        self,
        grad: Inexact[Array, "*p"],
        slots: CocobSlots,
        param: Inexact[Array, "*p"],
        clock: Clock,
    ):
        size = jnp.abs(grad)
        won = jnp.conj(grad) * (param - slots.init_particles)
        slots = clock.renew(
            slots,
            cumulative_gradients=slots.cumulative_gradients - grad,
            scale=jnp.maximum(slots.scale, size),
            subgradients=slots.subgradients + size,
            reward=jnp.maximum(slots.reward - won.real, 0),
        )
        x0, bets, L, G, R = slots
        fraction = divide_or_keep(bets, L * jnp.maximum(G + L, self.alpha * L))
        return (param - x0) - fraction * (L + R), slots


COCOB = Paper(
    "Orabona, Francesco and Tommasi, Tatiana",
    "Training Deep Networks without Learning Rates Through Coin Betting",
    2017,
    "https://arxiv.org/abs/1705.07795",
    booktitle=NEURIPS,
)


@transformation(paper=COCOB)
def cocob(
    learning_rate: Rate = 1.0,
    alpha: NonNegative = 100.0,
    eps: Positive = 1e-8,
    weight_decay: SummedDecay = 0.0,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """COCOB: descent by coin betting, without a learning rate; each element finds its own step.

    Args:
        learning_rate: how much of the way to the next bet is gone, at least 0, or a schedule; 1 is
            the algorithm. (In optax it multiplies the gradients, on whose scale nothing depends,
            so that there a constant has no effect.)
        alpha: at least 0; steps are held back until gradients have summed up to so many times
            their largest.
        eps: above 0, the largest gradient to begin with.
        weight_decay: times the parameter, added to the gradient (L2). There is no other: parameters
            are where the sums of gradients have led to, whatever was decayed.
        mask: which parameters decay, as in `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Five slots: starting point, sums of gradients and of magnitudes, largest magnitude, reward.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.cocob(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(300):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/1705.07795, algorithm 2.
    """
    rules = masked(mask, decaying(weight_decay, L2Decay)), Cocob(alpha, eps)
    return optimizer(*rules, learning_rate=learning_rate, storage=storage)
