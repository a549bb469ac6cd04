"""MADGRAD: adaptive steps away from the starting point, with the cube root of summed squares.

    λ = (learning_rate + eps) √t
    s           ← s + λ g
    grad_sum_sq ← grad_sum_sq + λ |g|²
    z = x0 − s / (∛grad_sum_sq + eps)
    x ← momentum x + (1 − momentum) z

Defazio & Jelassi, 2022, Algorithm 1 (https://arxiv.org/abs/2101.11075). The eps in λ is that of the
authors' program. At a rate of 0 nothing is added up here.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import subtracted
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Exact, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, times, zeros_real
from ..math.safe import safe_cbrt
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import WeightDecay, decaying


class MadgradSlots(NamedTuple):
    """Sums of squares and of gradients, and the starting point."""

    grad_sum_sq: Exact
    s: Exact
    x0: Exact


@rule(acts_on="element", slots=MadgradSlots, needs_params=True)
class Madgrad(Rule):
    momentum: DecayRate = 0.9
    eps: NonNegative = 1e-6

    def init(self, param: Inexact[Array, "*p"]) -> MadgradSlots:
        start = jnp.copy(param)
        return MadgradSlots(grad_sum_sq=zeros_real(param), s=jnp.zeros_like(param), x0=start)

    def update(
        self,
        grad: Inexact[Array, "*p"],
        slots: MadgradSlots,
        param: Inexact[Array, "*p"],
        clock: Clock,
    ):
        assert clock.lr is not None
        weight = jnp.where(clock.lr > 0, clock.lr + self.eps, 0)
        weight = weight * jnp.sqrt(clock.t.astype(weight.dtype))
        slots = clock.renew(
            slots,
            grad_sum_sq=slots.grad_sum_sq + times(weight, abs_sq(grad)),
            s=slots.s + times(weight, grad),
        )
        z = slots.x0 - divide_or_keep(slots.s, safe_cbrt(slots.grad_sum_sq), self.eps)
        return times(1 - self.momentum, param - z), slots


MADGRAD = Paper(
    "Defazio, Aaron and Jelassi, Samy",
    "Adaptivity without Compromise: A Momentumized, Adaptive, Dual Averaged Gradient Method for "
    "Stochastic Optimization",
    2022,
    "https://arxiv.org/abs/2101.11075",
    journal="Journal of Machine Learning Research 23",
)


@transformation(paper=MADGRAD)
def madgrad(
    learning_rate: Rate,
    momentum: DecayRate = 0.9,
    weight_decay: WeightDecay = 0.0,
    eps: NonNegative = 1e-6,
    *,
    mask: Mask = None,
    storage: Storage = None,
):
    """MADGRAD: dual averaging with momentum, adaptive by the cube root of summed squares.

    Sums only grow, so that steps shorten by themselves, and early gradients are never forgotten.

    Args:
        learning_rate: at least 0, or a schedule. No other optimizer's rate suits it: search over
            powers of ten.
        momentum: of the old parameters in the new ones, in [0, 1).
        weight_decay: an L2 penalty, added to the gradient, at least 0; less than for others. Or one
            of `funcopt.decays`: what it takes, 1 − momentum of the way to z puts back.
        eps: added to the cube root and to the learning rate, at least 0.
        mask: which parameters decay, see `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.madgrad(0.1, momentum=0.5), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([1.0]), tx.init(params), params)
    >>> params
    Array([0.892...], dtype=float32)

    Source: https://arxiv.org/abs/2101.11075, Algorithm 1.
    """
    return subtracted(
        masked(mask, decaying(weight_decay, L2Decay)),
        Madgrad(momentum, eps),
        learning_rate=learning_rate,
        layer_axis=None,
        storage=storage,
    )
