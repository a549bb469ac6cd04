"""The trust ratio: steps of each array that are in proportion to its own length.

u ← trust_coefficient ‖x‖ / (‖u‖ + eps) u      u as it is where ‖x‖ or ‖u‖ is 0

You et al., 2017 (https://arxiv.org/abs/1708.03888), of whose LARS it is a part, as of LAMB.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, NonNegative
from ..core.leaf import LayerAxis
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import times
from ..math.norm import norm
from ..math.varying import norm_across


@rule(acts_on="array", needs_params=True)
class TrustRatio(Rule):
    min_norm: NonNegative = 0.0
    trust_coefficient: NonNegative = 1.0
    eps: NonNegative = 0.0
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # the ratio is the same at all times
        length = jnp.maximum(norm_across(norm(grad), self.axis_name), self.min_norm)
        size = jnp.maximum(norm_across(norm(param), self.axis_name), self.min_norm)
        known = (length > 0) & (size > 0)
        # In two steps: the ratio may be beyond the range of floats where its product is not.
        unit = grad / jnp.where(known, length + self.eps, 1).astype(grad.dtype)
        return times(jnp.where(known, self.trust_coefficient * size, 1), unit), slots


LARS = Paper(
    "You, Yang and Gitman, Igor and Ginsburg, Boris",
    "Large Batch Training of Convolutional Networks",
    2017,
    "https://arxiv.org/abs/1708.03888",
)


@transformation(paper=LARS)
def scale_by_trust_ratio(
    min_norm: NonNegative = 0.0,
    trust_coefficient: NonNegative = 1.0,
    eps: NonNegative = 0.0,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
):
    """Trust ratio: scale the update of each array to the length of its parameters.

    u ← trust_coefficient ‖x‖ / (‖u‖ + eps) u

    The learning rate after it is the relative change of an array in one step. Where all of an
    update or of a parameter is zero the update is left as it is, so that such parameters move.

    Args:
        min_norm: what both norms count with if they are smaller, at least 0; or a schedule.
        trust_coefficient: a factor, at least 0; or a schedule.
        eps: added to the norm of the update, at least 0.
        layer_axis: where layers are stacked in one leaf, each of which has a ratio of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.scale_by_trust_ratio()
    >>> params, grads = jnp.array([3.0, 4.0]), jnp.array([0.0, 0.1])
    >>> tx.update(grads, tx.init(params), params)[0]
    Array([0., 5.], dtype=float32)

    Source: https://arxiv.org/abs/1708.03888, section 4.
    """
    rule_ = TrustRatio(min_norm, trust_coefficient, eps, axis_name)
    return lift(rule_, layer_axis=layer_axis)
