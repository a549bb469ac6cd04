"""Schedules: values, exact at their boundaries, equal to optax, pure under every transformation."""

import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcopt
from tests.schedule_case import COUNTS, EPS, Case, along, each_form, over
from tests.test_schedules_more import CASES as MORE


def progress(step, begin, steps):
    return np.clip((step - begin) / steps, 0, 1)


def constant(step, value):
    return np.full(np.shape(step), value)


def linear(step, init, end, steps, begin=0):
    x = progress(step, begin, steps)
    return (1 - x) * init + x * end


def polynomial(step, init, end, power, steps, begin=0):
    w = (1 - progress(step, begin, steps)) ** power
    return w * init + (1 - w) * end


def exponential(step, init, steps, rate, begin=0, staircase=False, end=None):
    p = np.maximum(step - begin, 0) / steps
    with np.errstate(over="ignore"):
        value = init * rate ** (np.floor(p) if staircase else p)
    if end is None:
        return value
    return np.maximum(value, end) if rate < 1 else np.minimum(value, end)


def inverse_time(step, init, steps, rate, begin=0, staircase=False):
    p = np.maximum(step - begin, 0) / steps
    return init / (1 + rate * (np.floor(p) if staircase else p))


def piecewise(step, init, factors):
    return init * np.prod([np.where(step >= b, f, 1) for b, f in factors.items()], axis=0)


def cosine(step, init, steps, alpha=0.0, exponent=1.0):
    w = (0.5 + 0.5 * np.cos(np.pi * progress(step, 0, steps))) ** exponent
    return init * ((1 - alpha) * w + alpha)


def warmup(step, peak, steps, init=0.0):
    return linear(step, init, peak, steps)


def warmup_cosine(step, init, peak, warm, steps, end=0.0, exponent=1.0):
    down = cosine(np.maximum(step - warm, 0), peak - end, steps - warm, 0.0, exponent) + end
    return np.where(step < warm, linear(step, init, peak, max(warm, 1)), down)


def exponential_case(*args) -> Case:
    steps, rate = args[1:3]
    begin = args[3] if len(args) > 3 else 0
    # Of the exponent 1000 / steps, and of its product with log(rate).
    rounding = 1000 / steps * (1 + abs(math.log(rate)))
    return Case(
        schedule=funcopt.exponential_decay(*args),
        definition=lambda step: exponential(step, *args),
        optax=optax.exponential_decay(*args),
        boundaries=(begin, begin + steps, begin + 2 * steps),
        rounding=max(1.0, rounding),
    )


def linear_case(*args) -> Case:
    begin = args[3] if len(args) > 3 else 0
    return Case(
        schedule=funcopt.linear_schedule(*args),
        definition=lambda step: linear(step, *args),
        optax=optax.linear_schedule(*args),
        boundaries=(begin, begin + args[2]),
    )


def polynomial_case(*args) -> Case:
    begin = args[4] if len(args) > 4 else 0
    return Case(
        schedule=funcopt.polynomial_schedule(*args),
        definition=lambda step: polynomial(step, *args),
        optax=optax.polynomial_schedule(*args),
        boundaries=(begin, begin + args[3]),
        rounding=max(1.0, args[2]),
    )


def inverse_time_case(*args) -> Case:
    begin = args[3] if len(args) > 3 else 0
    return Case(
        schedule=funcopt.inverse_time_decay(*args),
        definition=lambda step: inverse_time(step, *args),
        optax=None,
        boundaries=(begin, begin + args[1]),
    )


def piecewise_case(init, factors) -> Case:
    return Case(
        schedule=funcopt.piecewise_constant_schedule(init, factors),
        definition=lambda step: piecewise(step, init, factors),
        optax=optax.piecewise_constant_schedule(init, factors),
        boundaries=tuple(factors),
        rounding=max(1.0, len(factors)),
    )


def cosine_case(*args) -> Case:
    exponent = args[3] if len(args) > 3 else 1.0
    return Case(
        schedule=funcopt.cosine_decay_schedule(*args),
        definition=lambda step: cosine(step, *args),
        optax=optax.cosine_decay_schedule(*args),
        boundaries=(0, args[1]),
        rounding=max(1.0, 2 * exponent),
    )


