"""Two stages of nanochat's Muon: NorMuon's pace for the longer side, and a cautious decay.

    side_nu ← b2 side_nu + (1 − b2) mean of O²              over the shorter side
    D = O / √max(side_nu, eps)
    O ← (‖O‖ / ‖D‖) D
    u = O + factor of the shape · weight_decay x            where O x ≥ 0

Karpathy's nanochat (https://github.com/karpathy/nanochat, nanochat/optim.py).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import (
    DecayRate,
    NonNegative,
)
from ..core.rule import Accumulator, Clock, Rule, rule
from ..math.moments import abs_sq, divide_or_keep, ema, times, zeros_real
from ..math.norm import norm
from ..math.safe import safe_divide
from .matrix_scale import ScalingName, matrix_scale


class SideSlots(NamedTuple):
    """The mean square of each slice of the longer side, with an axis of length 1 for the other."""

    side_nu: Accumulator


@rule(acts_on="matrix", slots=SideSlots)
class NormalizeLongerSide(Rule):
    """Divide each slice of the longer side by its root-mean-square step, and keep the norm."""

    b2: DecayRate = 0.9
    eps: NonNegative = 1e-10

    def init(self, param: Inexact[Array, "inputs outputs"]) -> SideSlots:
        return SideSlots(jnp.sum(zeros_real(param), _shorter(param), keepdims=True))

    def update(self, grad: Inexact[Array, "inputs outputs"], slots: SideSlots, param, clock: Clock):
        del param  # a direction is normalized, whatever it is added to
        axis = _shorter(grad)
        squares = jnp.sum(abs_sq(grad), axis, keepdims=True) / max(grad.shape[axis], 1)
        slots = clock.renew(slots, side_nu=ema(slots.side_nu, squares, self.b2))
        root = jnp.sqrt(jnp.maximum(slots.side_nu, self.eps))
        direction = divide_or_keep(grad, jnp.broadcast_to(root, grad.shape))
        length = jnp.maximum(norm(direction), self.eps)
        return times(safe_divide(norm(grad), length), direction), slots


@rule(acts_on="matrix", needs_params=True)
class CautiousMatrixDecay(Rule):
    """Decay where update and parameter have one sign, times the factor of the matrix's shape."""

    weight_decay: NonNegative = 0.0
    scaling: ScalingName = "keller"

    decays_by = "cautious"

    def update(
        self,
        grad: Inexact[Array, "inputs outputs"],
        slots,
        param: Inexact[Array, "inputs outputs"],
        clock: Clock,
    ):
        del clock  # `descend` multiplies decay by the learning rate
        inputs, outputs = grad.shape
        decay = self.weight_decay * matrix_scale(inputs, outputs, self.scaling)
        agrees = jnp.real(grad * jnp.conj(param)) >= 0
        return jnp.where(agrees, grad + times(decay, param), grad), slots


def _shorter(x: Inexact[Array, "inputs outputs"]) -> int:
    return 0 if x.shape[1] >= x.shape[0] else 1
