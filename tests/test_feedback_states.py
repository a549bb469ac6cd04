"""What schedules that listen remember: in joins, at its largest, and when a run is resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.core.arguments import MOST_STEPS
from tests import catalog
from tests.catalog import spelled
from tests.test_feedback import LISTENERS

PARAMS = {"w": jnp.ones(2)}
HALF = funcopt.on_plateau(0.5, patience=0)  # halves at every value but the first


def rates(schedule, metrics):
    """The factor in force at every update, in a scan; it is the same without one."""
    tx = funcopt.sgd(schedule)

    @jax.jit
    def run(metrics):
        def step(state, metric):
            _, state = tx.update(PARAMS, state, PARAMS, metric=metric)
            return state, funcopt.current_lr(state)

        return jax.lax.scan(step, tx.init(PARAMS), metrics)[1]

    return np.asarray(run(jnp.asarray(metrics, jnp.float32)), np.float64)


# -- in joins -------------------------------------------------------------------------------------

JOINED = {
    "a warm-up first": (
        funcopt.join_schedules([funcopt.linear_warmup(1.0, 4), HALF], [3]),
        [0, 0.25, 0.5, 1, 0.5, 0.25, 0.125, 0.0625],
    ),
    "a decay last": (
        funcopt.join_schedules([HALF, funcopt.linear_to_zero(1.0, 4)], [4]),
        [1, 0.5, 0.25, 0.125, 1, 0.75, 0.5, 0.25],
    ),
    "each begins anew": (
        funcopt.join_schedules([HALF, HALF, 0.25 * HALF], [3, 5]),
        [1, 0.5, 0.25, 1, 0.5, 0.25, 0.125, 0.0625],
    ),
    "a join in a join": (
        funcopt.join_schedules(
            [lambda step: 2.0, funcopt.join_schedules([HALF, lambda step: 3.0, HALF], [2, 3])], [2]
        ),
        [2, 2, 1, 0.5, 3, 1, 0.5, 0.25],
    ),
    "a join in a product": (
        0.5 * funcopt.join_schedules([lambda step: 2.0, HALF], [5]).clipped(low=0.3),
        [1, 1, 1, 1, 1, 0.5, 0.25, 0.15],
    ),
    "a product in a join": (
        funcopt.join_schedules([funcopt.linear_to_zero(1.0, 8) * HALF, HALF], [2]),
        [1, 0.4375, 1, 0.5, 0.25, 0.125, 0.0625, 0.03125],
    ),
    "shifted": (HALF.shifted(3), [1, 1, 1, 1, 0.5, 0.25, 0.125, 0.0625]),
    "a shifted join": (
        funcopt.join_schedules([lambda step: 2.0, HALF], [2]).shifted(3),
        [2, 2, 2, 2, 2, 1, 0.5, 0.25],
    ),
    "a join in a warm-up": (
        funcopt.warmup(funcopt.join_schedules([lambda step: 2.0, HALF], [2]), 2),
        [0, 1, 2, 2, 1, 0.5, 0.25, 0.125],
    ),
    "a warm-up in a join": (
        funcopt.join_schedules([lambda step: 2.0, funcopt.warmup(HALF, 2)], [2]),
        [2, 2, 0, 0.5, 1, 0.5, 0.25, 0.125],
    ),
    "a boundary between two steps": (
        funcopt.join_schedules([funcopt.linear_schedule(1.0, 0.0, 4), HALF], [2.5]),
        [1, 0.75, 0.5, 1, 0.5, 0.25, 0.125, 0.0625],
    ),
    "its own count of steps": (
        funcopt.join_schedules(
            [lambda step: 2.0, funcopt.cooldown_on_plateau(4, 0, shape="linear")], [3]
        ),
        [2, 2, 2, 1, 1, 0.75, 0.5, 0.25],
    ),
}


@pytest.mark.default_promotion
@pytest.mark.parametrize(("schedule", "expected"), JOINED.values(), ids=JOINED)
def test_a_part_that_listens_hears_while_it_is_in_force(schedule, expected):
    np.testing.assert_allclose(rates(schedule, np.ones(8)), expected, rtol=1e-6)
    assert schedule.listens


def test_a_join_that_listens_is_a_value():
    schedule = funcopt.join_schedules([funcopt.linear_warmup(1.0, 4), 0.5 * HALF], [3])
    assert schedule == eval(repr(schedule), vars(funcopt))
    assert jax.tree.leaves(schedule) == [1.0, 0.0, 0.5, 0.5, 1e-4, 0.0, 0.0]
    assert not funcopt.join_schedules([funcopt.linear_warmup(1.0, 4)], []).listens


# -- finite and saturating ------------------------------------------------------------------------

EVERY = [*LISTENERS, *(schedule for schedule, _ in JOINED.values())]


@pytest.mark.parametrize("schedule", EVERY, ids=spelled)
def test_states_hold_finite_numbers(schedule):
    """From the beginning on, whatever is heard."""
    state = schedule.init()
    for metric in (1.0, 3e38, -3e38, 0.0):
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))
        state = schedule.observe(state, metric, jnp.int32(0))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state))


def test_no_state_begins_with_an_infinity():
    """Of no algorithm either."""
    for row in catalog.ALL:
        tx = row.factory(row.rate) if row.rate else row.algorithm(**row.kwargs)
        state = tx.init(PARAMS)
        assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(state)), row.name


def test_debug_infs_finds_nothing():
    schedule = HALF
    for other in LISTENERS:
        schedule = schedule * other
    tx = funcopt.sgd(schedule)
    with jax.debug_infs(True):
        state = jax.jit(tx.init)(PARAMS)
        state = jax.jit(lambda s: tx.update(PARAMS, s, PARAMS, metric=1.0)[1])(state)
        jax.block_until_ready(state)


@pytest.mark.parametrize(
    "schedule", [x for x in LISTENERS if "abel" not in repr(x)], ids=repr
)  # which counts nothing
def test_counts_stay_at_the_largest(schedule):
    """As if so many values had come before: none becomes negative, and none acts for that."""
    for name in {"patience", "wait", "window"} & schedule.arguments.keys():
        schedule = schedule.replace(**{name: MOST_STEPS})
    state = jax.tree.map(
        lambda x: jnp.full_like(x, MOST_STEPS) if x.dtype == jnp.int32 else x, schedule.init()
    )
    for metric in (1.0, 2.0, 2.0):
        state = schedule.observe(state, metric, jnp.int32(MOST_STEPS))
    counts = [x for x in jax.tree.leaves(state) if x.dtype == jnp.int32]
    assert all(0 <= x <= MOST_STEPS for x in counts)


def test_a_window_that_was_made_shorter_judges_the_mean_of_what_it_has():
    longer, shorter = (funcopt.on_plateau(0.5, patience=0, window=n) for n in (10, 2))
    state = longer.init()
    for metric in (1.0, 2.0, 3.0):
        state = longer.observe(state, metric, 0)
    state = shorter.observe(state, 4.0, 0)
    assert float(state.best) == 2.5


# -- resumed --------------------------------------------------------------------------------------

ADDED = 0.1 * HALF
CLIPPED = funcopt.clip_by_global_norm
CHANGES = {
    "a plateau added": (0.1, ADDED, "remembers nothing of the metric, but .*on_plateau"),
    "one removed": (ADDED, 0.1, "remembers PlateauState of the metric, but no schedule"),
    "another one": (ADDED, 0.1 * funcopt.on_newbob(), "keeps NewBobState .* got PlateauState"),
    "one more": (ADDED, ADDED * funcopt.on_greedy(), "PlateauState and GreedyState .* got Plateau"),
    "for a metric that rises": (
        ADDED,
        0.1 * funcopt.on_plateau(mode="max"),
        "keeps RisingPlateauState .* got PlateauState",
    ),
    "behind a warm-up": (ADDED, funcopt.warmup(HALF, 3), "another schedule than warmup"),
}


@pytest.mark.parametrize(("before", "after", "words"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "make",
    [
        funcopt.adam,
        funcopt.prodigy,
        lambda rate: funcopt.chain(CLIPPED(rate), funcopt.sgd(0.1)),
        lambda rate: funcopt.guard(funcopt.sgd(rate, momentum=0.9)),
    ],
    ids=["lifted", "whole tree", "clip", "guarded"],
)
def test_a_state_of_other_schedules_is_refused(make, before, after, words):
    state = make(before).init(PARAMS)
    with pytest.raises(ValueError, match=f"(?s){words}.*tx.init"):
        make(after).update(PARAMS, state, PARAMS, value=1.0)


def test_what_the_refusal_advises_works():
    state = funcopt.adam(0.1).init(PARAMS)
    _, state = funcopt.adam(0.1).update(PARAMS, state, PARAMS)
    tx = funcopt.adam(ADDED)
    state = state._replace(feedback=tx.init(PARAMS).feedback)
    for _ in range(2):
        _, state = tx.update(PARAMS, state, PARAMS, value=1.0)
    assert (int(state.count), float(state.lr)) == (3, np.float32(0.05))


def test_other_numbers_of_the_same_schedule_go_on():
    state = funcopt.adam(ADDED).init(PARAMS)
    _, state = funcopt.adam(ADDED).update(PARAMS, state, PARAMS, value=1.0)
    tx = funcopt.adam(0.1 * funcopt.on_plateau(0.25, patience=0, cooldown=3))
    _, state = tx.update(PARAMS, state, PARAMS, value=1.0)
    np.testing.assert_allclose(state.lr, 0.025, rtol=1e-6)


def test_the_state_of_several_runs_is_refused_by_one():
    tx = funcopt.adam(ADDED)
    state = tx.init(PARAMS)
    several = state._replace(feedback=jax.tree.map(lambda x: jnp.stack([x, x]), state.feedback))
    with pytest.raises(ValueError, match=r"scale is \(2,\), expected \(\).*jax.vmap"):
        tx.update(PARAMS, several, PARAMS, value=1.0)
