"""Clipping by value.

u = min(max(g, −max_delta), max_delta)      for each element, real and imaginary part apart
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, Threshold
from ..core.optimizer import lift
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq
from ..math.norm import clip_ratio, within
from ..math.safe import safe_sqrt
from ..math.varying import max_across, norm_across
from .clip_report import ClipReport


@rule(acts_on="element", report=ClipReport)
class Clip(Rule):
    max_delta: Threshold
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param, clock  # the bound is the same for all elements
        parts = [grad.real, grad.imag] if jnp.iscomplexobj(grad) else [grad]
        largest = jnp.max(jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in parts]))
        ratio = clip_ratio(max_across(largest, self.axis_name), self.max_delta)
        length = norm_across(safe_sqrt(jnp.sum(abs_sq(grad))), self.axis_name)
        return (
            within(grad, self.max_delta),
            slots,
            ClipReport(length, ratio, (ratio < 1).astype(ratio.dtype)),
        )


@transformation
def clip(max_delta: Threshold, *, axis_name: AxisName = None):
    """Clip by value: bound every element by ± `max_delta` (real and imaginary part apart).

    Unlike `clip_by_global_norm` it changes the direction of the update. Inside a chain of rules it
    is the rule `rules.Clip`.

    Args:
        max_delta: at least 0, or a schedule; infinity only measures.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`: what is reported is of all shards. None: of those on this device.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (of the largest
    element) and `clipped` (the fraction of leaves in which it acted), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip(1.0)
    >>> updates, state = tx.update(jnp.array([-4.0, 0.5]), tx.init(jnp.zeros(2)))
    >>> updates
    Array([-1. ,  0.5], dtype=float32)
    >>> float(state.clip_ratio), float(state.clipped)
    (0.25, 1.0)
    """
    return lift(Clip(max_delta, axis_name))
