"""Clipping by value.

u = min(max(g, −max_delta), max_delta)      for each element, real and imaginary part apart
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from optax import Params, Updates

from ..core.arguments import AxisName, Threshold
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.moments import abs_sq
from ..math.norm import clip_ratio, within
from ..math.safe import safe_sqrt
from ..math.varying import AxisNames, max_across, norm_across
from .clip_state import ClipState, nothing_clipped, own, together


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="axis_name")
def _clipped(
    grad: Array, max_delta: Any, axis_name: AxisNames
) -> tuple[Array, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The clipped leaf, its norm, the ratio of its largest element, and whether the clip acted."""
    parts = [grad.real, grad.imag] if jnp.iscomplexobj(grad) else [grad]
    largest = [jnp.max(jnp.abs(x), initial=0) for x in parts]
    largest = max_across(jnp.max(jnp.stack(largest)), axis_name)
    ratio = clip_ratio(largest, max_delta)
    size = norm_across(safe_sqrt(jnp.sum(abs_sq(grad))), axis_name)
    return within(grad, max_delta), size, ratio, (ratio < 1).astype(ratio.dtype)


@dataclass(frozen=True)
class _Clip:
    max_delta: Any
    axis_name: AxisNames

    static: ClassVar = ("axis_name",)

    def init(self, params: Params) -> ClipState:
        _, start = Start.of(self, params)
        return ClipState(start.count, **nothing_clipped(start), feedback=start.feedback)

    def update(
        self,
        updates: Updates,
        state: ClipState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ClipState]:
        del extra_args  # they are for other members of a chain
        state = own(state, [self.max_delta], lambda: self.init(()))
        h, now = Turn.of(
            self,
            updates,
            state,
            params,
            kind=ClipState,
            needs_params=False,
            value=value,
            metric=metric,
            gate=gate,
        )
        if not now.leaves:
            return updates, now.renew()
        done = [_clipped(g, h.max_delta, self.axis_name) for g in now.grads]
        steps, norms, ratios, counts = map(list, zip(*done, strict=True))
        return now.leave(steps), now.renew(**together(norms, ratios, counts, of=len(steps)))


@transformation
def clip(max_delta: Threshold, *, axis_name: AxisName = None):
    """Cut every element off at ± `max_delta` (real and imaginary part apart).

    Unlike `clip_by_global_norm` it changes the direction of the update. The rule `funcopt.Clip`
    does the same inside a chain of rules, and reports nothing.

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
    return _Clip(max_delta, axis_name)
