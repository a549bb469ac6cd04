"""The weighted mean of the latest points of a training.

    x̄ = Σ c_j x_{n−j} / Σ c_j               j from 0, the newest, to one less than there are weights

With equal weights it is LAWA: Kaddour, 2022 (https://arxiv.org/abs/2209.14981). With others the
merge of checkpoints that stands for a decay of the learning rate, whose factor at j steps before
the end would be the sum of the weights from j on: Tian et al., 2025
(https://arxiv.org/abs/2507.17634), section 3.

Points are kept in a ring: the n-th takes the place of the one that many before it.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from optax import Params

from ..core.arguments import Numeric, Offset, Steps
from ..core.tree_rule import CommonNumber, ExactColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from .kinds import check_weights
from .mixed import mixed


class LatestNumbers(NamedTuple):
    """How many points the ring has taken, whether the current one will enter, and the parts of both
    in the mean."""

    entered: CommonNumber
    enters: CommonNumber
    current_share: CommonNumber
    shares: CommonNumber


class LatestSlots(NamedTuple):
    """`points` are the latest points, along a first axis."""

    points: ExactColumn

    def eval_params(self, params: Params, numbers: LatestNumbers) -> Params:
        return mixed(params, self.points, _mean, numbers.current_share, numbers.shares)


def _mean(x: Array, points: Array, current_share: Array, shares: Array) -> Array:
    return jnp.where(current_share == 1, x, current_share * x + jnp.tensordot(shares, points, 1))


@tree_rule(slots=LatestSlots, numbers=LatestNumbers, observes=True)
class Latest(TreeRule):
    weights: Annotated[tuple[Numeric, ...], check_weights]
    start: Offset
    every: Steps

    def init(self, x: Column, start: Start):
        length = len(self.weights)
        points = [jnp.broadcast_to(jnp.zeros_like(each), (length, *each.shape)) for each in x]
        shares = jnp.zeros(length, start.real)
        none = jnp.zeros([], jnp.int32)
        return LatestSlots(points), LatestNumbers(none, none != 0, start.number(1), shares)

    def update(self, g: Column, slots: LatestSlots, was: LatestNumbers, x: Column, step: Step):
        steps, inner = step.run()
        place = was.entered % len(self.weights)

        def taken(points: Array, each: Array) -> Array:
            kept = lax.dynamic_index_in_dim(points, place, keepdims=False)
            point = jnp.where(was.enters, each, kept)
            return lax.dynamic_update_index_in_dim(points, point, place, 0)

        rows = zip(slots.points, x, strict=True)
        slots = step.renew(slots, points=[taken(points, each) for points, each in rows])
        entered = jnp.where(was.enters, was.entered + 1, was.entered)
        after = step.clock.t - self.start
        enters = (after > 0) & (after % self.every == 0)
        current, shares = self._shares(entered, enters, step)
        return steps, slots, LatestNumbers(entered, enters, current, shares), inner

    def _shares(self, entered: Array, enters: Array, step: Step) -> tuple[Array, Array]:
        """The parts of the current point and of those in the ring, by their place in it."""
        length = len(self.weights)
        by_age = jnp.stack([jnp.asarray(w, step.real) for w in self.weights[::-1]])
        age = (entered - 1 - jnp.arange(length, dtype=jnp.int32)) % length
        newer = jnp.where(enters, age + 1, age)
        there = (age < entered) & (newer < length)
        weights = jnp.where(there, by_age[jnp.minimum(newer, length - 1)], 0)
        alone = jnp.where(entered == 0, 1, 0).astype(step.real)
        current = jnp.where(enters, by_age[0], alone)
        total = current + jnp.sum(weights)
        return current / total, weights / total
