"""NorMuon's pace: a second moment of each output of a matrix, and the norm that it had before.

    output_nu ← b2 output_nu + (1 − b2) mean of O²      of each output, over its inputs
    D = O / (√output_nu + eps)
    u = ‖O‖ / (‖D‖ + eps) D

Li et al., 2025 (https://arxiv.org/abs/2510.05491), as in the authors' program. An output is a row
there, and a column of [inputs, outputs] here.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import DecayRate, NonNegative
from ..core.rule import Accumulator, Clock, Rule, rule
from ..math.moments import abs_sq, divide_by_root, ema, times, zeros_real
from ..math.norm import norm
from ..math.safe import safe_divide


class OutputSlots(NamedTuple):
    """The mean square of each output's steps, with an axis of length 1 for its inputs."""

    output_nu: Accumulator


@rule(acts_on="matrix", slots=OutputSlots)
class NormalizeOutputs(Rule):
    """Divide each output by its root-mean-square step, and keep the norm of the matrix."""

    b2: DecayRate = 0.95
    eps: NonNegative = 1e-10

    def init(self, param: Inexact[Array, "inputs outputs"]) -> OutputSlots:
        return OutputSlots(jnp.sum(zeros_real(param), 0, keepdims=True))

    def update(
        self, grad: Inexact[Array, "inputs outputs"], slots: OutputSlots, param, clock: Clock
    ):
        del param  # a direction is normalized, whatever it is added to
        squares = jnp.sum(abs_sq(grad), 0, keepdims=True) / max(grad.shape[0], 1)
        slots = clock.renew(slots, output_nu=ema(slots.output_nu, squares, self.b2))
        mean_squares = jnp.broadcast_to(slots.output_nu, grad.shape)
        direction = divide_by_root(grad, mean_squares, self.eps)
        return times(safe_divide(norm(grad), norm(direction) + self.eps), direction), slots
