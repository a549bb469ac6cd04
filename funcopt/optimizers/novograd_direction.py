"""NovoGrad's direction: momentum of gradients that are divided by the mean norm of their array.

    nu ← b2 nu + (1 − b2) ‖g‖²                              ‖g‖² at the first step; one number
    mu ← b1 mu + g / (√(nu + eps_root) + eps) + weight_decay x

Ginsburg et al., 2019, Algorithm 1 (https://arxiv.org/abs/1905.11286). The gradient has weight one
in the sum, not 1 − b1.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ..core.arguments import AxisName, DecayRate, NonNegative
from ..core.rule import Clock, Divisor, Rule, rule
from ..math.moments import ema, zeros_real
from ..math.norm import norm, squarable
from ..math.varying import norm_across, zeros_learnt_from
from .moment_slots import Moments, mean_of_block


def mean_element(slots: Moments) -> Array:
    """nu over all elements alike, where layers are not stacked along a later axis."""
    mu, nu = slots
    if mu.shape[: nu.ndim] != nu.shape:
        return nu
    return mean_of_block(Moments(mu, nu / max(mu.size // max(nu.size, 1), 1)))


@rule(acts_on="array", slots=Moments, needs_params=True)
class Novograd(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.25
    eps: NonNegative = 1e-6
    eps_root: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    decays: bool = True
    axis_name: AxisName = None

    decays_by = "decoupled"

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        zeros = zeros_learnt_from(zeros_real(param), self.axis_name)
        return Moments(jnp.zeros_like(param), jnp.sum(zeros))

    def update(self, grad: Inexact[Array, "*p"], slots: Moments,
               param: Inexact[Array, "*p"], clock: Clock):  # fmt: skip
        square = squarable(norm_across(norm(grad), self.axis_name)) ** 2
        nu = clock.choose(ema(slots.nu, square, self.decay(clock.t)), slots.nu)
        root = jnp.sqrt(nu + self.eps_root) + self.eps
        step = grad / jnp.where(root > 0, root, 1).astype(grad.dtype)
        if self.decays:
            step = step + self.weight_decay * param
        mu = clock.choose(self.b1 * slots.mu + step, slots.mu)
        return mu, Moments(mu, nu)

    def decay(self, t: Int[Array, ""]) -> Float[Array, ""]:
        """That of nu, in which the first norm has all of the weight."""
        return jnp.where(t == 1, 0, self.b2)

    def left_out(self) -> "Novograd":
        return Novograd(
            self.b1, self.b2, self.eps, self.eps_root, self.weight_decay, False, self.axis_name
        )

    def divides_by(self) -> Divisor:
        # eps is beside the norm of an array, which is far above the root of its mean square.
        return Divisor(mean_element, self.decay)
