"""An average of the parameters that takes in one point after the other.

    x̄ ← x̄ + w_n (x_n − x̄)                  takes in the n-th point
    w_n = 1 − decay                         exponential: from x̄ = x_0 on
    w_n = (1 − decay) / (1 − decayⁿ)        the same without x_0 (debias)
    w_n = 1 / n                             uniform: the mean of all points
    w_n = (γ + 1) / (γ + n)                 polynomial decay; γ = 0 is the mean

Polyak & Juditsky, 1992 (https://doi.org/10.1137/0330046), for the mean; Shamir & Zhang, 2013
(https://arxiv.org/abs/1212.1824), section 4, for polynomial decay.

The point that an update makes is known when the next one begins: it enters then, so that whatever
happens to parameters after the update is seen, and `eval_params` takes in the last one itself.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from optax import Params

from ..core.arguments import Offset, OptionalDecayRate, Steps
from ..core.rule import Rule
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import CommonNumber, ExactColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..storage import Storage, check_slots, part
from .kinds import Gamma
from .mixed import mixed


class AverageNumbers(NamedTuple):
    """The weight with which the current point will enter, and the weight of all before it."""

    average_weight: CommonNumber
    total_weight: CommonNumber


class AverageSlots(NamedTuple):
    """`average` is the average of all points before the current one."""

    average: ExactColumn

    def eval_params(self, params: Params, numbers: AverageNumbers) -> Params:
        return mixed(params, self.average, _taken_in, numbers.average_weight)


def _taken_in(x: Array, mean: Array, weight: Array) -> Array:
    return jnp.where(weight < 1, mean + weight * (x - mean), x)


@tree_rule(slots=AverageSlots, numbers=AverageNumbers, observes=True)
class Average(TreeRule):
    decay: OptionalDecayRate
    gamma: Gamma
    start: Offset
    every: Steps
    debias: bool
    warmup: bool

    def init(self, x: Column, start: Start):
        return AverageSlots(x), AverageNumbers(*map(start.number, (1, 0 if self.debias else 1)))

    def update(self, g: Column, slots: AverageSlots, was: AverageNumbers, x: Column, step: Step):
        steps, inner = step.run()
        weight = was.average_weight
        pairs = zip(x, slots.average, strict=True)
        slots = step.renew(slots, average=[_taken_in(each, mean, weight) for each, mean in pairs])

        after = step.clock.t - self.start
        n = jnp.maximum(after // self.every, 1).astype(step.real)
        weight, total = self._weights(n, was.total_weight)
        enters = after % self.every == 0
        weight = jnp.where(after <= 0, 1, jnp.where(enters, weight, 0))
        total = jnp.where((after > 0) & enters, total, was.total_weight)
        return steps, slots, AverageNumbers(weight, total), inner

    def _weights(self, n: Array, total: Array) -> tuple[Array, Array]:
        """The weight of the n-th point, and that of all until then, of which `total` is before."""
        if self.gamma is not None:
            return jnp.asarray((self.gamma + 1) / (self.gamma + n)), total
        assert self.decay is not None
        decay = jnp.asarray(self.decay, n.dtype)
        fresh = jnp.asarray(1 - self.decay, n.dtype)
        if self.warmup:
            decay = jnp.minimum(decay, (1 + n) / (10 + n))
            fresh = jnp.maximum(fresh, 9 / (10 + n))
        if not self.debias:
            return fresh, total
        total = decay * total + fresh
        return fresh / total, total


def within_average(
    rule: TreeRule, gamma: Gamma, storage: Storage, decay: Rule | None = None
) -> LiftedTree:
    """`rule`, and the polynomial-decay average of its points where there is a `gamma`."""
    if gamma is None:
        return LiftedTree(rule, storage, decay=decay)
    check_slots(storage, [rule.slots, AverageSlots])
    inside = LiftedTree(rule, part(storage, rule.slots), decay=decay)
    average = Average(None, gamma, 0, 1, False, False)
    return LiftedTree(average, part(storage, AverageSlots), inside)
