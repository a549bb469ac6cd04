"""Schedules driven by performance, against plain Python transcriptions of what they promise."""

import math
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcopt

PARAMS = {"w": jnp.ones(2), "b": jnp.zeros(())}
GRADS = {"w": jnp.full(2, 0.5), "b": jnp.ones(())}


MOST = 40  # values of one run, so that runs of all lengths are one program


@jax.jit
def rates(tx, values):
    def step(state, value):
        _, state = tx.update(GRADS, state, PARAMS, value=value)
        return state, funcopt.current_lr(state)

    return jax.lax.scan(step, tx.init(PARAMS), values)[1]


def scales(schedule, values):
    """The factor in force at every update, when each value is given to its update."""
    padded = np.full(MOST, np.nan, np.float32)
    padded[: len(values)] = values
    return np.asarray(rates(funcopt.sgd(1.0 * schedule), padded))[: len(values)]


def plateau(values, factor, patience, mode, rtol, atol, cooldown, min_scale, window):
    best, bad, resting, scale, waiting, out = math.inf, 0, 0, 1.0, [], []
    for value in values:
        if math.isfinite(value):
            waiting.append(value if mode == "min" else -value)
        if len(waiting) == window:
            mean, waiting = sum(waiting) / window, []
            if math.isinf(best) or mean < best - (rtol * abs(best) + atol):
                best, bad = mean, 0
            else:
                bad += 1
            if resting > 0:
                resting, bad = resting - 1, 0
            if bad > patience:
                scale = max(scale * factor, min(scale, min_scale))
                bad, resting = 0, cooldown
        out.append(scale)
    return out


METRICS = st.lists(
    st.integers(-8, 8).map(float) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=MOST
)


@settings(max_examples=60)
@given(
    METRICS,
    st.integers(0, 3),
    st.sampled_from(["min", "max"]),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([0.0, 1.5]),
    st.integers(0, 3),
    st.integers(1, 3),
)
def test_plateau(values, patience, mode, rtol, atol, cooldown, window):
    settings = (0.5, patience, mode, rtol, atol, cooldown, 0.1, window)
    schedule = funcopt.on_plateau(
        0.5,
        patience,
        mode=mode,
        rtol=rtol,
        atol=atol,
        cooldown=cooldown,
        min_scale=0.1,
        window=window,
    )
    np.testing.assert_allclose(scales(schedule, values), plateau(values, *settings), rtol=1e-6)


def test_a_negative_metric_that_stops_improving_is_a_plateau():
    """The rule of optax, (1 − rtol) best, takes every value near a negative best for better."""
    assert scales(funcopt.on_plateau(0.1, patience=2), [-1.0] * 8)[-1] < 0.11


def newbob(values, factor, threshold, patience):
    last, bad, scale, out = math.inf, 0, 1.0, []
    for value in values:
        if math.isfinite(value):
            if math.isfinite(last) and last - value < threshold * abs(last):
                bad += 1
                if bad > patience:
                    scale, bad = scale * factor, 0
            last = value
        out.append(scale)
    return out


@settings(max_examples=40)
@given(METRICS, st.integers(0, 2))
def test_newbob(values, patience):
    expected = newbob(values, 0.5, 0.125, patience)
    actual = scales(funcopt.on_newbob(0.5, 0.125, patience), values)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def bold_driver(values, growth, factor, low, high):
    last, scale, out = math.inf, 1.0, []
    for value in values:
        if math.isfinite(value):
            if math.isfinite(last):
                scale = min(max(scale * (factor if value > last else growth), low), high)
            last = value
        out.append(scale)
    return out


@settings(max_examples=40)
@given(METRICS)
def test_bold_driver(values):
    schedule = funcopt.on_bold_driver(1.25, 0.5, min_scale=0.1, max_scale=2.0)
    expected = bold_driver(values, 1.25, 0.5, 0.1, 2.0)
    np.testing.assert_allclose(scales(schedule, values), expected, rtol=1e-6)


def greedy(values, factor, patience, low, high):
    best, good, bad, scale, out = math.inf, 0, 0, 1.0, []
    for value in values:
        if math.isfinite(value):
            if value < best:
                best, good, bad = value, good + 1, 0
            else:
                good, bad = 0, bad + 1
            if good > patience:
                scale, good = min(scale / factor, high), 0
            if bad > patience:
                scale, bad = max(scale * factor, low), 0
        out.append(scale)
    return out


