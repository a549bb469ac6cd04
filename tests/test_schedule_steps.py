"""Numbers of steps: any integer, and floats that were computed; never below what is allowed."""

import inspect
import math
import pickle
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_schedules_more import gallery

import funcopt
from funcopt.core.arguments import MOST_STEPS, NumberOfSteps, settled
from tests.catalog import spelled

EPS = float(np.finfo(np.float32).eps)
NEVER = 10**10
SCHEDULES = gallery()


def over(schedule, steps):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32)), np.float64)


def counts() -> list:
    """Each schedule of the gallery with each of its arguments that is a number of steps."""
    found = []
    for schedule in SCHEDULES:
        hints = inspect.get_annotations(schedule._call.factory, eval_str=True)
        for name, hint in hints.items():
            check = get_args(hint)[1:]
            if check and isinstance(check[0], NumberOfSteps):
                found.append((schedule, name, check[0]))
    return found


@pytest.mark.parametrize(
    ("schedule", "name", "check"), counts(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_any_integer_from_the_least_on_is_taken_and_nothing_below(schedule, name, check):
    """Also one that a float means within rounding; a count of events is whole."""
    for bad in (check.low - 1, check.low - 0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"{name} must be .* from {check.low} on") as caught:
            schedule.replace(**{name: bad})
        assert repr(bad) in str(caught.value)
    for many in (2**31, NEVER, 10**400):
        whole_run = {"total_steps", "decay_steps"} & schedule.arguments.keys() - {name}
        made = schedule.replace(**dict.fromkeys(whole_run, 3 * many), **{name: many})
        assert made == eval(repr(made), vars(funcopt)) == pickle.loads(pickle.dumps(made))
        assert all(isinstance(leaf, float) for leaf in jax.tree.leaves(made))
    whole = schedule.arguments[name]
    if whole is not None:
        assert schedule.replace(**{name: float(whole)}) == schedule
        assert schedule.replace(**{name: np.float32(whole)}) == schedule
        assert schedule.replace(**{name: whole * (1 + 2**-52)}) == schedule
    if not check.between:
        with pytest.raises(ValueError, match=f"{name} must be an integer"):
            schedule.replace(**{name: 2.5})


def test_the_gallery_counts_steps_in_many_ways():
    assert len(counts()) > 40


def test_rounding_errors_are_no_fractions():
    """What people compute: 0.1 of 1,000, a tenth of it ten times, products in float32."""
    assert settled(0.1 * 3 * 1000) == 300
    assert settled(1.1 * 1000) == 1100
    assert settled(np.float32(0.1) * 4000) == 400
    assert settled(0.1 * 1005) == 100.5
    assert settled(2.0**40 + 0.5) == 2**40 + 0.5
    assert type(settled(100.0)) is int
    assert funcopt.piecewise_constant_schedule(1.0, {1.1 * 1000: 0.5})(1100) == 0.5


PARTS = [
    funcopt.constant_schedule(1.0),
    funcopt.linear_schedule(0.5, 0.0, 4),
    funcopt.constant_schedule(9.0),
]


@pytest.mark.parametrize(
    ("schedule", "value"),
    [
        (funcopt.exponential_decay(0.3, 10, 0.5, NEVER), 0.3),
        (funcopt.exponential_decay(0.3, NEVER, 0.5, staircase=True), 0.3),
        (funcopt.linear_schedule(0.3, 0.0, 10, NEVER), 0.3),
        (funcopt.piecewise_constant_schedule(0.3, {NEVER: 0.0}), 0.3),
        (funcopt.multistep_decay(0.3, [NEVER, 10**400], 0.5), 0.3),
        (funcopt.step_decay(0.3, NEVER), 0.3),
        (funcopt.linear_schedule(0.3, 0.0, 10).shifted(NEVER), 0.3),
        (funcopt.warmup(0.1, NEVER, init_value=0.3).clipped(low=0.3), 0.3),
        (funcopt.warmup_stable_decay(0.0, 0.3, 1, NEVER, 10), 0.3),
        (funcopt.knee_schedule(0.3, NEVER, 2 * NEVER), 0.3),
        (funcopt.schedule_from_points({0: 0.3, NEVER: 0.3, 2 * NEVER: 0.0}), 0.3),
        (funcopt.join_schedules(PARTS[::2], [NEVER]), 1.0),
        (funcopt.join_schedules([PARTS[0], *PARTS], [NEVER, 2 * NEVER, 10**400]), 1.0),
    ],
    ids=spelled,
)
def test_what_lies_beyond_every_count_never_comes(schedule, value):
    for step in (1, 10**6, MOST_STEPS):
        assert schedule(step) == jax.jit(schedule)(step) == np.float32(value)


@pytest.mark.parametrize(
    ("make", "far"),
    [
        (lambda n: funcopt.linear_schedule(1.0, 0.0, n), lambda x: 1 - x),
        (lambda n: funcopt.cosine_decay_schedule(1.0, n), lambda x: np.cos(np.pi * x / 2) ** 2),
        (lambda n: funcopt.exponential_decay(1.0, n, 0.25), lambda x: 0.25**x),
        (lambda n: funcopt.rex_schedule(1.0, n), lambda x: (1 - x) / (1 - x / 2)),
        (lambda n: funcopt.warmup(1.0, n), lambda x: x),
        (lambda n: funcopt.warmup_cosine_decay_schedule(0.0, 1.0, n, 2 * n), lambda x: x),
        (lambda n: funcopt.cosine_restarts(1.0, n, 2), lambda x: np.cos(np.pi * x / 2) ** 2),
        (lambda n: funcopt.cosine_restarts(1.0, n), lambda x: np.cos(np.pi * x / 2) ** 2),
        (lambda n: funcopt.cosine_wave(1.0, 0.0, n), lambda x: np.cos(np.pi * x / 2) ** 2),
        (lambda n: funcopt.cyclic_schedule(0.0, 1.0, n), lambda x: x),
        (lambda n: funcopt.schedule_from_points({0: 1.0, n: 0.0}), lambda x: 1 - x),
        (lambda n: funcopt.onecycle_schedule(1.0, 2 * n, 0.5, "linear", div_factor=1e9),
         lambda x: x),
        (lambda n: funcopt.inverse_sqrt_schedule(1.0, n), lambda x: x),
    ],
)  # fmt: skip
def test_lengths_beyond_every_count_keep_their_slope(make, far):
    steps = np.array([0, 10**6, 2**30, MOST_STEPS])
    expected = far(steps / NEVER)
    np.testing.assert_allclose(over(make(NEVER), steps), expected, rtol=16 * EPS, atol=2e-9)
    assert np.all(np.isfinite(over(make(10**400), steps)))


def linear(step, init, end, steps, begin=0.0):
    x = np.clip((step - begin) / steps, 0, 1)
    return (1 - x) * init + x * end


@pytest.mark.parametrize(
    ("schedule", "definition"),
    [
        (funcopt.linear_schedule(1.0, 0.05, 48.6, 3.25), lambda t: linear(t, 1, 0.05, 48.6, 3.25)),
        (
            funcopt.exponential_decay(1.0, 7.5, 0.5, 2.5),
            lambda t: 0.5 ** (np.maximum(t - 2.5, 0) / 7.5),
        ),
        (
            funcopt.exponential_decay(1.0, 7.5, 0.5, 2.5, True),
            lambda t: 0.5 ** np.floor(np.maximum(t - 2.5, 0) / 7.5),
        ),
        (funcopt.step_decay(1.0, 7.5, 0.5), lambda t: 0.5 ** np.floor(t / 7.5)),
        (funcopt.step_decay(1.0, 10 / 3, 0.9), lambda t: 0.9 ** np.floor(t / (10 / 3))),
        (
            funcopt.multistep_decay(1.0, [3.5, 20.25], 0.5),
            lambda t: np.select([t < 3.5, t < 20.25], [1, 0.5], 0.25),
        ),
        (funcopt.cosine_wave(1.0, 0.0, 7.25), lambda t: 0.5 + 0.5 * np.cos(np.pi * t / 7.25)),
        (
            funcopt.cosine_restarts(1.0, 10 / 3),
            lambda t: 0.5 + 0.5 * np.cos(np.pi * np.mod(3 * t, 10) / 10),
        ),
        (
            funcopt.cosine_restarts(1.0, 2.5, 3),
            lambda t: 0.5 + 0.5 * np.cos(np.pi * np.select(
                [t < 2.5, t < 10, t < 32.5], [t / 2.5, (t - 2.5) / 7.5, (t - 10) / 22.5],
                (t - 32.5) / 67.5,
            )),
        ),
        (
            funcopt.cyclic_schedule(0.0, 1.0, 2.5, 4.25),
            lambda t: np.interp(np.mod(t, 6.75), [0, 2.5, 6.75], [0, 1, 0]),
        ),
        (
            funcopt.schedule_from_points({2.5: 1.0, 7.25: 3.0, 50: 2.0}),
            lambda t: np.interp(t, [2.5, 7.25, 50], [1, 3, 2]),
        ),
        (
            funcopt.onecycle_schedule(1.0, 60.5, 0.5, "linear", div_factor=4.0, final_div_factor=1),
            lambda t: np.interp(t, [0, 29.25, 59.5], [0.25, 1, 0.25]),
        ),
        (
            funcopt.warmup_stable_decay(0.0, 1.0, 4.5, 60.25, 10.5, shape="linear"),
            lambda t: np.interp(t, [0, 4.5, 49.75, 60.25], [0, 1, 1, 0]),
        ),
        (
            funcopt.join_schedules(PARTS, [2.5, 5.75]),
            lambda t: np.where(t < 2.5, 1, np.where(t < 5.75, 0.5 - 0.125 * (t - 2.5), 9)),
        ),
        (
            funcopt.warmup(funcopt.linear_schedule(1.0, 0.0, 20), 5.5),
            lambda t: np.where(t < 5.5, t / 5.5, linear(t - 5.5, 1, 0, 20)),
        ),
        (funcopt.linear_schedule(1.0, 0.0, 20).shifted(5.5), lambda t: linear(t - 5.5, 1, 0, 20)),
    ],
    ids=spelled,
)  # fmt: skip
def test_moments_between_two_steps_mean_what_the_formula_says(schedule, definition):
    steps = np.arange(90)
    np.testing.assert_allclose(over(schedule, steps), definition(1.0 * steps), rtol=0, atol=4e-6)
    assert schedule == eval(repr(schedule), vars(funcopt)) == pickle.loads(pickle.dumps(schedule))
    assert hash(schedule) == hash(pickle.loads(pickle.dumps(schedule)))
    passed = jax.jit(lambda s, steps: jax.vmap(s)(steps))(schedule, jnp.asarray(steps, jnp.int32))
    np.testing.assert_allclose(passed, definition(1.0 * steps), rtol=0, atol=4e-6)


def test_a_moment_is_structure_as_a_whole_number_of_steps_is():
    schedule = funcopt.linear_schedule(1.0, 0.0, 2.5)
    assert jax.tree.leaves(schedule) == [1.0, 0.0]
    assert repr(schedule) == "linear_schedule(init_value=1.0, end_value=0.0, transition_steps=2.5)"
    assert schedule != funcopt.linear_schedule(1.0, 0.0, 3)


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "make",
    [
        lambda m: m.linear_schedule(1.0, 0.05, 0.1 * 48076),
        lambda m: m.cosine_decay_schedule(0.1, 2.5),
        lambda m: m.warmup_cosine_decay_schedule(0.0, 1.0, 0.5 * 1251, 6255),
        lambda m: m.join_schedules([m.constant_schedule(1.0), m.linear_schedule(1, 0, 9)], [2.5]),
        lambda m: m.piecewise_constant_schedule(1.0, {3.5: 0.1}),
        lambda m: m.exponential_decay(0.3, 12.5, 0.5, 3.5),
        lambda m: m.polynomial_schedule(0.3, 0.0, 2.0, 7.75, 1.5),
    ],
)
def test_fractions_of_steps_are_those_of_optax(make):
    steps = [0, 1, 2, 3, 4, 5, 9, 700, 5000]
    theirs = [float(make(optax)(step)) for step in steps]
    np.testing.assert_allclose(over(make(funcopt), steps), theirs, rtol=0, atol=1e-6)


def test_arrays_of_moments_are_traced():
    lengths = jnp.array([2.5, 4.0])
    schedules = funcopt.linear_schedule(1.0, 0.0, lengths)
    values = jax.vmap(lambda s: s(2), in_axes=(schedules.in_axes,))(schedules)
    np.testing.assert_allclose(values, [0.2, 0.5], rtol=4 * EPS)
    schedules = funcopt.linear_schedule(1.0, 0.0, np.array([10, NEVER]))
    values = jax.vmap(lambda s: s(10**9), in_axes=(schedules.in_axes,))(schedules)
    np.testing.assert_allclose(values, [0.0, 0.9], rtol=4 * EPS)


def test_counts_of_events_are_whole_and_as_many_as_one_likes():
    patient = funcopt.on_plateau(patience=NEVER)
    assert patient == funcopt.on_plateau(patience=MOST_STEPS) == eval(repr(patient), vars(funcopt))
    tx = funcopt.guard(funcopt.sgd(0.1), patience=0.1 * 3 * 10)
    assert tx == funcopt.guard(funcopt.sgd(0.1), patience=3)
    with pytest.raises(ValueError, match="guard: patience must be an integer from 1 on, got 2"):
        funcopt.guard(funcopt.sgd(0.1), patience=2.5)
    for every in (1.1 * 1000, NEVER, lambda step: 4):
        funcopt.accumulate(funcopt.sgd(0.1), every)
    with pytest.raises(ValueError, match=r"accumulate: every must be an integer .* or a schedule"):
        funcopt.accumulate(funcopt.sgd(0.1), 2.5)


def plain(*step):
    return 0.1


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (lambda: 0.1, "takes 0|too many positional"),
        (lambda step, extra: 0.1, "missing a required argument: 'extra'"),
        (float, "got a class, <class 'float'>"),
        (funcopt.cosine_decay_schedule, "missing a required argument: 'decay_steps'"),
        (funcopt.adam(0.1), "got adam"),
        ("0.1", "got '0.1'"),
        (None, "got None"),
    ],
    ids=["no argument", "two", "class", "factory", "transformation", "string", "None"],
)
def test_what_is_no_schedule_is_refused_with_the_arguments_name(rate, words):
    with pytest.raises(TypeError, match=f"sgd: learning_rate must be .*({words})"):
        funcopt.sgd(rate)
    with pytest.raises(TypeError, match=r"adamw: weight_decay must be|adam"):
        funcopt.adamw(0.1, weight_decay=rate if rate is not None else "none")
    with pytest.raises(TypeError, match="shifted: schedule must be a schedule"):
        funcopt.schedules.shifted(rate, 3)
    with pytest.raises(TypeError, match="product: schedules"):
        funcopt.schedules.product(rate, 2.0)
    with pytest.raises(TypeError, match="join_schedules: schedules"):
        funcopt.join_schedules([rate, plain], [3])
    with pytest.raises(TypeError, match="warmup: schedule"):
        funcopt.warmup(rate, 3)


