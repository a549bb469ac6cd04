"""Projections after a step: against NumPy, by path, in jit, and beside what skips steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

RANDOM = np.random.default_rng(4)
START = {"kernel": RANDOM.standard_normal((3, 4)), "bias": RANDOM.standard_normal(4)}
GRADS = [{leaf: RANDOM.standard_normal(x.shape) for leaf, x in START.items()} for _ in range(9)]


def ball(x):
    """In a ball of radius 1 around zero."""
    return x / jnp.maximum(1.0, jnp.linalg.norm(x)).astype(x.dtype)


def box(x):
    return jnp.clip(x, -0.5, 0.25)


@pytest.mark.parametrize("mask", [None, "kernel"])
def test_a_step_and_then_a_projection(mask):
    with jax.enable_x64(True):
        tx = funcopt.chain(funcopt.sgd(0.3, momentum=0.9), funcopt.project(ball, mask))
        params = jax.tree.map(jnp.asarray, START)
        state, step = tx.init(params), jax.jit(lambda *given: funcopt.step(tx, *given))
        x, trace = dict(START), {leaf: np.zeros_like(p) for leaf, p in START.items()}
        for grads in GRADS:
            params, state = step(jax.tree.map(jnp.asarray, grads), state, params)
            for leaf, g in grads.items():
                trace[leaf] = 0.9 * trace[leaf] + g
                x[leaf] = x[leaf] - 0.3 * trace[leaf]
                if mask in (None, leaf):
                    x[leaf] = x[leaf] / max(1.0, np.linalg.norm(x[leaf]))
                np.testing.assert_allclose(params[leaf], x[leaf], rtol=1e-13)
    assert np.linalg.norm(x["kernel"]) == pytest.approx(1)
    assert (np.linalg.norm(x["bias"]) > 1.5) == (mask is not None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_lands_at_zero_exactly_and_elsewhere_within_a_rounding(dtype):
    x = jnp.asarray(10 ** RANDOM.uniform(-6, 6, 1000) * RANDOM.choice([-1, 1], 1000), dtype)
    steps = jnp.asarray(10 ** RANDOM.uniform(-6, 6, 1000), dtype)

    def landed(target):
        tx = funcopt.project(lambda y: jnp.full_like(y, target))
        updates, _ = tx.update(steps, tx.init(x), x)
        return np.asarray(funcopt.apply_updates(x, updates), np.float64)

    np.testing.assert_array_equal(landed(jnp.zeros([], dtype)), 0)
    target = jnp.asarray(0.3, dtype)
    found, eps = landed(target), float(jnp.finfo(dtype).eps)
    ways = np.abs(np.asarray(x, np.float64)) + float(target)
    assert np.all(np.abs(found - float(target)) <= eps * ways)
    near = (np.asarray(x, np.float64) <= 0.6) & (np.asarray(x, np.float64) >= 0.15)
    np.testing.assert_array_equal(found[near], float(target))


def test_a_box_that_holds_all_changes_nothing_but_rounding():
    plain, boxed = funcopt.adam(0.01), funcopt.chain(funcopt.adam(0.01), funcopt.project(wide))
    same = [jax.tree.map(jnp.float32, START)] * 2
    states = [plain.init(same[0]), boxed.init(same[0])]
    for grads in GRADS:
        for i, tx in enumerate((plain, boxed)):
            same[i], states[i] = funcopt.step(
                tx, jax.tree.map(jnp.float32, grads), states[i], same[i]
            )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *same)


def wide(x):
    return jnp.clip(x, -1e3, 1e3)


def test_a_skipped_step_projects_nothing():
    tx = funcopt.guard(funcopt.chain(funcopt.sgd(0.1), funcopt.project(box)))
    params = {"w": jnp.array([3.0, -3.0])}
    bad, good = {"w": jnp.array([jnp.nan, 0.0])}, {"w": jnp.zeros(2)}
    state = tx.init(params)
    after, state = funcopt.step(tx, bad, state, params)
    np.testing.assert_array_equal(after["w"], params["w"])
    after, state = funcopt.step(tx, good, state, after)
    np.testing.assert_array_equal(after["w"], [0.25, -0.5])


def test_evaluated_averages_are_of_projected_points():
    inside = funcopt.chain(funcopt.sgd(1.0), funcopt.project(box))
    tx, params = funcopt.average(inside, kind="uniform"), jnp.array([0.0])
    state = tx.init(params)
    for grad in (-9.0, 9.0):
        params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    np.testing.assert_allclose(funcopt.eval_params(tx, state, params), [-0.125])


def test_a_projection_is_a_part_of_the_value():
    assert funcopt.project(box) == funcopt.project(box) != funcopt.project(ball)
    assert hash(funcopt.project(box)) == hash(funcopt.project(box))


def test_what_is_no_projection():
    with pytest.raises(TypeError, match="projection must be a function of one parameter"):
        funcopt.project(0.5)  # pyright: ignore[reportArgumentType]
    tx = funcopt.project(jnp.sum)
    with pytest.raises(ValueError, match=r"an array of shape \(\) for a parameter of shape \(2,\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))


def test_complex_parameters_have_no_order():
    tx, params = funcopt.keep_params_nonnegative(), jnp.ones(2, complex)
    with pytest.raises(TypeError, match="complex numbers have no order"):
        tx.update(params, tx.init(params), params)


@pytest.mark.parametrize("start", [1.0, 1e-6, 0.0])
def test_nonnegative_parameters_are_never_below_zero(start):
    tx = funcopt.chain(funcopt.adam(0.3), funcopt.keep_params_nonnegative())
    params, state = jnp.full(50, start), tx.init(jnp.full(50, start))
    for _ in range(20):
        grads = jnp.asarray(RANDOM.standard_normal(50), jnp.float32)
        params, state = funcopt.step(tx, grads, state, params)
        assert np.all(np.asarray(params) >= 0)
    assert np.any(np.asarray(params) == 0)
    assert np.any(np.asarray(params) > 0)
