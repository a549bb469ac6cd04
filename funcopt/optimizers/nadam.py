"""Nadam: Adam that looks one momentum step ahead. Three published forms differ.

With mu and nu as in Adam, and nu_hat = nu / (1 − b2ᵗ):

    dozat       u = (b1 mu / (1 − b1ᵗ⁺¹) + (1 − b1) g / (1 − b1ᵗ)) / (√nu_hat + eps)
    pytorch     u = (mₜ₊₁ mu / (1 − Πᵗ⁺¹m) + (1 − mₜ) g / (1 − Πᵗm)) / (√nu_hat + eps)
                mₜ and Πᵗm = m₁ ⋯ mₜ as in `nadam_momentum`
    init2winit  u = ((b1 mu + (1 − b1) g) / (1 − b1ᵗ)) / (√nu_hat + eps)

Dozat, 2016 (https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ), whose momentum schedule only
PyTorch keeps; "dozat" is the form of optax. The third is the one of Choi et al., 2019, Table 1
(https://arxiv.org/abs/1910.05446), used in the AlgoPerf benchmark.
"""

from typing import Annotated, Literal, get_args

from jaxtyping import Array, Inexact

from ..core.arguments import Choice, DecayRate, DType, NonNegative, Rate
from ..core.optimizer import optimizer
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.counts import following
from ..math.moments import abs_sq, divide_by_root, ema
from ..storage import Storage, with_slot
from .moment_slots import Moments, mean_square, zero_moments
from .nadam_momentum import momentum_product, nadam_momentum

VariantName = Literal["dozat", "pytorch", "init2winit"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


@rule(acts_on="element", slots=Moments)
class Nadam(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    variant: Variant = "dozat"
    momentum_decay: NonNegative = 0.004

    corrects = ("b1", "b2", ("b1", 1))

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Nadam looks only at gradients
        slots = clock.renew(
            slots,
            mu=ema(slots.mu, grad, self.b1),
            nu=ema(slots.nu, abs_sq(grad), self.b2),
        )
        nu = clock.unbiased(slots.nu, self.b2)
        ahead = self._ahead(grad, slots.mu, clock, nu.dtype)
        return divide_by_root(ahead, nu, self.eps, self.eps_root), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, self.eps_root, corrected=True)

    def _ahead(self, g, mu, clock: Clock, dtype) -> Inexact[Array, "*p"]:
        b1, t = self.b1, clock.t
        if self.variant == "init2winit":
            return clock.unbiased(b1 * mu + (1 - b1) * g, b1)
        if self.variant == "dozat":
            return b1 * clock.unbiased(mu, b1, ahead=1) + (1 - b1) * clock.unbiased(g, b1)
        now, later = ((b1, self.momentum_decay, i, dtype) for i in (t, following(t)))
        part = (1 - nadam_momentum(*now)) * g / (1 - momentum_product(*now))
        return nadam_momentum(*later) * mu / (1 - momentum_product(*later)) + part


NADAM = Paper(
    "Dozat, Timothy",
    "Incorporating Nesterov Momentum into Adam",
    2016,
    "https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ",
    booktitle=f"{ICLR}, Workshop Track",
)


@transformation(paper=NADAM)
def nadam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType = None,
    *,
    variant: Variant = "dozat",
    momentum_decay: NonNegative = 0.004,
    storage: Storage = None,
):
    """Nadam: Adam with Nesterov momentum.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps, eps_root, mu_dtype, storage: as in `adam`.
        variant: "dozat" (as optax), "pytorch" or "init2winit"; the module's docstring has the
            equations.
        momentum_decay: how fast the momentum of the "pytorch" variant rises from b1 / 2 to b1;
            the others do not read it.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.nadam(0.1, variant="pytorch")
    >>> tx.update(jnp.array([3.0]), tx.init(jnp.zeros(1)))[0]
    Array([-0.1...], dtype=float32)

    Source: Dozat, 2016; PyTorch's NAdam; https://arxiv.org/abs/1910.05446.
    """
    return optimizer(
        Nadam(b1, b2, eps, eps_root, variant, momentum_decay),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
