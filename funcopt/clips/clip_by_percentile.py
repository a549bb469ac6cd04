"""AutoClip: clip the global norm at a percentile of all norms so far.

    H ← H ∪ {‖g‖}
    c = percentile_q(H)
    u = min(1, c / ‖g‖) g

Seetharaman, Wichern, Pardo & Le Roux, 2020, Algorithm 1 (https://arxiv.org/abs/2007.14469). They
keep every norm. Here H is a histogram of the logarithm, of 1024 bins from 1e-16 to 1e16 times the
first norm, which knows for each bin how many norms it holds and their mean. Each order statistic is
the mean of its bin, so that the percentile is within the width of a bin, a factor of 1.075, of the
exact one; norms beyond the ends count as the ends. A norm that is zero or not finite enters
nothing.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, ClosedDecayRate, Within
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.global_norm import global_norm
from ..math.norm import clip_ratio
from ..math.varying import AxisNames
from .clip_state import clip_metrics, nothing_clipped, reported

BINS, SPAN = 1024, 1e32
WIDTH = math.log(SPAN) / BINS
"""The width of a bin in the logarithm: e**WIDTH is the error bound."""
NO_THRESHOLD = float(jnp.finfo(jnp.float32).max)
"""Where nothing is known yet: a state is finite."""
# A norm may lie in the bin beside its own by rounding, and beyond the ends: that far, no farther.
LOW, HIGH = 1 - 1e-4, math.exp(WIDTH) + 1e-4

Percentile = Annotated[Any, Within(0, 100)]


class AutoClipState(NamedTuple):
    """The report of `ClipState`, and of each bin how many norms are in it.

    `places` is the sum of how far they are above the lower edge, relative to it. `first` is the
    norm in the middle, 0 before there was one.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    threshold: Float[Array, ""]
    first: Float[Array, ""]
    weights: Float[Array, " bins"]
    places: Float[Array, " bins"]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {**clip_metrics(self), "clip_threshold": self.threshold}


@dataclass(frozen=True)
class _AutoClip:
    q: Any
    decay: Any
    axis_name: AxisNames

    static: ClassVar = ("axis_name",)

    def init(self, params: Params) -> AutoClipState:
        _, start = Start.of(self, params)
        return AutoClipState(
            start.count,
            **nothing_clipped(start),
            threshold=start.learnt(NO_THRESHOLD),
            first=start.learnt(0.0),
            weights=start.varying(jnp.zeros(BINS, start.real)),
            places=start.varying(jnp.zeros(BINS, start.real)),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: AutoClipState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, AutoClipState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=AutoClipState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        n = global_norm([leaf.grad for leaf in now.leaves], self.axis_name).astype(now.real)
        enters = jnp.isfinite(n) & (n > 0)
        known = jnp.where(enters, n, 1)
        first = jnp.where(state.first > 0, state.first.astype(now.real), known)
        index = jnp.floor((jnp.log(known) - jnp.log(first)) / WIDTH) + BINS // 2
        index = jnp.clip(index, 0, BINS - 1)
        place = jnp.clip(known / _edge(index, first), LOW, HIGH) - 1
        here = jnp.arange(BINS, dtype=index.dtype) == index
        weights, places = (
            jnp.where(enters, h.decay * old.astype(now.real) + jnp.where(here, new, 0), old)
            for old, new in ((state.weights, 1.0), (state.places, place))
        )
        first = jnp.where(enters, first, state.first)
        state = now.renew(first=first, weights=weights, places=places)
        weights, places = (x.astype(now.real) for x in (state.weights, state.places))
        first = state.first.astype(now.real)
        threshold = percentile(first, weights, places, h.q)
        # Norms that are equal up to rounding are not clipped.
        ratio = clip_ratio(n, threshold * (1 + 8 * float(jnp.finfo(now.real).eps)))
        return now.leave([ratio * g for g in now.grads]), reported(
            state, now, grad_norm=n, clip_ratio=ratio, clipped=ratio < 1, threshold=threshold
        )


def _edge(index: Float[Array, ""], first: Float[Array, ""]) -> Float[Array, ""]:
    """The lower edge of a bin; the first norm is that of the one in the middle."""
    return first * jnp.exp(WIDTH * (index - BINS // 2))


def percentile(
    first: Float[Array, ""], weights: Float[Array, " bins"], places: Float[Array, " bins"], q: Any
) -> Float[Array, ""]:
    """The percentile, linear between the two order statistics beside it."""
    below = jnp.cumsum(weights)
    total = below[-1]
    last = jnp.sum(below < total)
    rank = q / 100 * jnp.maximum(total - 1, 0)
    whole = jnp.floor(rank)

    def order_statistic(k: Array) -> Array:
        index = jnp.minimum(jnp.sum(below <= k), last)
        weight = weights[index]
        place = places[index] / jnp.where(weight > 0, weight, 1)
        return _edge(index.astype(place.dtype), first) * (1 + place)

    lower, upper = order_statistic(whole), order_statistic(whole + 1)
    return jnp.where(total > 0, lower + (rank - whole) * (upper - lower), NO_THRESHOLD)


@transformation
def clip_by_percentile(
    q: Percentile = 10.0, decay: ClosedDecayRate = 1.0, *, axis_name: AxisName = None
):
    """AutoClip: shorten updates whose global norm is above a percentile of the norms so far.

    u = min(1, c / ‖g‖) g, where c is the `q`-th percentile of all norms, this one included

    Args:
        q: from 0 to 100, or a schedule; with 10, nine of ten steps are clipped.
        decay: what earlier norms count for in each later step, in [0, 1], or a schedule; 1 never
            forgets.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device goes by the norm of what it holds.

    Its state reports `grad_norm` (before the clip), `clip_ratio`, `clipped` (0 or 1) and
    `clip_threshold`, see `funcopt.metrics`. c is within a factor of 1.075 of the exact percentile
    for norms from 1e-16 to 1e16 times the first. Norms that are zero or not finite are not counted.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_percentile(50.0)
    >>> state = tx.init(jnp.zeros(1))
    >>> for norm in (1.0, 2.0, 100.0):
    ...     update, state = tx.update(jnp.array([norm]), state)
    >>> float(update[0]), float(state.clipped)
    (2.0..., 1.0)

    Source: https://arxiv.org/abs/2007.14469, Algorithm 1.
    """
    return _AutoClip(q, decay, axis_name)