def linear_warmup_case(*args) -> Case:
    return Case(
        schedule=funcopt.linear_warmup(*args),
        definition=lambda step: warmup(step, *args),
        optax=optax.linear_schedule(args[2] if len(args) > 2 else 0.0, args[0], args[1]),
        boundaries=(0, args[1]),
    )


def warmup_cosine_case(*args) -> Case:
    exponent = args[5] if len(args) > 5 else 1.0
    return Case(
        schedule=funcopt.warmup_cosine_decay_schedule(*args),
        definition=lambda step: warmup_cosine(step, *args),
        optax=optax.warmup_cosine_decay_schedule(*args) if args[2] else None,
        boundaries=(args[2], args[3]),
        rounding=max(1.0, 2 * exponent),
    )


CASES = [
    Case(
        schedule=funcopt.constant_schedule(0.3),
        definition=lambda step: constant(step, 0.3),
        optax=optax.constant_schedule(0.3),
        boundaries=(0,),
    ),
    linear_case(0.3, 0.0007, 777, 13),
    linear_case(0.0, 1.0, 1),
    linear_case(-1.5, 2.5, 64),
    polynomial_case(0.3, 0.0007, 2.0, 777, 13),
    polynomial_case(1.0, 0.0, 0.5, 100),
    polynomial_case(0.1, 1.0, 3.7, 333, 5),
    exponential_case(0.1, 10, 0.5),
    exponential_case(0.1, 7, 0.96, 20, True),
    exponential_case(0.1, 100, 0.9, 3, False, 0.05),
    exponential_case(0.1, 50, 1.1, 0, True, 0.4),
    inverse_time_case(0.3, 10, 0.7),
    inverse_time_case(0.3, 9, 2.0, 31, True),
    piecewise_case(0.3, {10: 0.1, 500: 0.3}),
    piecewise_case(1.0, {1: 0.5, 2: 0.5, 3: 4.0, 999: 0.0}),
    cosine_case(0.3, 777),
    cosine_case(0.3, 200, 0.1),
    cosine_case(1.0, 1000, 0.0, 2.0),
    cosine_case(1.0, 500, 0.25, 0.5),
    linear_warmup_case(0.3, 10),
    linear_warmup_case(0.3, 333, 0.01),
    warmup_cosine_case(0.0, 1.0, 100, 777),
    warmup_cosine_case(0.01, 0.3, 1, 50, 0.002),
    warmup_cosine_case(0.01, 0.3, 250, 1000, 0.002, 2.0),
    warmup_cosine_case(0.0, 1.0, 0, 100, 0.1),
]

# An exponent grows with the step, and so does its rounding.
CASES = [case._replace(grows=True) for case in CASES]
each_case = pytest.mark.parametrize("case", CASES + MORE, ids=lambda case: repr(case.schedule))


@each_case
def test_values_are_those_of_the_definition(case):
    """At every step, relative to the largest value, within the rounding of float32."""
    expected = case.definition(COUNTS.astype(np.float64))
    off = np.abs(along(case.schedule) - expected)
    growth = np.maximum(COUNTS / 1000, 1) if case.grows else 1
    assert np.all(off <= 4 * EPS * case.rounding * growth * np.abs(expected).max())


