"""SPAM's spike-aware clipping: an element is held within √threshold times its own history.

    u = sign(g) √(threshold ν)      where |g|² > threshold ν,  else g
    ν ← decay ν + (1 − decay) |u|²

Huang et al., 2025, section 3 (https://arxiv.org/abs/2501.06842). Where ν is still 0 there is no
history to compare with, and nothing is clipped: in the authors' program such an element stays at
zero until the next reset.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, DecayRate, Offset, Threshold
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.moments import abs_sq, ema
from ..math.norm import norm
from ..math.safe import safe_sqrt
from ..math.varying import AxisNames, min_across, norm_across, parts, sum_across
from ..optimizers.rmsprop import SquareSlots
from .clip_state import clip_metrics, nothing_clipped, together


class SpikeState(NamedTuple):
    """The report of `ClipState`, and the mean square of each element."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    nu: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return clip_metrics(self)


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="axis_name")
def _clipped(
    grad: Array, nu: Array, threshold: Any, decay: Any, begun: Array, axis_name: AxisNames
) -> tuple[Array, Array, Array, Array, Array]:
    """The clipped leaf, its new ν, its norm, the smallest ratio and the number of spikes."""
    size, limit = jnp.abs(grad), threshold**0.5 * safe_sqrt(nu)
    spike = begun & (nu > 0) & (size > limit)
    ratio = jnp.where(spike, limit / jnp.where(spike, size, 1), 1)
    short = jnp.where(spike, grad * ratio, grad)
    square = abs_sq(short)
    new = jnp.where(jnp.isfinite(square), ema(nu, square, decay), nu)
    count = sum_across(jnp.sum(spike, dtype=nu.dtype), axis_name)
    smallest = min_across(jnp.min(ratio, initial=1), axis_name)
    return short, new, norm_across(norm(grad), axis_name), smallest, count


@dataclass(frozen=True)
class _Spikes:
    threshold: Any
    decay: Any
    grace: int
    axis_name: AxisNames

    static: ClassVar = ("grace", "axis_name")

    def init(self, params: Params) -> SpikeState:
        _, start = Start.of(self, params)
        return SpikeState(
            start.count,
            **nothing_clipped(start),
            nu=start.zeros(real=True),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: SpikeState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, SpikeState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=SpikeState, slots=SquareSlots, needs_params=False,
            value=value, metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        if not now.leaves:
            return updates, now.renew()
        begun = now.clock.t > self.grace
        done = [
            _clipped(g, nu, h.threshold, h.decay, begun, self.axis_name)
            for g, nu in zip(now.grads, now.column(state.nu), strict=True)
        ]
        steps, nus, norms, ratios, counts = map(list, zip(*done, strict=True))
        elements = sum(g.size * parts(g, self.axis_name) for g in now.grads)
        report = together(norms, ratios, counts, of=elements)
        return now.leave(steps), now.renew(nu=nus, **report)


@transformation
def clip_spikes(
    threshold: Threshold = 5000.0,
    decay: DecayRate = 0.999,
    *,
    grace: Offset = 20,
    axis_name: AxisName = None,
):
    """SPAM's clipping: cut each element off where its square is `threshold` times its mean square.

    u = sign(g) √(threshold ν) where |g|² > threshold ν

    Args:
        threshold: of |g|² / ν, at least 0, or a schedule; infinity for none.
        decay: of the mean square ν of each element, in [0, 1), or a schedule.
        grace: for how many updates to look only, at least 0.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`: what is reported is of all shards. None: of those on this device.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of elements), see `funcopt.metrics`. Only what the clip lets through
    enters ν, and nothing that is not finite. `spam` has the clip inside an Adam that also resets.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_spikes(100.0, 0.5, grace=3)
    >>> state = tx.init(jnp.zeros(2))
    >>> for size in (1.0, 1.0, 1.0, 1000.0):
    ...     update, state = tx.update(jnp.array([1.0, size]), state)
    >>> update, float(state.clipped)
    (Array([1.       , 9.3541...], dtype=float32), 0.5)

    Source: https://arxiv.org/abs/2501.06842, section 3.
    """
    return _Spikes(threshold, decay, grace, axis_name)
