"""Under x64 schedules are float64, and compare metrics in it; else they are float32 as ever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests import test_schedules, test_schedules_more
from tests.schedule_case import COUNTS
from tests.test_feedback import LISTENERS

EPS = float(np.finfo(np.float64).eps)
CASES = [*test_schedules.CASES, *test_schedules_more.CASES]


@pytest.fixture(autouse=True)
def wide():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case.schedule))
def test_values_are_those_of_the_definition(case):
    """The law of float32, with the rounding of float64."""
    values = case.schedule(jnp.asarray(COUNTS, jnp.int32))
    assert values.dtype == jnp.float64
    expected = case.definition(COUNTS.astype(np.float64))
    off = np.abs(np.asarray(values) - expected)
    in_exponent = case.rounding * np.maximum(COUNTS / 1000, 1)
    assert np.all(off <= 8 * EPS * in_exponent * np.abs(expected).max())


def test_composed_schedules_keep_every_digit():
    """Of numbers that float32 does not hold, and of those that are far beyond it."""
    line, tenth = funcopt.linear_schedule(0.1, 0.3, 7), funcopt.constant_schedule(0.1)
    exact = np.interp(np.arange(12), [0, 7], [0.1, 0.3])
    steps = jnp.arange(12, dtype=jnp.int32)
    close = {"rtol": 4 * EPS}
    np.testing.assert_allclose((line * tenth * 1e60)(steps), exact * 0.1 * 1e60, **close)
    np.testing.assert_allclose((line + 1e-12)(steps), exact + 1e-12, **close)
    np.testing.assert_allclose((1e-60 * line)(steps), 1e-60 * exact, **close)
    np.testing.assert_allclose(line.shifted(3)(steps)[3:], exact[:9], **close)
    np.testing.assert_allclose(line.clipped(0.15, 0.2)(steps), exact.clip(0.15, 0.2), **close)
    joined = funcopt.join_schedules([line, tenth, lambda step: 0.7], [5, 9])
    np.testing.assert_allclose(joined(steps), [*exact[:5], *[0.1] * 4, *[0.7] * 3], **close)
    warmed = funcopt.warmup(line, 2)
    np.testing.assert_allclose(warmed(steps), [0, 0.05, *exact[:10]], **close)
    for schedule in (line * tenth, joined, warmed, funcopt.linear_schedule(1e-60, 1e60, 7)):
        assert schedule(3).dtype == jax.jit(schedule)(jnp.int32(3)).dtype == jnp.float64


@pytest.mark.default_promotion
def test_numbers_that_came_in_float32_are_widened():
    line = funcopt.linear_schedule(jnp.float32(0.1), jnp.float32(0.3), jnp.int32(7))
    assert line(3).dtype == (line * jnp.float32(2.0))(3).dtype == jnp.float64
    np.testing.assert_allclose(line(0), np.float64(np.float32(0.1)), rtol=EPS)


def test_a_constant_schedule_is_its_number():
    rates = [0.1, funcopt.constant_schedule(0.1), funcopt.join_schedules([lambda _: 0.1], [])]
    one = jnp.ones(1)
    steps = [funcopt.sgd(r).update(one, funcopt.sgd(r).init(one), one)[0] for r in rates]
    assert [float(x[0]) for x in steps] == [-0.1] * 3


LOSSES = np.array([3.0, 2.5, 2.5, 2.6, np.nan, 2.4, 2.4, 2.4, 2.3, 2.5, 2.5, 2.7, 2.1, 2.1])
SCALE_FREE = [schedule for schedule in LISTENERS if "autodrop" not in repr(schedule)]


def scales(schedule, losses):
    state, said = schedule.init(), []
    for step, loss in enumerate(losses):
        if np.isfinite(loss):
            state = schedule.observe(state, loss, jnp.int32(step))
        said.append(float(schedule.at(jnp.int32(step), state)))
    return said


@pytest.mark.parametrize("schedule", SCALE_FREE, ids=repr)
@pytest.mark.parametrize("unit", [1e-60, 1e60])
def test_a_metric_in_other_units_says_the_same(schedule, unit):
    assert scales(schedule, LOSSES * unit) == scales(schedule, LOSSES)


def test_a_metric_is_compared_in_float64():
    """A loss near 1e6 that falls by 0.01, which float32 does not see."""
    falling = 1e6 - 0.01 * np.arange(9)
    for schedule in (
        funcopt.on_plateau(0.5, patience=1, rtol=0.0),
        funcopt.on_newbob(0.5, threshold=0.0),
        funcopt.on_bold_driver(1.0, 0.5),
        funcopt.on_greedy(0.5, patience=20, rtol=0.0),
        funcopt.cooldown_on_plateau(9, patience=1, rtol=0.0),
    ):
        assert scales(schedule, falling) == [1.0] * 9
    assert scales(funcopt.on_abel(0.5), [1, 1 - 1e-12, 1, 1 - 1e-12])[-1] == 0.5
    nearly = [1.0, 1.0 + 1e-9, 1.0 + 2e-9]
    assert scales(funcopt.on_autodrop(0.5, threshold=1e-10), nearly) == [1.0] * 3
    assert scales(funcopt.on_autodrop(0.5, threshold=1e-8, max_threshold=1e-8), nearly)[1] == 0.5


@pytest.mark.parametrize("schedule", LISTENERS, ids=repr)
def test_a_state_keeps_its_types_whatever_the_metrics(schedule):
    """Also one that was made where floats are float32, and goes on where they are float64."""
    params = jnp.ones(2)
    tx = funcopt.sgd(schedule)
    with jax.enable_x64(False):
        narrow = tx.init(jnp.ones(2, jnp.float32))
    for begun, kind in ((tx.init(params), jnp.float64), (narrow, jnp.float32)):
        state = begun
        for metric in (np.float32(1.0), np.float64(2.0), 1.5, jnp.nan, np.float16(1.0)):
            _, state = tx.update(params, state, params, metric=metric)
        types = [jax.tree.map(jnp.result_type, x.feedback) for x in (state, begun)]
        assert types[0] == types[1]
        assert {x for x in jax.tree.leaves(types[0]) if x.kind == "f"} == {jnp.dtype(kind)}


def test_a_scan_hears_in_float64():
    tx = funcopt.sgd(0.1 * funcopt.on_plateau(0.5, patience=3, rtol=0.0))
    params = jnp.zeros(1)

    @jax.jit
    def run(losses):
        def step(state, loss):
            _, state = tx.update(params, state, params, value=loss)
            return state, state.feedback

        return jax.lax.scan(step, tx.init(params), losses)[1]

    falling = 1e6 - 0.01 * np.arange(30)
    assert float(run(falling)[0][1].scale[-1]) == 1.0
    assert float(run(falling.astype(np.float32))[0][1].scale[-1]) < 0.1
