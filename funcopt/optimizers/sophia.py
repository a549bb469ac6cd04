"""Sophia: the mean gradient over the curvature of each element, but no further than a bound.

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

from ..core.arguments import DecayRate, DType, NonNegative, Rate
from ..core.lift import masked
from ..core.optimizer import lift, optimizer
from ..core.paper import ICLR, Paper
from ..core.paths import Mask
from ..core.rule import Clock, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import divide_or_keep, ema, times, zeros_real
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying


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


@transformation(paper=SOPHIA)
def sophia(
    learning_rate: Rate,
    b1: DecayRate = 0.965,
    b2: DecayRate = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: WeightDecay = 1e-4,
    mask: Mask = None,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative = 1.0,
    *,
    mu_dtype: DType = None,
    storage: Storage = None,
):
    """Sophia: the mean gradient over the Hessian's diagonal, with a bound for each element.

    An estimate of that diagonal is an argument of `update`, about once in ten steps; `None` at the
    others. `hutchinson_diagonal` makes one of any loss, `gauss_newton_bartlett_diagonal` of
    the logits of a classifier or a language model. Before the first one steps are signs. Behind
    `accumulate`, only an estimate counts that comes with the update that makes the step.

    Args:
        learning_rate: how long the longest step in an element is, times `clip_threshold`; at least
            0, or a schedule. The paper's is a little less than AdamW's would be.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean estimate, in [0, 1), from one estimate to the next.
        eps: the least curvature, at least 0, which stands for a negative one, too.
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`; the paper's is 0.2.
        mask: which parameters decay, see `add_decayed_weights`.
        gamma: how many times the curvature counts, at least 0: the larger, the fewer elements are
            bounded. The paper's is 0.01 for Hutchinson's estimate, 0.05 for the other; such that
            the updates of 10 to 50 % of all elements are below the bound.
        clip_threshold: the largest magnitude of a direction, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters or without `hessian_diagonal=`, or a parameter has no leaf of
            its shape in it.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 100.0]) * w**2)
    >>> tx, w = funcopt.sophia(0.1, gamma=1.0, b1=0.0, b2=0.0), jnp.array([0.5, 0.5])
    >>> curvature = funcopt.hutchinson_diagonal(loss, w, jax.random.key(0))
    >>> updates, state = tx.update(jax.grad(loss)(w), tx.init(w), w, hessian_diagonal=curvature)
    >>> updates
    Array([-0.05..., -0.05...], dtype=float32)
    >>> updates, state = tx.update(jax.grad(loss)(w), state, w, hessian_diagonal=None)

    Source: https://arxiv.org/abs/2305.14342, Algorithm 3.
    """
    return optimizer(
        Sophia(b1, b2, eps, gamma, clip_threshold),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
