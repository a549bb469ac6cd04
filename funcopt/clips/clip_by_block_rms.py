"""Clipping by the root mean square of each block: Adafactor's update clipping.

    u = g / max(1, RMS(g) / threshold)      RMS(g) = √mean(|g|²), for each block g

Shazeer & Stern, 2018, section 6 (https://arxiv.org/abs/1804.04235). A block is a leaf, or one
layer of a leaf in which layers are stacked.
"""

import math

from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, Threshold
from ..core.leaf import LayerAxis
from ..core.optimizer import lift
from ..core.paper import ICML, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.norm import norm
from ..math.varying import norm_across, parts
from .clip_report import ClipReport, clipped_units


@rule(acts_on="array", report=ClipReport)
class ClipByBlockRms(Rule):
    threshold: Threshold
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the bound is the same for all blocks
        length = norm_across(norm(grad), self.axis_name)
        elements = max(grad.size, 1) * parts(grad, self.axis_name)
        update, report = clipped_units(grad, length, self.threshold * math.sqrt(elements))
        return update, slots, report


ADAFACTOR = Paper(
    "Shazeer, Noam and Stern, Mitchell",
    "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    2018,
    "https://arxiv.org/abs/1804.04235",
    booktitle=ICML,
)


@transformation(paper=ADAFACTOR)
def clip_by_block_rms(
    threshold: Threshold, *, layer_axis: LayerAxis = None, axis_name: AxisName = None
):
    """Clip by root mean square: bound that of each block by `threshold`.

    u = g / max(1, RMS(g) / threshold)

    Args:
        threshold: at least 0, or a schedule; infinity only measures.
        layer_axis: where layers are stacked in one leaf, so that each is a block of its own: the
            axis in all leaves of two axes or more, or a dict of axes by patterns that are searched
            in the path, such as `{"blocks/": 0}`. None: every leaf is one block, as in optax.
        axis_name: the axes of `jax.shard_map` over which every block is spread, as in
            `global_norm`. None: each device takes what it holds for the whole.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of blocks), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_block_rms(1.0, layer_axis=0)
    >>> grads = jnp.array([[4.0, -4.0], [0.5, -0.5]])
    >>> tx.update(grads, tx.init(grads))[0]
    Array([[ 1. , -1. ],
           [ 0.5, -0.5]], dtype=float32)

    Source: https://arxiv.org/abs/1804.04235, section 6.
    """
    return lift(ClipByBlockRms(threshold, axis_name), layer_axis=layer_axis)


@transformation(paper=ADAFACTOR)
def clip_update_rms(
    threshold: Threshold = 1.0, *, layer_axis: LayerAxis = None, axis_name: AxisName = None
):
    """Adafactor's update clipping: bound the root mean square of each leaf's update by `threshold`.

    It is `clip_by_block_rms` where it is needed most: after a rule that divides by the root of a
    second moment, whose updates are about 1 as long as that moment keeps up with the gradients. A
    loss spike begins where it does not. `stable_adamw` bounds the same by the gradient alone,
    before momentum has smoothed it.

    Args:
        threshold: at least 0, or a schedule; infinity only measures.
        layer_axis, axis_name: as in `clip_by_block_rms`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.scale_by_rms(), funcopt.clip_update_rms(), funcopt.descend(1e-3))
    chain(scale_by_rms(), clip_update_rms(), descend(learning_rate=0.001))

    Source: https://arxiv.org/abs/1804.04235, section 6; https://arxiv.org/abs/2304.13013.
    """
    return lift(ClipByBlockRms(threshold, axis_name), layer_axis=layer_axis)