@settings(max_examples=40)
@given(METRICS, st.integers(0, 2))
def test_greedy(values, patience):
    schedule = funcopt.on_greedy(0.5, patience, rtol=0.0, min_scale=0.1, max_scale=4.0)
    expected = greedy(values, 0.5, patience, 0.1, 4.0)
    np.testing.assert_allclose(scales(schedule, values), expected, rtol=1e-6)


def test_abel_acts_when_the_norm_has_turned_twice():
    norms = [4.0, 3.0, 2.0, 3.0, 4.0, 3.0, 2.0, 3.0, 2.0]
    np.testing.assert_allclose(
        scales(funcopt.on_abel(0.1), norms), [1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01], rtol=1e-6
    )


def abel(norms, factor, total_steps, low):
    last, change, reached_minimum, scale, out = math.inf, 0.0, False, 1.0, []
    for t, norm in enumerate(norms):
        if math.isfinite(norm):
            new = norm - last if math.isfinite(last) else 0.0
            if new * change < 0:
                if reached_minimum:
                    scale = max(scale * factor, min(scale, low))
                reached_minimum = not reached_minimum
            last, change = norm, new or change
        over = total_steps is not None and t >= math.floor(0.85 * total_steps + 1e-9)
        out.append(max(scale * factor, min(scale, low)) if over else scale)
    return out


@settings(max_examples=40)
@given(METRICS, st.sampled_from([None, 7, 20, 39, 40]))
def test_abel(values, total_steps):
    schedule = funcopt.on_abel(0.5, total_steps, min_scale=0.2)
    expected = abel(values, 0.5, total_steps, 0.2)
    np.testing.assert_allclose(scales(schedule, values), expected, rtol=1e-6)


@pytest.mark.parametrize("total_steps", [1, 19, 20, 21, 100, 16_777_217, 2**31 - 1])
def test_the_last_decay_of_abel_comes_at_its_step(total_steps):
    schedule, boundary = funcopt.on_abel(0.1, total_steps), 17 * total_steps // 20
    before, at = (float(schedule.at(jnp.int32(boundary + i), schedule.init())) for i in (-1, 0))
    assert (before, at) == (1.0, np.float32(0.1))


def autodrop(angles, factor, threshold, wait, most, low):
    last, waited, scale, out = math.inf, 0, 1.0, []
    for angle in angles:
        if math.isfinite(angle):
            if waited or abs(angle - last) < threshold:
                waited += 1
            if waited == wait:
                scale, waited = max(scale * factor, min(scale, low)), 0
                threshold = min(threshold / factor, most)
            last = angle
        out.append(scale)
    return out


@settings(max_examples=40)
@given(METRICS, st.sampled_from([0.5, 1.5]), st.integers(1, 3))
def test_autodrop(values, threshold, wait):
    schedule = funcopt.on_autodrop(0.5, threshold, wait, max_threshold=2.5, min_scale=0.1)
    expected = autodrop(values, 0.5, threshold, wait, 2.5, 0.1)
    np.testing.assert_allclose(scales(schedule, values), expected, rtol=1e-6)


def angle_in_float64(x, y, z):
    x, y, z = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(p)]) for p in (x, y, z))
    u, v = x.astype(np.float64) - y, y.astype(np.float64) - z
    return np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1, 1)))


def test_angular_velocity():
    draw = np.random.default_rng(0).standard_normal
    points = [
        {"w": draw((4, 3)).astype(np.float32), "b": draw(5).astype(np.float32)} for _ in "xyz"
    ]
    angle = float(funcopt.angular_velocity(*points))
    np.testing.assert_allclose(angle, angle_in_float64(*points), rtol=1e-5)

    at = lambda *point: jnp.asarray(point, jnp.float32)  # noqa: E731
    straight = funcopt.angular_velocity(at(3.0, 0.0), at(1.0, 0.0), at(0.0, 0.0))
    back = funcopt.angular_velocity(at(0.0, 0.0), at(1.0, 0.0), at(0.0, 0.0))
    assert (float(straight), float(back)) == (0.0, 180.0)
    tiny, huge = np.float32(1e-30), np.float32(1e30)
    for unit in (tiny, huge):  # whose squares float32 does not hold
        turned = funcopt.angular_velocity(at(unit, unit), at(unit, 0.0), at(0.0, 0.0))
        assert float(turned) == 90.0
    # A thousandth of a degree, which the arccosine of a float32 does not see.
    slight = funcopt.angular_velocity(at(1.0, np.radians(1e-3)), at(0.0, 0.0), at(-1.0, 0.0))
    np.testing.assert_allclose(float(slight), 1e-3, rtol=1e-5)
    assert math.isnan(funcopt.angular_velocity(at(1.0, 0.0), at(1.0, 0.0), at(0.0, 0.0)))
    half = [jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), p) for p in points]
    wide = [jax.tree.map(lambda x: np.asarray(x, np.float32), p) for p in half]
    np.testing.assert_allclose(
        float(funcopt.angular_velocity(*half)), angle_in_float64(*wide), rtol=1e-5
    )


