"""Yogi: Adam whose second moment moves by no more than the last squared gradient.

    mu ← b1 mu + (1 − b1) g
    nu ← nu − (1 − b2) sign(nu − |g|²) |g|²
    u  = mu_hat / (√nu_hat + eps)      mu_hat = mu / (1 − b1ᵗ),  nu_hat = nu / (1 − b2ᵗ)

Zaheer et al., 2018, Algorithm 2
(https://proceedings.neurips.cc/paper/2018/file/90365351ccc7437a1309dc64e4db32a3-Paper.pdf). The
bias correction and the start of both moments at 1e-6 are optax's; the paper has neither.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative, Rate
from ..core.optimizer import optimizer
from ..core.paper import NEURIPS, Paper
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, ema, full_real
from ..storage import Storage
from .moment_slots import Moments, mean_square

START = 1e-6


@rule(acts_on="element", slots=Moments)
class Yogi(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-3

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return Moments(mu=jnp.full_like(param, START), nu=full_real(param, START))

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Yogi looks only at gradients
        square = abs_sq(grad)
        change = (1 - self.b2) * jnp.sign(slots.nu - square) * square
        mu, nu = slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b1), nu=slots.nu - change)
        mu, nu = clock.unbiased(mu, self.b1), clock.unbiased(nu, self.b2)
        return divide_by_root(mu, nu, self.eps), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, self.eps, corrected=True)


YOGI = Paper(
    "Zaheer, Manzil and Reddi, Sashank J. and Sachan, Devendra and Kale, Satyen and Kumar, Sanjiv",
    "Adaptive Methods for Nonconvex Optimization",
    2018,
    "https://proceedings.neurips.cc/paper/2018/file/90365351ccc7437a1309dc64e4db32a3-Paper.pdf",
    booktitle=NEURIPS,
)


@transformation(paper=YOGI)
def yogi(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-3,
    *,
    storage: Storage = None,
):
    """Yogi: Adam whose second moment changes additively, so that steps do not suddenly grow.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: one minus how far the second moment moves, in squared gradients, in [0, 1).
        eps: added to the root, at least 0.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.yogi(0.1), jnp.array([1.0])
    >>> params, state = funcopt.step(tx, jnp.array([2.0]), tx.init(params), params)
    >>> params
    Array([0.900...], dtype=float32)

    Source: the paper, Algorithm 2, with the bias correction of optax.
    """
    return optimizer(Yogi(b1, b2, eps), learning_rate=learning_rate, storage=storage)