@each_case
def test_boundaries_are_exact(case):
    """What float32 rounds to the definition's value, at each boundary and one step around it."""
    around = sorted({max(b + i, 0) for b in case.boundaries for i in (-1, 0, 1)})
    expected = case.definition(np.asarray(around, np.float64))
    for step, value in zip(around, expected, strict=True):
        got = case.schedule(step)
        assert got.dtype == jnp.float32
        assert got.shape == ()
        # The definition itself is 1 + cos(π) or 1 - 1, which float64 rounds, where it is 0.
        atol = 0 if case.grows else 1e-16
        np.testing.assert_allclose(got, value, rtol=4 * EPS * case.rounding, atol=atol)


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (funcopt.linear_schedule(0.1, 0.7, 30, 5), 5, 0.1),
        (funcopt.linear_schedule(0.1, 0.7, 30, 5), 35, 0.7),
        (funcopt.linear_schedule(0.1, 0.7, 30, 5), 36, 0.7),
        (funcopt.polynomial_schedule(0.1, 0.7, 3.0, 30), 0, 0.1),
        (funcopt.polynomial_schedule(0.1, 0.7, 3.0, 30), 30, 0.7),
        (funcopt.exponential_decay(0.1, 30, 0.7, 10), 10, 0.1),
        (funcopt.exponential_decay(0.1, 30, 0.7, end_value=0.03), 500, 0.03),
        (funcopt.inverse_time_decay(0.1, 30, 0.7, 10), 10, 0.1),
        (funcopt.cosine_decay_schedule(0.1, 30), 0, 0.1),
        (funcopt.cosine_decay_schedule(0.1, 30), 30, 0.0),
        (funcopt.cosine_decay_schedule(0.1, 30, exponent=0.5), 31, 0.0),
        (funcopt.linear_warmup(0.1, 30, 0.07), 0, 0.07),
        (funcopt.linear_warmup(0.1, 30, 0.07), 30, 0.1),
        (funcopt.warmup_cosine_decay_schedule(0.07, 0.1, 30, 90, 0.03), 0, 0.07),
        (funcopt.warmup_cosine_decay_schedule(0.07, 0.1, 30, 90, 0.03), 30, 0.1),
        (funcopt.warmup_cosine_decay_schedule(0.07, 0.1, 30, 90, 0.03), 90, 0.03),
        (funcopt.warmup_cosine_decay_schedule(0.07, 0.1, 0, 90, 0.03), 0, 0.1),
        (funcopt.piecewise_constant_schedule(0.1, {10: 0.5}), 9, 0.1),
        (funcopt.piecewise_constant_schedule(0.1, {10: 0.5}), 10, 0.05),
    ],
)
def test_end_points_are_the_numbers_given(schedule, step, value):
    """Bit for bit, compiled and not."""
    assert schedule(step) == np.float32(value)
    assert jax.jit(schedule)(step) == np.float32(value)


def test_small_values_near_the_end_keep_their_digits():
    """Relative to the value itself, where 1 - x and 1 + cos(x) have lost theirs."""
    late = np.arange(990, 1000)
    for schedule, definition in [
        (funcopt.linear_schedule(1.0, 0.0, 1000), 1 - late / 1000),
        (funcopt.cosine_decay_schedule(1.0, 1000), np.sin(np.pi / 2 * (1000 - late) / 1000) ** 2),
    ]:
        np.testing.assert_allclose(over(schedule, late), definition, rtol=8 * EPS)
    early = funcopt.linear_warmup(1.0, 10_000)
    np.testing.assert_allclose(over(early, [1, 2, 3]), [1e-4, 2e-4, 3e-4], rtol=2 * EPS)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.optax], ids=lambda case: repr(case.schedule)
)
@pytest.mark.default_promotion
def test_equal_to_optax_at_every_step(case):
    steps = np.arange(1000)
    ours = over(case.schedule, steps)
    # Not compiled: what optax raises to a power can then not be negative, which makes it NaN.
    theirs = np.asarray(jax.vmap(case.optax)(jnp.asarray(steps)), np.float64)
    # optax's 1 - x and 1 + cos(x) are a rounding error where they should be 0, and so is its root.
    arguments = case.schedule.arguments
    root = min(1.0, arguments.get("power", 1.0), arguments.get("exponent", 1.0))
    atol = 8 * (case.rounding * EPS) ** root * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_compiled_roots_are_finite_and_end_where_they_should():
    """XLA multiplies by 1 / steps: one minus that progress can be below 0, and its root NaN."""
    steps = jnp.arange(1, 1001, dtype=jnp.int32)

    @jax.jit
    @jax.vmap
    def at_the_end(steps):
        schedule = funcopt.polynomial_schedule(1.0, 0.25, 0.5, steps)
        cosine = funcopt.cosine_decay_schedule(1.0, steps, 0.25, 0.5)
        return jnp.stack([s(steps + i) for s in (schedule, cosine) for i in (-1, 0, 1)])

    lengths = np.asarray(steps, np.float64)
    before, end, after, before_cosine, end_cosine, after_cosine = at_the_end(steps).T
    np.testing.assert_allclose(before, 0.25 + 0.75 / np.sqrt(lengths), rtol=8 * EPS)
    np.testing.assert_allclose(
        before_cosine, 0.25 + 0.75 * np.sin(np.pi / 2 / lengths), rtol=8 * EPS
    )
    for value in (end, after, end_cosine, after_cosine):
        assert np.all(value == 0.25)


