"""Adaptive gradient clipping: no unit moves by more than a fraction of itself.

    u_i = g_i min(1, clipping max(‖w_i‖, eps) / ‖g_i‖)      for each unit i

Brock, De, Smith & Simonyan, 2021, section 4 (https://arxiv.org/abs/2102.06171). A unit is what
feeds one output. JAX's layers keep outputs last, (in, out) and (height, width, in, out), so a unit
is an index of the last axis, and its norm is taken along all others.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Axes as AxesArgument
from ..core.arguments import AxisName, NonNegative, Threshold
from ..core.leaf import LayerAxis
from ..core.optimizer import lift
from ..core.paper import ICML, Paper
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.norm import Axes, norm
from ..math.varying import norm_across
from .clip_report import ClipReport, clipped_units


@rule(acts_on="array", report=ClipReport, needs_params=True)
class AdaptiveGradClip(Rule):
    clipping: Threshold
    eps: NonNegative = 1e-3
    axis: AxesArgument = None
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param: Inexact[Array, "*p"], clock: Clock):
        del clock  # the bound is a fraction of the parameter
        axes = self._axes(grad.shape)
        moved, there = (norm_across(norm(x, axes), self.axis_name) for x in (grad, param))
        update, report = clipped_units(grad, moved, self.clipping * jnp.maximum(there, self.eps))
        return update, slots, report

    def _axes(self, shape: tuple[int, ...]) -> Axes:
        """What is summed over, such that what is left are the units; None for all axes."""
        if self.axis is not None:
            axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
            return tuple(sorted(axis % len(shape) for axis in axes)) if shape else None
        if sum(n > 1 for n in shape) <= 1:  # a bias or a gain is one unit
            return None
        return tuple(range(len(shape) - 1))


AGC = Paper(
    "Brock, Andrew and De, Soham and Smith, Samuel L. and Simonyan, Karen",
    "High-Performance Large-Scale Image Recognition Without Normalization",
    2021,
    "https://arxiv.org/abs/2102.06171",
    booktitle=ICML,
)


@transformation(paper=AGC)
def adaptive_grad_clip(
    clipping: Threshold,
    eps: NonNegative = 1e-3,
    axis: AxesArgument = None,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
):
    """Adaptive gradient clipping (AGC): bound a unit's norm by `clipping` times its weights' norm.

    u_i = g_i min(1, clipping max(‖w_i‖, eps) / ‖g_i‖)

    Args:
        clipping: at least 0, or a schedule. 0.01 suits large batches, up to 0.16 small ones.
        eps: the least norm that a unit counts as having, at least 0, so that one that starts at
            zero can move.
        axis: along which axes norms are taken; what is left are the units. None: all axes but the
            last, which is right for (in, out), for convolutions (height, width, in, out) and for
            any rank; a leaf with one axis longer than 1 is one unit. optax takes axis 0 only
            where there are three, `axis=0` here.
        layer_axis: where layers are stacked in one leaf, as in `clip_by_block_rms`; only where
            `axis` is None.
        axis_name: the axes of `jax.shard_map` over which every unit is spread, as in `global_norm`.
            A leaf that is sharded along the axis of its units holds whole ones: those mesh axes
            stay out. None: each device takes what it holds for the whole.

    Raises:
        ValueError: `update` was called without parameters.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of units), see `funcopt.metrics`. The paper does not clip the last
    linear layer; `optax.masked` leaves it out.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.adaptive_grad_clip(0.1)
    >>> kernel = jnp.array([[3.0, 0.6], [4.0, 0.8]])
    >>> tx.update(jnp.ones((2, 2)), tx.init(kernel), kernel)[0].round(3)
    Array([[0.354, 0.071],
           [0.354, 0.071]], dtype=float32)

    Source: https://arxiv.org/abs/2102.06171, section 4.
    """
    if axis is not None and layer_axis is not None:
        raise ValueError(
            f"adaptive_grad_clip: axis={axis!r} tells the units already, layer_axis={layer_axis!r} "
            "has nothing to add. Leave one of them out."
        )
    return lift(AdaptiveGradClip(clipping, eps, axis, axis_name), layer_axis=layer_axis)
