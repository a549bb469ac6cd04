"""LARS's local rate: each gradient, its decay included, at a length relative to its array's norm.

    u = r (g + weight_decay x)
    r = trust_coefficient ‖x‖ / (‖g‖ + weight_decay ‖x‖ + eps)      1 where ‖x‖ or ‖g‖ is 0

You et al., 2017, Algorithm 1 (https://arxiv.org/abs/1708.03888). The denominator is a sum of norms,
where `scale_by_trust_ratio` divides by the norm of the sum.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, NonNegative
from ..core.rule import Clock, Rule, rule
from ..math.moments import times
from ..math.norm import norm
from ..math.varying import norm_across


@rule(acts_on="array", needs_params=True)
class LocalRate(Rule):
    """LARS's decay and ratio: its denominator is a sum of norms."""

    weight_decay: NonNegative = 0.0
    trust_coefficient: NonNegative = 0.001
    eps: NonNegative = 0.0
    axis_name: AxisName = None

    decays_by = "l2"

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # the ratio is the same at all times
        length = norm_across(norm(grad), self.axis_name)
        size = norm_across(norm(param), self.axis_name)
        known = (length > 0) & (size > 0)
        whole = jnp.where(known, length + self.weight_decay * size + self.eps, 1)
        unit = (grad + self.weight_decay * param) / whole.astype(grad.dtype)
        return times(jnp.where(known, self.trust_coefficient * size, 1), unit), slots