def test_autodrop_drops_where_the_direction_of_training_settles():
    """Noisy descent on a quadratic: straight on at first, then to and fro around the minimum."""
    epoch, goal = 20, jnp.full(50, 3.0)
    tx = funcopt.sgd(0.05 * funcopt.on_autodrop(0.5, threshold=2.0, max_threshold=2.0))

    def one(carry, key):
        params, last, before, state, t = carry
        ends = t % epoch == 0
        angle = jnp.where(ends, funcopt.angular_velocity(params, last, before), jnp.nan)
        last, before = (jnp.where(ends, new, old) for new, old in ((params, last), (last, before)))
        grads = params - goal + jax.random.normal(key, goal.shape)
        updates, state = tx.update(grads, state, params, value=angle)
        carry = (optax.apply_updates(params, updates), last, before, state, t + 1)
        return carry, (angle, funcopt.current_lr(state))

    start = jnp.zeros(50)
    begin = (start, start, start, tx.init(start), jnp.int32(0))
    keys = jax.random.split(jax.random.key(0), 1000)
    angles, rates = map(np.asarray, jax.jit(lambda: jax.lax.scan(one, begin, keys)[1])())
    heard = np.flatnonzero(np.isfinite(angles))
    assert heard.tolist() == list(range(2 * epoch, 1000, epoch))
    expected = autodrop(angles, 0.5, 2.0, 1, 2.0, 0.0)
    np.testing.assert_allclose(rates, 0.05 * np.asarray(expected), rtol=1e-6)
    assert angles[heard[0]] < 45 < 80 < angles[heard[-1]]
    assert rates[-1] < rates[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1.0}, "on_autodrop: factor must be a number in"),
        ({"threshold": 0.0}, "on_autodrop: threshold must be a finite number > 0"),
        ({"threshold": 2.0}, "max_threshold=1.0 must be at least threshold=2.0"),
        ({"threshold": jnp.array([0.5, 2.0])}, "max_threshold=1.0 must be at least"),
        ({"min_scale": -0.1}, "on_autodrop: min_scale"),
        ({"wait": 0}, "on_autodrop: wait must be an integer from 1"),
    ],
)
def test_autodrop_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        funcopt.on_autodrop(**arguments)


@pytest.mark.parametrize("shape", ["1-sqrt", "linear"])
def test_cooldown_begins_on_the_plateau_and_ends_on_time(shape):
    values = [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 1.0, 1.0]
    actual = scales(funcopt.cooldown_on_plateau(4, 1, shape=shape, end_scale=0.2), values)
    x = np.clip(np.arange(10) - 4, 0, 4) / 4  # found at the update of step 4
    w = 1 - (np.sqrt(x) if shape == "1-sqrt" else x)
    np.testing.assert_allclose(actual, w + (1 - w) * 0.2, rtol=1e-6)


LISTENERS = [
    funcopt.on_plateau(0.5, 1),
    funcopt.on_newbob(),
    funcopt.on_bold_driver(),
    funcopt.on_greedy(),
    funcopt.on_abel(),
    funcopt.on_abel(0.5, total_steps=1),
    funcopt.on_autodrop(0.5, 0.5, wait=2),
    funcopt.cooldown_on_plateau(10),
    funcopt.cosine_decay_schedule(0.1, 50) * funcopt.on_plateau(0.5, 1),
    0.5 * funcopt.on_plateau().clipped(low=0.1) + 0.1,
    funcopt.on_plateau(0.5, 1).shifted(3),
]
each_listener = pytest.mark.parametrize("schedule", LISTENERS, ids=repr)