# -- values ---------------------------------------------------------------------------------------


@each_case
def test_is_a_value(case):
    schedule = case.schedule
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert eval(repr(schedule), vars(funcopt)) == schedule
    leaves, structure = jax.tree.flatten(schedule)
    assert all(isinstance(leaf, float) for leaf in leaves)
    assert jax.tree.unflatten(structure, leaves) == schedule


def test_leaves_are_the_numbers_and_steps_and_flags_are_static():
    schedule = funcopt.exponential_decay(0.1, 10, 0.5, staircase=True)
    assert jax.tree.leaves(schedule) == [0.1, 0.5]
    joined = funcopt.join_schedules([funcopt.linear_warmup(1.0, 2), schedule], [2])
    assert jax.tree.leaves(joined) == [1.0, 0.0, 0.1, 0.5]
    assert jax.tree.leaves(funcopt.piecewise_constant_schedule(1.0, {5: 0.5})) == [1.0, 0.5]


def test_prints_as_the_call_with_defaults_left_out():
    assert repr(funcopt.cosine_decay_schedule(0.1, 100)) == (
        "cosine_decay_schedule(init_value=0.1, decay_steps=100)"
    )
    assert repr(funcopt.piecewise_constant_schedule(1, {20: 0.5, 10: 1})) == (
        "piecewise_constant_schedule(init_value=1.0, boundaries_and_scales={10: 1.0, 20: 0.5})"
    )


def test_numbers_of_any_kind_make_the_same_value():
    reference = funcopt.linear_schedule(1.0, 0.5, 10)
    assert funcopt.linear_schedule(1, np.float64(0.5), np.int64(10)) == reference
    assert funcopt.linear_schedule(1.0, 0.5, 10.0) == reference
    assert funcopt.linear_schedule(1.0, 0.5, 11) != reference
    assert funcopt.linear_schedule(1.0, 0.5, 10) != funcopt.polynomial_schedule(1.0, 0.5, 1.0, 10)


def test_replace_changes_one_argument():
    schedule = funcopt.cosine_decay_schedule(0.1, 100)
    assert schedule.replace(decay_steps=50) == funcopt.cosine_decay_schedule(0.1, 50)


# -- purity ---------------------------------------------------------------------------------------


@each_form(CASES + MORE)
def test_same_numbers_in_jit_vmap_and_scan(case):
    """Compiled, XLA may contract products and sums: a few units in the last place."""
    one_by_one = np.array([case.schedule(step) for step in range(12)])
    scale = np.abs(one_by_one).max()

    @jax.jit
    def together(steps):
        _, scanned = jax.lax.scan(lambda c, _: (c + 1, case.schedule(c)), jnp.int32(0), None, 12)
        return jax.vmap(case.schedule)(steps), case.schedule(steps), scanned

    for values in together(jnp.arange(12, dtype=jnp.int32)):
        assert values.dtype == jnp.float32
        assert values.shape == (12,)
        np.testing.assert_allclose(values, one_by_one, rtol=0, atol=4 * EPS * case.rounding * scale)


@each_case
def test_passed_as_an_argument_it_has_the_same_boundaries(case):
    """Shares of the run are then traced, and still mean the same whole steps."""
    steps = jnp.arange(1001, dtype=jnp.int32)
    passed = jax.jit(lambda schedule, steps: jax.vmap(schedule)(steps))(case.schedule, steps)
    assert passed.dtype == jnp.float32
    expected = along(case.schedule)[:1001]
    atol = 4 * EPS * case.rounding * np.abs(expected).max()
    np.testing.assert_allclose(passed, expected, rtol=0, atol=atol)


