"""Norms of matrices that are set before and after they are made orthogonal.

    M ← M with ‖M‖ / √outputs as the norm of each output      MuonEq: https://arxiv.org/abs/2603.28254
    O ← √min(inputs, outputs) O / ‖O‖                         Muon+: https://arxiv.org/abs/2602.21545

Equal outputs have singular values that are nearer to each other; and few steps of Newton and Schulz
do not lead all of them to 1, whose norm the second line gives to the whole. An output is a row in
these papers, and a column of [inputs, outputs] here.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import NonNegative
from ..core.rule import Clock, Rule, rule
from ..math.moments import times
from ..math.norm import norm
from ..math.safe import safe_divide


@rule(acts_on="matrix")
class EqualOutputs(Rule):
    """Give all outputs of a matrix one norm, and leave that of the matrix: MuonEq's rows."""

    eps: NonNegative = 1e-6

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param, clock  # a direction is normalized, whatever it is added to
        target = norm(grad) / max(grad.shape[1], 1) ** 0.5
        return times(safe_divide(target, jnp.maximum(norm(grad, (0,)), self.eps)), grad), slots


@rule(acts_on="matrix")
class PolarNorm(Rule):
    """Give a matrix the norm that it has where all of its singular values are 1: Muon+'s."""

    eps: NonNegative = 1e-6

    def update(self, grad: Inexact[Array, "inputs outputs"], slots, param, clock: Clock):
        del param, clock  # the shape and the norm are all that is asked
        target = min(grad.shape) ** 0.5
        return times(safe_divide(target, jnp.maximum(norm(grad), self.eps)), grad), slots
