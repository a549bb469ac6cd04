"""AMSGrad: Adam whose denominator never shrinks. Three forms differ in the bias correction.

    mu ← b1 mu + (1 − b1) g,   nu ← b2 nu + (1 − b2) |g|²

    optax    nu_max ← max(nu_max, nu / (1 − b2ᵗ)),  u = mu / (1 − b1ᵗ) / (√nu_max + eps)
    pytorch  nu_max ← max(nu_max, nu),  u = mu / (1 − b1ᵗ) / (√(nu_max / (1 − b2ᵗ)) + eps)
    paper    nu_max ← max(nu_max, nu),  u = mu / (√nu_max + eps)

Reddi, Kale & Kumar, 2018, Algorithm 2 (https://arxiv.org/abs/1904.09237), which has no eps.
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Choice, DecayRate, DType, NonNegative
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, zeros_real
from ..storage import Storage, with_slot
from .moment_slots import mean_square

VariantName = Literal["optax", "pytorch", "paper"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class AmsgradSlots(NamedTuple):
    mu: Signed
    nu: Accumulator
    nu_max: Accumulator


@rule(acts_on="element", slots=AmsgradSlots)
class Amsgrad(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    variant: Variant = "optax"

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> AmsgradSlots:
        return AmsgradSlots(
            mu=jnp.zeros_like(param), nu=zeros_real(param), nu_max=zeros_real(param)
        )

    def update(self, grad: Inexact[Array, "*p"], slots: AmsgradSlots, param, clock: Clock):
        del param  # AMSGrad looks only at gradients
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, grad, self.b1),
            nu=ema(slots.nu, abs_sq(grad), self.b2),
        )
        nu = slots.nu
        nu = clock.unbiased(nu, self.b2) if self.variant == "optax" else nu
        slots = clock.renew(slots, nu_max=jnp.maximum(slots.nu_max, nu))
        mu, _, nu_max = slots
        mu = mu if self.variant == "paper" else clock.unbiased(mu, self.b1)
        nu_max = clock.unbiased(nu_max, self.b2) if self.variant == "pytorch" else nu_max
        return divide_by_root(mu, nu_max, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        def divided(slots: AmsgradSlots, weight: Array) -> Array:
            return slots.nu_max / weight if self.variant == "pytorch" else slots.nu_max

        return Divisor(
            mean_square, self.b2, self.eps, self.eps_root, corrected=True, divided=divided,
            forgets=False,
        )  # fmt: skip


AMSGRAD = Paper(
    "Reddi, Sashank J. and Kale, Satyen and Kumar, Sanjiv",
    "On the Convergence of Adam and Beyond",
    2018,
    "https://arxiv.org/abs/1904.09237",
    booktitle=ICLR,
)


@transformation(paper=AMSGRAD)
def scale_by_amsgrad(
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    variant: Variant = "optax",
    storage: Storage = None,
):
    """AMSGrad's direction, without the learning rate. Arguments as in `amsgrad`.

    >>> import funcopt
    >>> funcopt.scale_by_amsgrad(variant="paper")
    scale_by_amsgrad(variant='paper')
    """
    rule_ = Amsgrad(b1, b2, eps, eps_root, variant)
    return lift(rule_, storage=with_slot(storage, "mu", mu_dtype))