@each_form(CASES + MORE)
def test_vmap_over_numbers(case):
    """Twice the values, where every number that scales the value is doubled."""
    batched = jax.tree.map(lambda x: jnp.stack([x, x]), jax.tree.map(jnp.asarray, case.schedule))
    values = jax.vmap(lambda schedule: schedule(40), in_axes=(batched.in_axes,))(batched)
    largest = np.abs(case.definition(np.arange(1000.0))).max()
    np.testing.assert_allclose(
        values, [case.schedule(40)] * 2, rtol=0, atol=4 * EPS * case.rounding * largest
    )


def test_numbers_do_not_recompile():
    traces = 0

    @jax.jit
    def value(schedule, step):
        nonlocal traces
        traces += 1
        return schedule(step)

    results = [
        value(funcopt.cosine_decay_schedule(peak, jnp.array(n)), 3)
        for peak, n in ((1.0, 6), (2.0, 12))
    ]
    assert traces == 1
    np.testing.assert_allclose(results, [0.5, 2 * math.cos(math.pi / 8) ** 2], rtol=4 * EPS)


@each_case
def test_gradients_with_respect_to_numbers_are_finite(case):
    """Also at the boundaries, where powers of zero are differentiated."""
    steps = jnp.array([0, 1, 50, 5000, *case.boundaries, max(case.boundaries[-1] - 1, 0)])
    gradient = jax.grad(lambda schedule, step: schedule(step))
    gradients = jax.jit(jax.vmap(gradient, in_axes=(None, 0)))(case.schedule, steps)
    leaves = jax.tree.leaves(gradients)
    assert len(leaves) >= 1
    assert np.all(np.isfinite(leaves))


def test_gradients_with_respect_to_a_schedule():
    schedule = funcopt.linear_schedule(1.0, 0.0, 4)
    gradients = jax.grad(lambda schedule: schedule(1))(schedule)
    assert [float(g) for g in jax.tree.leaves(gradients)] == [0.75, 0.25]


def test_steps_given_as_arrays_are_traced():
    lengths = jnp.array([4, 8])
    schedules = funcopt.linear_schedule(1.0, 0.0, lengths)
    assert jax.tree.leaves(schedules)[2] is lengths
    values = jax.vmap(lambda s: s(2), in_axes=(schedules.in_axes,))(schedules)
    np.testing.assert_array_equal(values, [0.5, 0.75])


def test_gradient_of_the_peak_is_the_shape_of_the_schedule():
    gradient = jax.grad(lambda peak: funcopt.cosine_decay_schedule(peak, 4)(1))(3.0)
    np.testing.assert_allclose(gradient, math.cos(math.pi / 8) ** 2, rtol=4 * EPS)


@pytest.mark.parametrize("dtype", ["int32", "int8", "uint8", "uint32", "float32"])
def test_steps_of_any_dtype(dtype):
    """Unsigned steps before the beginning do not wrap around."""
    schedule = funcopt.linear_schedule(1.0, 0.0, 10, 20)
    assert [float(schedule(jnp.asarray(s, dtype))) for s in (3, 20, 25, 40)] == [1.0, 1.0, 0.5, 0.0]


def test_an_array_of_steps_gives_an_array_of_values():
    """Every schedule, the constant one too: what a plot of it needs."""
    for case in CASES:
        assert case.schedule(np.arange(7, dtype=np.int32)).shape == (7,)


