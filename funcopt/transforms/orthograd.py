"""OrthoGrad: the part of the gradient that is orthogonal to the parameters, as long as the whole.

    p = g − ⟨x, g⟩ / ‖x‖² x
    u = ‖g‖ / ‖p‖ p               0 where p is rounding, ‖p‖ ≤ 4 ulp ‖g‖

Prieto et al., 2025 (https://arxiv.org/abs/2501.04697).
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName
from ..core.leaf import LayerAxis
from ..core.optimizer import lift
from ..core.paper import ICLR, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..math.norm import norm
from ..math.varying import norm_across, sum_across


@rule(acts_on="array", needs_params=True)
class Orthograd(Rule):
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # the projection is the same at all times
        length = norm_across(norm(grad), self.axis_name)
        size = norm_across(norm(param), self.axis_name)
        g, x = (
            each / jnp.where(whole > 0, whole, 1).astype(each.dtype)
            for each, whole in ((grad, length), (param, size))
        )
        along = sum_across(jnp.sum((jnp.conj(x) * g).real), self.axis_name)
        across = g - times(along, x)
        rest = norm_across(norm(across), self.axis_name)
        told = rest > 4 * float(jnp.finfo(rest.dtype).eps)
        return times(jnp.where(told, length / jnp.where(told, rest, 1), 0), across), slots


ORTHOGRAD = Paper(
    "Prieto, Lucas and Barsbey, Melih and Mediano, Pedro A. M. and Birdal, Tolga",
    "Grokking at the Edge of Numerical Stability",
    2025,
    "https://arxiv.org/abs/2501.04697",
    booktitle=ICLR,
)


@transformation(paper=ORTHOGRAD)
def orthograd(*, layer_axis: LayerAxis = None, axis_name: AxisName = None):
    """Gradient projection: keep what is orthogonal to the parameters of each array, at full length.

    It stands in front of an optimizer. Without it, gradients late in training mostly scale a
    network's logits; what does not change their direction is left out. Of a parameter with one
    element nothing is left, so it stays where it is.

    Args:
        layer_axis: where layers are stacked in one leaf, each of which is an array of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.

    Raises:
        ValueError: `update` was called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.orthograd(), jnp.array([0.0, 2.0])
    >>> tx.update(jnp.array([3.0, 4.0]), tx.init(params), params)[0]
    Array([5., 0.], dtype=float32)

    Source: https://arxiv.org/abs/2501.04697, section 5.
    """
    return lift(Orthograd(axis_name), layer_axis=layer_axis)
