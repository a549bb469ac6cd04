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

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.lift import masked
from ..core.optimizer import lift, optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, times, unbiased, zeros_real
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying


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
        n = unbiased(slots.n, self.b2, clock.t)
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


@transformation(paper=SIMPLIFIED_ADEMAMIX)
def simplified_ademamix(
    learning_rate: Rate,
    b1: DecayRate = 0.99,
    b2: DecayRate = 0.95,
    alpha: NonNegative = 0.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """Simplified AdEMAMix: AdEMAMix with the gradient in place of its fast mean; two slots.

    Args:
        learning_rate: at least 0, or a schedule. Steps grow to 1 / (1 − b1) times this: with the
            same `b1`, (1 − b1) times a rate for Adam.
        b1: decay of the sum of gradients, in [0, 1). The authors let it grow over the training from
            0.9: a schedule.
        b2: decay of the mean squared gradient, in [0, 1).
        alpha: how many times the gradient of the step counts beside the sum, at least 0. With 0
            it is Adam whose first moment is a sum.
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.simplified_ademamix(0.1, alpha=2.0), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.7], dtype=float32)

    Source: https://arxiv.org/abs/2502.02431.
    """
    return optimizer(
        SimplifiedAdemamix(b1, b2, alpha, eps, eps_root),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=storage,
    )