def test_counts_beyond_float32s_integers_are_counted_in_integers():
    """2**24 and 2**24 + 1 are one number in float32, and two steps."""
    begin = 2**24
    line = funcopt.linear_schedule(0.0, 1.0, 4, begin)
    assert [float(line(begin + i)) for i in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    stairs = funcopt.exponential_decay(1.0, 2, 0.5, begin, staircase=True)
    assert [float(stairs(begin + i)) for i in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    joined = funcopt.join_schedules([funcopt.constant_schedule(7.0), line], [begin - 1])
    assert [float(joined(step)) for step in (begin - 2, begin - 1)] == [7.0, 0.0]
    assert float(funcopt.piecewise_constant_schedule(1.0, {begin + 1: 0.5})(begin)) == 1.0
    longest = funcopt.linear_schedule(1.0, 0.0, 2**31 - 1, 2**31 - 1)
    assert [float(longest(step)) for step in (0, 2**31 - 1)] == [1.0, 1.0]


# -- joins ----------------------------------------------------------------------------------------


def test_joined_schedules_take_over_at_their_boundaries():
    joined = funcopt.join_schedules(
        [
            funcopt.linear_warmup(1.0, 10),
            funcopt.constant_schedule(1.0),
            funcopt.linear_schedule(1.0, 0.0, 20),
        ],
        [10, 30],
    )
    at = {9: 0.9, 10: 1.0, 11: 1.0, 29: 1.0, 30: 1.0, 31: 0.95, 49: 0.05, 50: 0.0, 51: 0.0}
    np.testing.assert_allclose(over(joined, list(at)), list(at.values()), rtol=4 * EPS, atol=0)


@pytest.mark.default_promotion
def test_nested_joins_are_one_flat_join():
    parts = [funcopt.linear_warmup(1.0, 5), funcopt.cosine_decay_schedule(1.0, 20, 0.1)]
    tail = [funcopt.exponential_decay(0.1, 3, 0.5, staircase=True), funcopt.constant_schedule(0.01)]
    inner = funcopt.join_schedules(tail, [12])
    nested = funcopt.join_schedules([funcopt.join_schedules(parts, [5]), inner], [25])
    flat = funcopt.join_schedules([*parts, *tail], [5, 25, 37])
    theirs = optax.join_schedules([*parts, *tail], [5, 25, 37])
    steps = np.arange(60)
    assert np.array_equal(over(nested, steps), over(flat, steps))
    assert np.array_equal(over(flat, steps), over(theirs, steps))
    assert nested == eval(repr(nested), vars(funcopt))
    assert float(nested(24)) != float(nested(25)) != float(nested(28))


@pytest.mark.default_promotion
def test_joined_schedules_may_be_plain_functions():
    joined = funcopt.join_schedules([lambda step: 2.0, lambda step: jnp.sqrt(step + 1.0)], [3])
    np.testing.assert_allclose(over(joined, [2, 3, 6]), [2.0, 1.0, 2.0], rtol=EPS)


def test_a_schedule_is_not_asked_before_its_boundary():
    """Its value there is not used, and a NaN at a negative step would poison the gradient."""
    joined = funcopt.join_schedules(
        [funcopt.constant_schedule(1.0), lambda step: jnp.sqrt(step.astype(jnp.float32) + 1)], [100]
    )
    assert float(joined(0)) == 1.0
    asked = []
    funcopt.join_schedules([lambda step: 0.0, lambda step: asked.append(int(step)) or 0.0], [9])(2)
    assert asked == [0]


# -- hyperparameters ------------------------------------------------------------------------------


def losses(tx, steps=6):
    """The parameters along a run with gradients that differ from step to step."""
    params = {"w": jnp.array([1.0, -2.0, 3.0])}
    state = tx.init(params)

    def one(carry, i):
        params, state = carry
        grads = {"w": params["w"] * (1 + 0.1 * i)}
        params, state = funcopt.step(tx, grads, state, params)
        return (params, state), params["w"]

    return jax.lax.scan(one, (params, state), jnp.arange(steps, dtype=jnp.float32))[1]


def by_hand(make, schedule, steps=6):
    """The same run with the schedule's number of each step put in by hand."""
    params = {"w": jnp.array([1.0, -2.0, 3.0])}
    state = make(schedule(0)).init(params)
    trajectory = []
    for i in range(steps):
        grads = {"w": params["w"] * (1 + 0.1 * i)}
        params, state = funcopt.step(make(schedule(i)), grads, state, params)
        trajectory.append(params["w"])
    return np.array(trajectory)


HYPERPARAMETERS = {
    "learning_rate": (lambda x: funcopt.adam(x), 0.1),
    "b1": (lambda x: funcopt.adam(0.1, b1=x), 0.9),
    "b2": (lambda x: funcopt.adam(0.1, b2=x), 0.9),
    "weight_decay": (lambda x: funcopt.adamw(0.1, weight_decay=x), 0.5),
    "max_norm": (lambda x: funcopt.chain(funcopt.clip_by_global_norm(x), funcopt.sgd(0.1)), 0.9),
    "max_delta": (lambda x: funcopt.chain(funcopt.clip(x), funcopt.sgd(0.1)), 0.9),
    "momentum": (lambda x: funcopt.sgd(0.1, momentum=x), 0.9),
    "step_size": (lambda x: funcopt.chain(funcopt.scale(x), funcopt.sgd(0.1)), 0.9),
}


def plain(start):
    return lambda step: start / (1 + step)


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "plain") for name in HYPERPARAMETERS]
    + [("learning_rate", "optax"), ("learning_rate", "joined")]
    + [("learning_rate", "funcopt"), ("momentum", "funcopt"), ("max_norm", "optax")],
)
def test_any_hyperparameter_may_be_a_schedule(name, kind):
    make, start = HYPERPARAMETERS[name]
    schedule = {
        "funcopt": funcopt.inverse_time_decay(start, 1, 1.0),
        "plain": plain(start),
        "optax": optax.exponential_decay(start, 2, 0.5),
        "joined": funcopt.join_schedules([plain(start), optax.constant_schedule(0.2)], [3]),
    }[kind]
    np.testing.assert_allclose(losses(make(schedule)), by_hand(make, schedule), rtol=1e-6)
    assert not np.allclose(losses(make(schedule)), losses(make(start)), rtol=1e-3)


