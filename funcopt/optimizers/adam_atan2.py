"""Adam-atan2: Adam whose quotient is an angle, so that it needs no eps and is bounded.

    u = 4/π atan2(mu_hat, √nu_hat)      moments and hats as in Adam

It is 1 where Adam's quotient is, and never more than 2. Everett et al., 2024, Appendix C.5
(https://arxiv.org/abs/2407.05872), where the factor is 1; this one, by which steps are about as
long as Adam's, is that of common programs, which round it to 1.27.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate
from ..core.rule import Clock, Divisor, Rule, rule
from ..math.moments import times
from .moment_slots import Moments, mean_square, with_gradient, zero_moments


@rule(acts_on="element", slots=Moments)
class AdamAtan2(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    bias_correction: bool = True

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return zero_moments(param)

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Adam looks only at gradients
        slots, (mu, nu) = with_gradient(slots, grad, self.b1, self.b2, self.bias_correction, clock)
        return times(4 / math.pi, angle(mu, nu)), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_square, self.b2, corrected=self.bias_correction)


def angle(x: Inexact[Array, "*p"], square: Array) -> Inexact[Array, "*p"]:
    """atan2(x, √square), in the direction of x where that is complex; x where `square` is 0.

    There x is 0 too, or so small that its square is: derivatives stay finite.
    """
    seen = square > 0
    root = jnp.sqrt(jnp.where(seen, square, 1))
    if not jnp.iscomplexobj(x):
        return jnp.where(seen, jnp.arctan2(x, root), x)
    return jnp.where(seen, jnp.sign(x) * jnp.arctan2(jnp.abs(x), root), x)
