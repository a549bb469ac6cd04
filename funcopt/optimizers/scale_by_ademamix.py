"""AdEMAMix's direction: Adam's with a second mean of gradients, which hardly forgets.

    m1 ← b1 m1 + (1 − b1) g
    m2 ← b3 m2 + (1 − b3) g
    nu ← b2 nu + (1 − b2) |g|²
    u  = (m1_hat + alpha m2) / (√nu_hat + eps)      hats as in Adam; m2 has none

Pagliardini, Ablin & Grangier, 2025, Algorithm 1 (https://arxiv.org/abs/2409.03137). A warm-up
over T steps takes alpha from 0 and b3 from b1, so that alpha and the half-life grow linearly:

    a = min(t / T, 1),   alpha_t = a alpha,   1 / ln b3_t = (1 − a) / ln b1 + a / ln b3
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import DecayRate, DType, NonNegative, OptionalSteps
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, ema_between, times, zeros_real
from ..storage import Storage, with_slot
from .moment_slots import mean_square


class AdemamixSlots(NamedTuple):
    """The fast and the slow mean of gradients, and the mean square."""

    m1: Signed
    m2: Signed
    nu: Accumulator


@rule(acts_on="element", slots=AdemamixSlots, decay_of={"m1": "b1", "m2": "b3", "nu": "b2"})
class Ademamix(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    b3: DecayRate = 0.9999
    alpha: NonNegative = 5.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    warmup_steps: OptionalSteps = None

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> AdemamixSlots:
        zeros = jnp.zeros_like(param)
        return AdemamixSlots(m1=zeros, m2=jnp.copy(zeros), nu=zeros_real(param))

    def update(self, grad: Inexact[Array, "*p"], slots: AdemamixSlots, param, clock: Clock):
        del param  # AdEMAMix looks only at gradients
        nu = ema(slots.nu, abs_sq(grad), self.b2)
        warm = self._warm(clock, nu)
        if warm is None:
            m2 = ema(slots.m2, grad, self.b3)
        else:
            m2 = ema_between(slots.m2, grad, self.b1, self.b3, warm)
        slots = clock.renew(slots, m1=ema(slots.m1, grad, self.b1), m2=m2, nu=nu)
        alpha = self.alpha if warm is None else self.alpha * warm
        mixed = clock.unbiased(slots.m1, self.b1) + times(alpha, slots.m2)
        nu = clock.unbiased(slots.nu, self.b2)
        return divide_by_root(mixed, nu, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, self.eps_root, corrected=True)

    def _warm(self, clock: Clock, like: Float[Array, "*p"]) -> Float[Array, ""] | None:
        """How much of the warm-up is done."""
        if self.warmup_steps is None:
            return None
        return jnp.minimum(clock.t.astype(like.dtype) / self.warmup_steps, 1)


ADEMAMIX = Paper(
    "Pagliardini, Matteo and Ablin, Pierre and Grangier, David",
    "The AdEMAMix Optimizer: Better, Faster, Older",
    2025,
    "https://arxiv.org/abs/2409.03137",
    booktitle=ICLR,
)


@transformation(paper=ADEMAMIX)
def scale_by_ademamix(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    b3: DecayRate = 0.9999,
    alpha: NonNegative = 6.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    warmup_steps: OptionalSteps = None,
    storage: Storage = None,
):
    """AdEMAMix's direction, without the learning rate. Arguments as in `ademamix`.

    >>> import funcopt
    >>> funcopt.scale_by_ademamix(alpha=8.0)
    scale_by_ademamix(alpha=8.0)
    """
    rule_ = Ademamix(b1, b2, b3, alpha, eps, eps_root, warmup_steps)
    return lift(rule_, storage=means_in(mu_dtype, storage))


def means_in(dtype: DType, storage: Storage) -> Storage:
    return with_slot(with_slot(storage, "m1", dtype), "m2", dtype)