@pytest.mark.default_promotion
def test_the_first_update_is_step_zero():
    tx = funcopt.sgd(lambda step: step + 1.0)
    params, state = jnp.zeros(1), None
    state = tx.init(params)
    assert float(funcopt.current_lr(state)) == 1.0
    for rate in (1.0, 2.0, 3.0):
        updates, state = tx.update(jnp.ones(1), state, params)
        assert float(updates[0]) == -rate
        assert float(funcopt.current_lr(state)) == rate


@pytest.mark.default_promotion
def test_schedules_of_one_chain_count_alike():
    tx = funcopt.chain(funcopt.clip_by_global_norm(plain(4.0)), funcopt.sgd(plain(1.0)))
    grads = jnp.array([100.0])
    state = tx.init(grads)
    for i in range(3):
        updates, state = tx.update(grads, state)
        np.testing.assert_allclose(updates, [-4.0 / (1 + i) ** 2], rtol=1e-6)


def test_a_scheduled_transformation_is_a_value_too():
    tx = funcopt.adamw(funcopt.cosine_decay_schedule(0.1, 10), b1=funcopt.linear_warmup(0.9, 4))
    assert tx == eval(repr(tx), vars(funcopt)) == pickle.loads(pickle.dumps(tx))
    assert hash(tx) == hash(pickle.loads(pickle.dumps(tx)))
    assert jax.tree.leaves(tx)[:3] == [0.1, 0.0, 1.0]


# -- properties -----------------------------------------------------------------------------------

VALUES = st.floats(-10, 10, width=32)
LENGTHS = st.integers(1, 2**20)
STEPS = st.integers(0, 2**21)


@given(init=VALUES, end=VALUES, steps=LENGTHS, begin=st.integers(0, 2**20), at=STEPS)
def test_a_line_stays_between_its_ends(init, end, steps, begin, at):
    value = float(funcopt.linear_schedule(init, end, steps, begin)(at))
    slack = 2 * EPS * max(abs(init), abs(end))
    assert min(init, end) - slack <= value <= max(init, end) + slack


@given(steps=st.integers(2, 2**20), at=STEPS, exponent=st.floats(0.5, 3))
def test_a_cosine_falls(steps, at, exponent):
    schedule = funcopt.cosine_decay_schedule(1.0, steps, exponent=exponent)
    here, there = float(schedule(at)), float(schedule(at + 1))
    assert 0 <= there <= here * (1 + 8 * EPS * max(1.0, exponent)) <= 1 + 32 * EPS


@given(
    boundaries=st.lists(st.integers(0, 1000), min_size=1, max_size=4, unique=True).map(sorted),
    at=st.integers(0, 1100),
)
def test_a_join_is_the_schedule_in_force_at_its_own_step(boundaries, at):
    parts = [funcopt.linear_schedule(i + 0.0, i + 1.0, 64) for i in range(len(boundaries) + 1)]
    joined = funcopt.join_schedules(parts, boundaries)
    in_force = sum(at >= boundary for boundary in boundaries)
    began = [0, *boundaries][in_force]
    assert float(joined(at)) == float(parts[in_force](at - began))
