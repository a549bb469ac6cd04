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
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..core.arguments import AxisName, ClosedDecayRate, Hyperparameter, Within
from ..core.rule import NoSlots
from ..core.tree_rule import Number, Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, scaled
from ..math.norm import clip_ratio

BINS, SPAN = 1024, 1e32
WIDTH = math.log(SPAN) / BINS
"""The width of a bin in the logarithm: e**WIDTH is the error bound."""
NO_THRESHOLD = 2.0**128 - 2.0**104  # the largest number of 32 bits
"""Where nothing is known yet: a state is finite."""
# A norm may lie in the bin beside its own by rounding, and beyond the ends: that far, no farther.
LOW, HIGH = 1 - 1e-4, math.exp(WIDTH) + 1e-4
Percentile = Annotated[Hyperparameter, Within(0, 100)]


class PercentileNumbers(NamedTuple):
    """A `ClipReport`, the percentile, and of each bin how many norms are in it.

    `places` is the sum of how far they are above the lower edge, relative to it. `first` is the
    norm in the middle, 0 before there was one.
    """

    grad_norm: Reported
    clip_ratio: Reported
    clipped: Reported
    clip_threshold: Reported
    first: Number
    weights: Number
    places: Number


@tree_rule(numbers=PercentileNumbers, needs_params=False)
class ClipByPercentile(TreeRule):
    q: Percentile
    decay: ClosedDecayRate
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        norm, ratio, clipped, threshold, first = map(start.number, (0, 1, 0, NO_THRESHOLD, 0))
        weights, places = start.number(jnp.zeros(BINS)), start.number(jnp.zeros(BINS))
        numbers = norm, ratio, clipped, threshold, first, weights, places
        return NoSlots(), PercentileNumbers(*numbers)

    def update(self, g: Column, slots: NoSlots, was: PercentileNumbers, x: None, step: Step):
        n, real = step.grad_norm(), step.real
        enters = jnp.isfinite(n) & (n > 0)
        known = jnp.where(enters, n, 1)
        before = was.first.astype(real)
        first = jnp.where(before > 0, before, known)
        index = jnp.floor((jnp.log(known) - jnp.log(first)) / WIDTH) + BINS // 2
        index = jnp.clip(index, 0, BINS - 1)
        place = jnp.clip(known / _edge(index, first), LOW, HIGH) - 1
        here = jnp.arange(BINS, dtype=index.dtype) == index
        weights, places = (
            jnp.where(enters, self.decay * old + jnp.where(here, new, 0), old)
            for old, new in ((was.weights.astype(real), 1.0), (was.places.astype(real), place))
        )
        first = jnp.where(enters, first, before)
        was = step.renew(was, first=first, weights=weights, places=places)
        first, weights, places = (x.astype(real) for x in (was.first, was.weights, was.places))
        threshold = percentile(first, weights, places, self.q)
        # Norms that are equal up to rounding are not clipped.
        ratio = clip_ratio(n, threshold * (1 + 8 * float(jnp.finfo(real).eps)))
        return (
            scaled(ratio, g),
            slots,
            PercentileNumbers(n, ratio, ratio < 1, threshold, was.first, was.weights, was.places),
        )


def _edge(index: Float[Array, ""], first: Float[Array, ""]) -> Float[Array, ""]:
    """The lower edge of a bin; the first norm is that of the one in the middle."""
    return first * jnp.exp(WIDTH * (index - BINS // 2))


def percentile(
    first: Float[Array, ""],
    weights: Float[Array, " bins"],
    places: Float[Array, " bins"],
    q: ArrayLike,
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
