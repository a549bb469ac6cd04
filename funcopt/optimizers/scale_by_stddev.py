"""Centered RMSprop: step each element by its gradient over the deviation of its gradients.

    mu ← decay mu + (1 − decay) g
    nu ← decay nu + (1 − decay) |g|²
    u = g / √(nu − |mu|² + eps)            an estimate of the variance; eps inside or outside the
                                           root, as in `scale_by_rms`

Graves, 2013 (https://arxiv.org/abs/1308.0850), equations 38 to 45.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import DecayRate, Flag, NonNegative, NonNegativeConstant
from ..core.optimizer import lift
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_by_root, full_real
from ..storage import Storage
from .moment_slots import Moments, mean_square, with_gradient
from .scale_by_rms import eps_and_root


@rule(acts_on="element", slots=Moments, decay_of={"mu": "decay", "nu": "decay"})
class CenteredRms(Rule):
    decay: DecayRate = 0.9
    eps: NonNegative = 1e-8
    initial_scale: NonNegativeConstant = 0.0
    eps_in_sqrt: bool = True
    bias_correction: bool = False

    corrects = ("decay",)

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        return Moments(mu=jnp.zeros_like(param), nu=full_real(param, self.initial_scale))

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # RMSprop looks only at gradients
        slots, means = with_gradient(
            slots, grad, self.decay, self.decay, self.bias_correction, clock
        )
        eps = eps_and_root(self.eps, self.eps_in_sqrt)
        return divide_by_root(grad, variance(means), *eps), slots

    def divides_by(self) -> Divisor:
        def divided(slots: Moments, weight: Array) -> Array:
            return variance(Moments(slots.mu / weight, slots.nu / weight))

        eps = eps_and_root(self.eps, self.eps_in_sqrt)
        return Divisor(
            mean_square, self.decay, *eps, corrected=self.bias_correction, divided=divided
        )


def variance(means: Moments) -> Float[Array, "*p"]:
    # Rounding can make the difference of two nearly equal numbers negative.
    return jnp.maximum(means.nu - abs_sq(means.mu), 0)


@transformation
def scale_by_stddev(
    decay: DecayRate = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegativeConstant = 0.0,
    eps_in_sqrt: Flag = True,
    bias_correction: Flag = False,
    *,
    storage: Storage = None,
):
    """Centered RMSprop's direction, without the learning rate. Arguments as in `rmsprop`.

    >>> import funcopt
    >>> funcopt.scale_by_stddev(0.99)
    scale_by_stddev(decay=0.99)
    """
    rule_ = CenteredRms(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    return lift(rule_, storage=storage)
