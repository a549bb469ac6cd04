"""Adan: Nesterov momentum for adaptive steps, by the difference of successive gradients.

    d = g − g before                      0 at the first step
    m ← b1 m + (1 − b1) g
    v ← b2 v + (1 − b2) d
    n ← b3 n + (1 − b3) |g + b2 d|²
    u = (m_hat + b2 v_hat) / (√n_hat + eps)     each over its total weight, as in Adam
    x ← (x − learning_rate u) / (1 + learning_rate weight_decay)

Xie et al., 2022, Algorithm 1 (https://arxiv.org/abs/2208.06677), whose β is 1 − b; so are the
authors' program and timm's. In optax 0.2.8 the factor of d and of v_hat is 1 − b2, and the decay is
AdamW's: `variant="optax"`.
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Choice, DecayRate, NonNegative, Rate
from ..core.lift import masked
from ..core.optimizer import lift, optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, times, unbiased, zeros_real
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from ..transforms.decay_kinds import ProximalDecay
from ..transforms.decay_rules import WeightDecay, decaying

VariantName = Literal["paper", "optax"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class AdanSlots(NamedTuple):
    """Means of gradients, of their differences and of squares, and the last gradient."""

    m: Signed
    v: Signed
    n: Accumulator
    g: Signed


@rule(acts_on="element", slots=AdanSlots)
class Adan(Rule):
    b1: DecayRate = 0.98
    b2: DecayRate = 0.92
    b3: DecayRate = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    variant: Variant = "paper"

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
        m, v = unbiased(slots.m, self.b1, clock.t), unbiased(slots.v, self.b2, clock.t)
        n = unbiased(slots.n, self.b3, clock.t)
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


@transformation(paper=ADAN)
def adan(
    learning_rate: Rate,
    b1: DecayRate = 0.98,
    b2: DecayRate = 0.92,
    b3: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    variant: Variant = "paper",
    storage: Storage = None,
):
    """Adan: adaptive steps with Nesterov momentum, by the difference of successive gradients.

    Four slots for each parameter, twice as many as Adam.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule. The
            authors take up to five to ten times AdamW's.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean difference, in [0, 1), and how far it looks ahead.
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0; optax's default is 1e-8.
        weight_decay: at least 0, or one of `funcopt.decays`; the paper's is 0.02. A number divides
            parameters by 1 + learning_rate · weight_decay after the step; in the variant of optax
            it is AdamW's.
        mask: which parameters decay, see `add_decayed_weights`.
        variant: "paper", or "optax" for the equations of optax 0.2.8.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adan(0.1), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.9], dtype=float32)

    Source: https://arxiv.org/abs/2208.06677, Algorithm 1.
    """
    decay = decaying(weight_decay, ProximalDecay if variant == "paper" else Decay)
    return optimizer(
        Adan(b1, b2, b3, eps, eps_root, variant),
        masked(mask, decay),
        learning_rate=learning_rate,
        storage=storage,
    )
