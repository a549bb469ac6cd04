"""LaProp: Adam in the other order: divide a gradient by its root mean square, then take the mean.

    nu ← b2 nu + (1 − b2) |g|²
    mu ← b1 mu + (1 − b1) g / (√nu_hat + eps)      nu_hat = nu / (1 − b2ᵗ)
    u  = mu / (1 − b1ᵗ)

Ziyin, Wang & Ueda, 2020, Algorithm 1 (https://arxiv.org/abs/2002.04839). In the authors' program
the mean is of steps, with the learning rate inside: the same while that is constant.
"""

from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, DType, NonNegative, Rate
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .moment_slots import Moments, mean_square, zero_moments


@rule(acts_on="element", slots=Moments)
class Laprop(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-15

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # LaProp looks only at gradients
        slots = clock.renew(slots, nu=ema(slots.nu, abs_sq(grad), self.b2))
        adapted = divide_by_root(grad, clock.unbiased(slots.nu, self.b2), self.eps)
        slots = clock.renew(slots, mu=ema(slots.mu, adapted, self.b1))
        return clock.unbiased(slots.mu, self.b1), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, corrected=True)


LAPROP = Paper(
    "Ziyin, Liu and Wang, Zhikang T. and Ueda, Masahito",
    "LaProp: Separating Momentum and Adaptivity in Adam",
    2020,
    "https://arxiv.org/abs/2002.04839",
)


@transformation(paper=LAPROP)
def laprop(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-15,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    storage: Storage = None,
):
    """LaProp: the mean of adapted gradients, where Adam adapts the mean of gradients.

    One large gradient counts at most √(1 / (1 − b2)) times, and b1 may be above b2.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        weight_decay, mask: as in `adamw`, but no decay by default.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.laprop(0.1), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.9], dtype=float32)

    Source: https://arxiv.org/abs/2002.04839, Algorithm 1.
    """
    return optimizer(
        Laprop(b1, b2, eps),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
