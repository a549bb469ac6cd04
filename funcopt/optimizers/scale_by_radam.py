"""RAdam: Adam that begins as momentum, until its second moment has seen enough gradients.

    mu, nu, mu_hat, nu_hat     as in Adam
    ρ_∞ = 2 / (1 − b2) − 1,    ρ_t = ρ_∞ − 2 t b2ᵗ / (1 − b2ᵗ)
    r   = √( (ρ_t − 4)(ρ_t − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ_t) )
    u   = r mu_hat / (√nu_hat + eps)     where ρ_t ≥ threshold, else mu_hat

Liu et al., 2020, Algorithm 2 (https://arxiv.org/abs/1908.03265). Its threshold is 4, where r is 0;
the authors' program, PyTorch and optax have 5.
"""

import math
from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, Flag, Hyperparameter, NonNegative, OpenDecayRate, Within
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, times
from ..math.once import number_once
from ..math.rectification import length, rectification
from ..storage import Storage
from .moment_slots import Moments, mean_square, zero_moments

Threshold = Annotated[Hyperparameter, Within(4, math.inf, "[)")]


@rule(acts_on="element", slots=Moments)
class Radam(Rule):
    b1: DecayRate = 0.9
    b2: OpenDecayRate = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    threshold: Threshold = 5.0
    nesterov: bool = False

    corrects = ("b1", "b2", ("b1", 1))

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # RAdam looks only at gradients
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, grad, self.b1),
            nu=ema(slots.nu, abs_sq(grad), self.b2),
        )
        nu = clock.unbiased(slots.nu, self.b2)
        if self.nesterov:
            ahead = clock.unbiased(slots.mu, self.b1, ahead=1)
            mu = ema(ahead, clock.unbiased(grad, self.b1), self.b1)
        else:
            mu = clock.unbiased(slots.mu, self.b1)
        rho = number_once(length(self.b2, clock.t.astype(nu.dtype)))
        adaptive = divide_by_root(mu, nu, self.eps, self.eps_root)
        adaptive = times(rectification(self.b2, rho), adaptive)
        return jnp.where(rho >= self.threshold, adaptive, mu), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, self.eps_root, corrected=True)


RADAM = Paper(
    "Liu, Liyuan and Jiang, Haoming and He, Pengcheng and Chen, Weizhu and Liu, Xiaodong and "
    "Gao, Jianfeng and Han, Jiawei",
    "On the Variance of the Adaptive Learning Rate and Beyond",
    2020,
    "https://arxiv.org/abs/1908.03265",
    booktitle=ICLR,
)


@transformation(paper=RADAM)
def scale_by_radam(
    b1: DecayRate = 0.9,
    b2: OpenDecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    threshold: Threshold = 5.0,
    *,
    nesterov: Flag = False,
    storage: Storage = None,
):
    """RAdam's direction, without the learning rate. Arguments as in `radam`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_radam(b2=0.99), funcopt.descend(1e-3))
    chain(scale_by_radam(b2=0.99), descend(learning_rate=0.001))
    """
    return lift(Radam(b1, b2, eps, eps_root, threshold, nesterov), storage=storage)
