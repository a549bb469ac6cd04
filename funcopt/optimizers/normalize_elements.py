"""AdaMuon's pace: a second moment of each element of a matrix, and a root mean square of 0.2.

    polar_nu ← b2 polar_nu + (1 − b2) O²
    D = O / (√polar_nu + eps)
    u = 0.2 √(inputs · outputs) D / (‖D‖ + eps)

Si, Zhang & Shen, 2025 (https://arxiv.org/abs/2507.11005), as in the authors' program. No bias is
corrected: the norm takes any factor out.
"""

import math
from typing import NamedTuple

from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.rule import Accumulator, Clock, Rule, rule
from ..math.moments import abs_sq, divide_by_root, ema, times, zeros_real
from ..math.norm import norm
from ..math.safe import safe_divide


class PolarSlots(NamedTuple):
    """The mean square of each element of the orthogonal factors."""

    polar_nu: Accumulator


@rule(acts_on="matrix", slots=PolarSlots)
class NormalizeElements(Rule):
    """Divide each element by its root-mean-square step, and give the matrix an RMS of 0.2."""

    b2: DecayRate = 0.95
    eps: NonNegative = 1e-8

    def init(self, param: Inexact[Array, "inputs outputs"]) -> PolarSlots:
        return PolarSlots(zeros_real(param))

    def update(
        self, grad: Inexact[Array, "inputs outputs"], slots: PolarSlots, param, clock: Clock
    ):
        del param  # a direction is normalized, whatever it is added to
        slots = clock.renew(slots, polar_nu=ema(slots.polar_nu, abs_sq(grad), self.b2))
        direction = divide_by_root(grad, slots.polar_nu, self.eps)
        length = 0.2 * math.sqrt(grad.size)
        return times(safe_divide(length, norm(direction) + self.eps), direction), slots
