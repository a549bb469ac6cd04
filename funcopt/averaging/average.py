"""Averages of the parameters, kept beside any optimizer.

    x̄ ← x̄ + w_n (x_n − x̄)                  takes in the n-th point
    w_n = 1 − decay                         exponential: from x̄ = x_0 on
    w_n = (1 − decay) / (1 − decayⁿ)        the same without x_0 (debias)
    w_n = 1 / n                             uniform: the mean of all points
    w_n = (γ + 1) / (γ + n)                 polynomial decay; γ = 0 is the mean

Polyak & Juditsky, 1992 (https://doi.org/10.1137/0330046), for the mean; Shamir & Zhang, 2013
(https://arxiv.org/abs/1212.1824), section 4, for polynomial decay; Izmailov et al., 2018
(https://arxiv.org/abs/1803.05407), for the mean of the end of training, from `start` on. The
latest points alone are in `latest`.

The point that an update makes is known when the next one begins: it enters then, so that whatever
happens to parameters after the update is seen, and `eval_params` takes in the last one itself.
"""

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array
from optax import Params

from ..core.arguments import Base, Flag, Numeric, Offset, OptionalDecayRate, Steps, Within
from ..core.paper import Paper
from ..core.rule import Rule
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import CommonNumber, ExactColumn, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..storage import Storage, check_slots, part
from .kinds import Kind, Window, check_kind
from .latest import Latest
from .mixed import mixed

Gamma = Annotated[Numeric | None, Within(0, math.inf, "[)", schedule=False, optional=True)]


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


AVERAGE = Paper(
    "Polyak, Boris T. and Juditsky, Anatoli B.",
    "Acceleration of Stochastic Approximation by Averaging",
    1992,
    "https://doi.org/10.1137/0330046",
    journal="SIAM Journal on Control and Optimization",
)


@transformation(paper=AVERAGE)
def average(
    inner: Base,
    decay: OptionalDecayRate = None,
    *,
    kind: Kind = "ema",
    gamma: Gamma = None,
    window: Window = None,
    start: Offset = 0,
    every: Steps = 1,
    debias: Flag = False,
    warmup: Flag = False,
    storage: Storage = None,
):
    """Keep an average of the parameters beside an optimizer: EMA, mean (SWA), or latest (LAWA).

    The training is what it is without; evaluate at `funcopt.eval_params(tx, state, params)`.

    Args:
        inner: the optimizer whose parameters are averaged, funcopt's or optax's.
        decay: of an exponential moving average, in [0, 1), or a schedule; 0.999 (None) to 0.9999
            is usual.
        kind: `"ema"`, exponential; `"uniform"`, the mean of all points, which is PyTorch's SWA;
            `"polynomial"`, whose n-th point enters with (gamma + 1) / (gamma + n); `"window"`, the
            mean of the latest points; or the weights of the latest points, the oldest first, such
            as `(1, 2, 3)`.
        gamma: of a polynomial-decay average, at least 0; 8 if None, with which the last tenth of
            the points counts most. With 0 all count alike.
        window: how many points a window has, at least 1; 5 if None.
        start: so many updates pass before the average begins, at least 0; until then it is the
            parameters themselves. A uniform average is that of the rest. With `start=1` the
            exponential one begins with the point after the first update, as that of PyTorch's
            `AveragedModel` does; with 0 it begins with the starting point.
        every: after how many updates a point enters, at least 1.
        debias: leave what the exponential average began with out of it, as `optax.ema` does.
        warmup: let the decay be at most (1 + n) / (10 + n), so that early points are forgotten.
        storage: how the average is kept, see `funcopt.storage`; it is kept in full.

    Raises:
        ValueError: an argument is of another kind of average, or out of its range; weights are not
            numbers of which the last is above 0.

    The n-th point is what the parameters are after the update `start + n * every`, which is where
    PyTorch and optax take theirs. It enters the slot when the next update begins, and
    `eval_params` takes in the parameters that it is given, so that nothing is missing at any step.
    Put this within `guard`, `rollback` and `accumulate`, which tell it what steps count: a step
    that is skipped adds no point. Slot: the average, or as many points as there are weights, in
    float32 for half-precision parameters, in which its small steps would be rounded away.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.average(funcopt.sgd(1.0), decay=0.5), jnp.array([8.0])
    >>> state = tx.init(params)
    >>> for grad in (4.0, 2.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    >>> params, funcopt.eval_params(tx, state, params)  # 8 / 4 + 4 / 4 + 2 / 2
    (Array([2.], dtype=float32), Array([4.], dtype=float32))

    Source: https://arxiv.org/abs/1803.05407 (uniform), https://arxiv.org/abs/1212.1824
    (polynomial), https://arxiv.org/abs/2209.14981 (window), https://arxiv.org/abs/2507.17634
    (weights).
    """
    check_kind(kind, ema=(decay, debias, warmup), polynomial=(gamma,), window=(window,))
    if kind == "window" or not isinstance(kind, str):
        weights = (1.0,) * int(window or 5) if isinstance(kind, str) else tuple(kind)
        return LiftedTree(Latest(weights, start, every), storage, gated(inner))
    if kind == "uniform":
        gamma = 0.0
    elif kind == "polynomial":
        gamma = 8.0 if gamma is None else gamma
    else:
        decay = 0.999 if decay is None else decay
    rule = Average(decay, gamma, start, every, debias, warmup)
    return LiftedTree(rule, storage, gated(inner))
