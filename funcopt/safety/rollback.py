"""Going back: after several bad steps in a row, return to where training was healthy.

    bad step:                       a loss, gradient or rate that is not finite, or one that a
                                    wrapper inside has skipped
    before the first step, and after `every` good ones and no bad one after them:
                                    the parameters and the inner state become the snapshot
    `patience` bad steps in a row:  parameters and inner state become the snapshot again, unless
                                    no step was good since they did

The last condition leaves a guard inside the patience that it needs to accept a new level of norms:
going back would take its count of spikes back too.

The batches have moved on by then, so this is the restart from an earlier checkpoint with other
batches that Chowdhery et al., 2022, section 5.1 (https://arxiv.org/abs/2204.02311) did by hand.

An update is added to the parameters, so going back adds the difference. Its rounding can miss the
snapshot where the parameters were far away; the next call looks, and goes the rest of the way. No
addition brings back a parameter that is infinite or NaN: only a `guard(check_updates=True)` inside
sees updates that would make one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int
from optax import OptState, Params, Updates

from ..core.answers import Skips, answering
from ..core.arguments import AxisName, Base, Flag, Numeric, Steps
from ..core.leaves import gradients_beside
from ..core.paper import Paper
from ..core.transformation import Tree, transformation
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.choice import where
from ..math.counts import counted
from ..math.dtypes import cast, common_dtype
from ..math.global_norm import square_sum
from ..math.varying import AxisNames, varying_like
from .agreement import everywhere
from .loss_scale import refuse_loss_scale
from .rates import rates_are_finite

MOST_LANDINGS = 3
"""Parameters that somebody else changes between updates, by a projection, may never land."""


class RollbackState(NamedTuple):
    """`age` of the snapshot in good steps, negative where none was taken yet; `bad` steps in a row;
    `landing` attempts left.

    The inner state is kept without its names, so that a search for `mu` or `lr` finds one.
    """

    inner: OptState
    snapshot_params: Params
    snapshot_inner: OptState
    age: Int[Array, ""]
    bad: Int[Array, ""]
    landing: Int[Array, ""]
    rollbacks: Int[Array, ""]

    def metrics(self) -> dict[str, Array]:
        return {"bad_in_a_row": self.bad, "rollbacks": self.rollbacks}


@dataclass(frozen=True)
class Rollback(Wrapper[RollbackState]):
    every: Numeric
    patience: Numeric
    check_value: bool
    axis_name: AxisNames

    state = RollbackState
    keeps = ("snapshot_params", "snapshot_inner")
    needs_params = True

    def first(self, start: Beginning) -> RollbackState:
        refuse_loss_scale(self.name, start.inner)
        kept = [
            jnp.array(x, jnp.result_type(p), copy=True)
            for x, p in zip(start.arrays, jax.tree.leaves(start.params), strict=True)
        ]
        return RollbackState(
            inner=start.inner,
            snapshot_params=start.as_tree(kept),
            snapshot_inner=jax.tree.map(lambda x: jnp.array(x, copy=True), _nameless(start.inner)),
            age=jnp.full([], -1, jnp.int32),
            bad=jnp.zeros([], jnp.int32),
            landing=jnp.zeros([], jnp.int32),
            rollbacks=jnp.zeros([], jnp.int32),
        )

    def step(
        self, updates: Updates, state: RollbackState, inside: Inside
    ) -> tuple[Updates, RollbackState]:
        old_snapshot = _snapshot(state)
        leaves, structure = gradients_beside(
            updates, inside.params, [state.snapshot_params], names=["snapshot_params"]
        )
        here = [jnp.asarray(leaf.param) for leaf in leaves]
        there = [cast(leaf.slots[0], x.dtype) for leaf, x in zip(leaves, here, strict=True)]

        returning = (state.bad >= self.patience) & (state.age > 0)
        missed = ~everywhere(~_missed(state.landing, here, there), self.axis_name)
        back = returning | missed
        # The first one is of what is there then: the state inside may be that of an earlier run.
        save = ((state.age < 0) | ((state.age >= self.every) & (state.bad == 0))) & ~back
        save_here, go_back = inside.counts(save), inside.counts(back)

        there = _chosen(save_here, here, there)
        snapshot = _chosen(save_here, _nameless(state.inner), old_snapshot)
        saved = jax.tree.unflatten(jax.tree.structure(state.inner), jax.tree.leaves(snapshot))
        before = _chosen(go_back, saved, state.inner)
        finite = self._finite([leaf.grad for leaf in leaves], inside.value, before)
        new_updates, inner = inside.run(updates, before, gate=finite & ~back)
        displacements = [
            where(go_back, _way(a, b).astype(u.dtype), u)
            for a, b, u in zip(here, there, jax.tree.leaves(new_updates), strict=True)
        ]

        bad = ~finite | _has_skipped(before, inner)
        # A guard that waits for micro-batches to be put together has not said yet.
        good = ~bad & ~_skips(inner)
        return structure.unflatten(displacements), RollbackState(
            inner=inner,
            snapshot_params=jax.tree.structure(state.snapshot_params).unflatten(there),
            snapshot_inner=snapshot,
            age=counted(where(save | back, 0, state.age), ~bad & ~back),
            bad=where(back | good, 0, counted(state.bad, bad)),
            landing=where(returning, MOST_LANDINGS, where(missed, state.landing - 1, 0)),
            rollbacks=counted(state.rollbacks, returning),
        )

    def _finite(
        self, grads: Sequence[Array | np.ndarray], value: ArrayLike | None, inner: OptState
    ) -> Bool[Array, ""]:
        finite = jnp.isfinite(square_sum([x for x in grads if jnp.size(x)]))
        finite &= rates_are_finite(self.inner, inner)
        if value is not None and self.check_value:
            finite &= jnp.isfinite(jnp.asarray(value)).all()
        return everywhere(finite, self.axis_name)


def _nameless(state: OptState) -> OptState:
    """The same tree of states with tuples for NamedTuples."""
    return tuple(map(_nameless, state)) if isinstance(state, tuple) else state


def _chosen(flag: Bool[Array, ""], this: Tree, other: Tree) -> Tree:
    return jax.tree.map(lambda a, b: _either(flag, a, b), this, other)


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _either(flag: Bool[Array, ""], this: Array, other: Array) -> Array:
    return where(flag, this, other)


@jax.jit
def _way(here: Array, there: Array) -> Array:
    wide = common_dtype(jnp.float32, here)
    displacement = there.astype(wide) - here.astype(wide)
    # Only minus zero leaves minus zero as it is.
    return where(here == there, -jnp.zeros_like(displacement), displacement)


def _missed(landing: Int[Array, ""], here: list[Array], there: list[Array]) -> Bool[Array, ""]:
    """Whether the last update was to land on the snapshot, and did not."""
    # Both are functions of the module, so that JAX finds their traces at the next step.
    return jax.lax.cond(landing > 0, _differ, _land_nowhere, here, there)


def _differ(here: list[Array], there: list[Array]) -> Bool[Array, ""]:
    different = [jnp.any(a != b) for a, b in zip(here, there, strict=True)]
    return jnp.stack([_land_nowhere(here, there), *different]).any()


def _land_nowhere(here: list[Array], there: list[Array]) -> Bool[Array, ""]:
    return varying_like(jnp.zeros([], bool), *here, *there)


def _snapshot(state: RollbackState) -> OptState:
    """The snapshot of the inner state, in the types that the inner state has by now."""
    inner = _nameless(state.inner)
    columns = list(map(jax.tree.leaves, (inner, state.snapshot_inner)))
    if jax.tree.structure(inner) != jax.tree.structure(state.snapshot_inner) or any(
        jnp.shape(a) != jnp.shape(b) for a, b in zip(*columns, strict=True)
    ):
        raise ValueError(
            "rollback: the snapshot is of another transformation than the inner state. Put "
            "rollback around a run with `tx.init(params)._replace(inner=state)`, where tx is made "
            "of the transformation that the state is of."
        )
    return jax.tree.map(lambda a, b: cast(b, jnp.result_type(a)), inner, state.snapshot_inner)


def _has_skipped(before: OptState, inner: OptState) -> Bool[Array, ""]:
    """Whether something inside has skipped this step."""
    counts = [
        (new.skips().total != old.skips().total).any()
        for old, new in zip(answering(before, Skips), answering(inner, Skips), strict=True)
    ]
    return jnp.stack([jnp.zeros([], bool), *counts]).any()


def _skips(inner: OptState) -> Bool[Array, ""]:
    """Whether something inside has skipped the last step that it looked at."""
    last = [each.skips().last.any() for each in answering(inner, Skips)]
    return jnp.stack([jnp.zeros([], bool), *last]).any()


PALM = Paper(
    "Chowdhery, Aakanksha and others",
    "PaLM: Scaling Language Modeling with Pathways",
    2022,
    "https://arxiv.org/abs/2204.02311",
)


@transformation(paper=PALM)
def rollback(
    inner: Base,
    *,
    every: Steps = 100,
    patience: Steps = 5,
    check_value: Flag = True,
    axis_name: AxisName = None,
):
    """Restore a snapshot of parameters and state after `patience` bad steps in a row.

    Bad steps are skipped, as `guard` skips them: those whose loss (`value=`), gradients or rate are
    not finite, and those that a guard inside skips. Put one inside to have spikes count:
    `rollback(guard(tx))`; its patience should be longer than this one's.

    Args:
        inner: the transformation that is rolled back. All of its state returns to the snapshot,
            counts and schedules too.
        every: good steps between snapshots, at least 1. None is taken after a bad one.
        patience: bad steps in a row, at least 1, after which the next step goes back. Where no step
            was good since the last time, there is nothing to go back from.
        check_value: whether a `value` that is not finite makes a step bad.
        axis_name: mapped axes over which the decision is made together; a guard inside needs it
            too.

    Keeps a copy of the parameters and of the inner state, the first time as the first update finds
    them: `tx.init(params)._replace(inner=state)` puts it around a running optimizer. Reports
    `rollbacks` and `bad_in_a_row`, see `funcopt.metrics`. The step that goes back uses no gradient.

    Raises:
        ValueError: an argument is out of its range, `update` was called without parameters, or a
            `loss_scale` is inside, where it would never see an overflow.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.rollback(funcopt.sgd(0.25), every=100, patience=2)
    >>> params, state = jnp.array([1.0]), tx.init(jnp.array([1.0]))
    >>> for grad in (1.0, jnp.nan, jnp.nan, 1.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    ...     print(params)
    [0.75]
    [0.75]
    [0.75]
    [1.]

    Source: https://arxiv.org/abs/2204.02311, section 5.1.
    """
    return Rollback(inner, every, patience, check_value, axis_name)