@pytest.mark.parametrize(
    ("returned", "kind", "words"),
    [
        (None, TypeError, "learning_rate: the schedule .* returned None, which is not a number"),
        ("0.1", TypeError, "returned '0.1', which is not a number"),
        (funcopt.on_plateau(), TypeError, "is not a number: call it to make a schedule"),
        (jnp.zeros(2), ValueError, r"learning_rate has shape \(2,\)"),
    ],
)
def test_what_a_schedule_returns_is_a_number(returned, kind, words):
    tx = funcopt.sgd(lambda step: returned)
    with pytest.raises(kind, match=words):
        tx.init(jnp.zeros(2))
    if kind is TypeError:
        with pytest.raises(TypeError, match="is not a number"):
            funcopt.schedules.product(lambda step: returned, 2.0)(0)
        with pytest.raises(TypeError, match="is not a number"):
            funcopt.join_schedules([plain, lambda step: returned], [3])(0)


def test_ordinary_callables_are_schedules():
    class Halving:
        def __call__(self, step, base=0.5):
            return base**step

    for rate in (plain, Halving(), optax.constant_schedule(0.1), jax.jit(plain), np.sqrt, abs):
        funcopt.sgd(rate)


def test_traced_boundaries_are_boundaries():
    parts = [funcopt.constant_schedule(x) for x in (1.0, 2.0, 3.0)]
    at = jax.jit(lambda b, step: funcopt.join_schedules(parts, [b, b + 2])(step))
    assert [float(at(5, step)) for step in (4, 5, 6, 7)] == [1.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("boundaries", ["12", b"12", 3, None])
def test_boundaries_are_a_list(boundaries):
    with pytest.raises(TypeError, match="join_schedules: boundaries must be a list of steps"):
        funcopt.join_schedules(PARTS, boundaries)