@each_listener
def test_is_a_value(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(pickle.loads(pickle.dumps(schedule))) == hash(schedule)
    assert eval(repr(schedule), vars(funcopt)) == schedule
    assert all(isinstance(x, float) for x in jax.tree.leaves(schedule))
    assert schedule.listens


@each_listener
def test_state_keeps_its_types_and_goes_through_vmap(schedule):
    tx = funcopt.adamw(schedule, weight_decay=schedule)
    state = tx.init(PARAMS)
    _, after = tx.update(GRADS, state, PARAMS, value=1.0)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    states = jax.vmap(lambda value: tx.update(GRADS, state, PARAMS, value=value)[1])(
        jnp.arange(3.0)
    )
    for i in range(3):
        alone = tx.update(GRADS, state, PARAMS, value=float(i))[1]
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], states), alone, rtol=1e-6)


@each_listener
def test_without_value_or_with_a_bad_one_the_error_says_what_to_do(schedule):
    tx = funcopt.sgd(schedule)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"value=loss"):
        tx.update(GRADS, state, PARAMS)
    with pytest.raises(ValueError, match=r"scalar, got an array of shape \(2,\)"):
        tx.update(GRADS, state, PARAMS, value=jnp.zeros(2))
    with pytest.raises(TypeError, match="listens to a metric"):
        schedule(0)


@each_listener
def test_no_news_and_a_closed_gate_change_nothing(schedule):
    tx = funcopt.sgd(schedule, momentum=0.9)
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)
    for value in (jnp.nan, jnp.inf, -jnp.inf):
        _, after = tx.update(GRADS, state, PARAMS, value=value)
        chex.assert_trees_all_equal(after.feedback, state.feedback)
    _, after = tx.update(GRADS, state, PARAMS, value=9.0, gate=jnp.bool_(False))
    chex.assert_trees_all_equal(after, state)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (funcopt.on_plateau(0.5), funcopt.on_plateau(0.1, min_scale=0.2)),
        (funcopt.on_newbob(0.5), funcopt.on_newbob(0.3, 0.1)),
        (funcopt.on_bold_driver(), funcopt.on_bold_driver(1.1, 0.7)),
        (funcopt.on_greedy(), funcopt.on_greedy(0.8, rtol=0.1)),
        (funcopt.on_abel(0.5, 9), funcopt.on_abel(0.1, 9, min_scale=0.1)),
        (funcopt.on_autodrop(), funcopt.on_autodrop(0.5, 0.2)),
        (funcopt.cooldown_on_plateau(9), funcopt.cooldown_on_plateau(9, end_scale=0.1)),
    ],
    ids=lambda schedule: repr(schedule).partition("(")[0],
)
def test_other_numbers_are_the_same_program(one, other):
    traced = []

    @jax.jit
    def start(tx):
        traced.append(1)
        return tx.update(GRADS, tx.init(PARAMS), PARAMS, value=1.0)

    for schedule in (one, other, one * 1.0, other * 0.5):
        start(funcopt.sgd(schedule))
    assert len(traced) == 2  # the factor alone, and its product


def test_one_object_wherever_a_number_can_stand():
    def half():
        return funcopt.on_plateau(0.5, patience=0)

    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0 * half()),
        funcopt.scale(2.0 * half()),
        funcopt.adamw(
            funcopt.linear_warmup(0.1, 2) * half(), b1=0.9 * half(), weight_decay=0.1 * half()
        ),
    )
    wrapped = optax.chain(optax.masked(tx, {"w": True, "b": False}))
    for each in (tx, wrapped):
        state = each.init(PARAMS)
        for _ in range(3):
            _, state = each.update(GRADS, state, PARAMS, value=1.0)
        np.testing.assert_allclose(funcopt.current_lr(state), 0.1 / 4, rtol=1e-6)


RATE = funcopt.warmup_cosine_decay_schedule(0.0, 0.1, 2, 20) * funcopt.on_plateau(0.5, 1)
NEWS = np.array([[3, 2, 2, 2, 2, 2, 2, 2], [1, 2, 3, 4, 3, 2, 1, 0], [8, 7, 6, 5, 4, 3, 2, 1]])


def expected_rates(values):
    """`RATE` at each of the updates that hear `values`, in float64."""
    step = np.arange(len(values))
    cosine = 0.05 + 0.05 * np.cos(np.pi * (step - 2) / 18)
    progress = np.where(step < 2, 0.1 * step / 2, cosine)
    return progress * plateau(values, 0.5, 1, "min", 1e-4, 0.0, 0, 0.0, 1)


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "tx",
    [
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(RATE)),
        optax.partition(
            {"vectors": funcopt.sgd(RATE), "scalars": optax.set_to_zero()},
            {"w": "vectors", "b": "scalars"},
        ),
        optax.chain(optax.masked(funcopt.lion(RATE), {"w": True, "b": False})),
    ],
    ids=["chain", "partition", "masked"],
)
def test_progress_times_performance_in_a_scan_under_vmap(tx):
    def run(values):
        def step(carry, value):
            params, state = carry
            updates, state = tx.update(GRADS, state, params, value=value)
            return (optax.apply_updates(params, updates), state), funcopt.current_lr(state)

        return jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), values)[1]

    rates = jax.jit(jax.vmap(run))(jnp.asarray(NEWS, jnp.float32))
    np.testing.assert_allclose(rates, [expected_rates(row) for row in NEWS], rtol=1e-5)


def test_accumulated_micro_batches_are_one_step_of_warm_up_and_patience():
    """The schedule hears the mean value of each step; in between nothing moves."""
    tx = funcopt.accumulate(funcopt.sgd(RATE), every=3)
    means = NEWS[0]
    values = np.stack([means - 1, means + 3, means - 2], axis=1).ravel()

    def step(state, value):
        _, state = tx.update(GRADS, state, PARAMS, value=value)
        return state, funcopt.current_lr(state)

    rates = jax.lax.scan(step, tx.init(PARAMS), jnp.asarray(values, jnp.float32))[1]
    np.testing.assert_allclose(rates[2::3], expected_rates(means), rtol=1e-5)
    np.testing.assert_array_equal(rates[3::3], rates[2:-1:3])
    np.testing.assert_array_equal(rates[4::3], rates[2:-1:3])


@pytest.mark.default_promotion
def test_accumulated_gradients_count_optimizer_steps():
    tx = optax.MultiSteps(funcopt.sgd(funcopt.linear_schedule(1.0, 0.0, 10)), 4)
    state = tx.init(PARAMS)
    for _ in range(8):
        _, state = tx.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(funcopt.current_lr(state), 0.9, rtol=1e-6)


def test_resumes_exactly():
    tx = funcopt.sgd(funcopt.cosine_decay_schedule(0.1, 50) * funcopt.on_plateau(0.5, 1))
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    def run(state, values):
        for value in values:
            _, state = tx.update(GRADS, state, PARAMS, value=value)
        return state

    whole = run(tx.init(PARAMS), values)
    half = pickle.loads(pickle.dumps(run(tx.init(PARAMS), values[:5])))
    chex.assert_trees_all_equal(run(half, values[5:]), whole)


def test_resumes_exactly_from_orbax(tmp_path):
    """Every schedule that listens, in one rate, half-way through its counts."""
    schedule = funcopt.on_plateau(0.5, 3, cooldown=2, window=2)
    for other in LISTENERS[1:-3]:
        schedule = schedule * other
    tx = funcopt.sgd(0.1 * schedule, momentum=0.9)
    values = jnp.asarray([3, 2, 2.5, 2, 2, 1, 1, 1.5, 1, 1, 2, 1], jnp.float32)

    @jax.jit
    def run(state, values):
        def step(state, value):
            _, state = tx.update(GRADS, state, PARAMS, value=value)
            return state, funcopt.current_lr(state)

        return jax.lax.scan(step, state, values)

    half, _ = run(tx.init(PARAMS), values[:6])
    whole, _ = run(half, values[6:])
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", half)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "checkpoint", jax.eval_shape(tx.init, PARAMS))
    chex.assert_trees_all_equal_shapes_and_dtypes(restored, half)
    resumed, rates = run(restored, values[6:])
    chex.assert_trees_all_equal(resumed, whole)
    assert len(set(rates.tolist())) > 3


def test_arithmetic_of_pure_schedules():
    a, b = funcopt.linear_schedule(1.0, 0.0, 10), funcopt.cosine_decay_schedule(2.0, 5)
    for step in (0, 1, 4, 5, 9, 10, 20):
        np.testing.assert_allclose((a * b)(step), a(step) * b(step), rtol=1e-6)
        np.testing.assert_allclose((a + b + 1)(step), a(step) + b(step) + 1, rtol=1e-6)
        np.testing.assert_allclose(a.shifted(3)(step), a(max(step - 3, 0)), rtol=1e-6)
        np.testing.assert_allclose(b.clipped(0.5, 1.5)(step), np.clip(b(step), 0.5, 1.5), rtol=1e-6)
    assert not (a * b).listens
    with pytest.raises(TypeError, match="schedules or numbers"):
        a * "b"
