"""Lookahead beside optax's, which keeps slow weights beside the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt

TARGET = {"w": np.linspace(-1, 2, 6).reshape(2, 3), "b": np.array([0.5, -3.0])}
START = {"w": np.ones((2, 3)), "b": np.zeros(2)}


def gradient(params):
    return jax.tree.map(lambda x, y: (x - y) * (1 + jnp.abs(y)), params, TARGET)


@pytest.mark.default_promotion  # of optax, which multiplies numbers by flags
@pytest.mark.parametrize("inner", [funcopt.sgd(0.1, momentum=0.9), funcopt.adam(0.1)])
@pytest.mark.parametrize(
    ("period", "share", "reset"),
    [(1, 0.5, False), (4, 0.3, False), (5, 1.0, False), (3, 0.3, True)],
)
def test_it_is_optax_with_the_slow_weights_in_the_state(inner, period, share, reset):
    with jax.enable_x64(True):
        ours = funcopt.lookahead(inner, period, share, reset_state=reset)
        theirs = optax.lookahead(inner, period, share, reset_state=reset)
        params = jax.tree.map(jnp.asarray, START)
        pair = optax.LookaheadParams.init_synced(params)
        state, their_state = ours.init(params), theirs.init(pair)
        for _ in range(2 * period + 3):
            updates, their_state = theirs.update(gradient(pair.fast), their_state, pair)
            pair = optax.apply_updates(pair, updates)
            params, state = funcopt.step(ours, gradient(params), state, params)
            slow = funcopt.eval_params(ours, state, params)
            for a, b in ((params, pair.fast), (slow, pair.slow)):
                jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), a, b)


def test_a_skipped_step_is_none_of_the_period():
    tx = funcopt.guard(funcopt.lookahead(funcopt.sgd(0.1), sync_period=2))
    good, bad = {"x": jnp.ones(2)}, {"x": jnp.full(2, jnp.nan)}
    params, state = good, tx.init(good)
    for grads in (good, bad, good):
        params, state = funcopt.step(tx, grads, state, params)
    np.testing.assert_allclose(params["x"], 0.9, rtol=1e-6)


def test_a_state_is_begun_anew_where_weights_are_synchronized():
    """Once for each synchronization that counts, and at the weights that come of it."""
    base = funcopt.dog(1.0)
    tx = funcopt.guard(funcopt.lookahead(base, sync_period=2, reset_state=True))
    good, bad = {"x": jnp.ones(2)}, {"x": jnp.full(2, jnp.nan)}
    params, state = good, tx.init(good)
    for grads, count in ((good, 1), (bad, 1), (good, 0), (bad, 0), (good, 1)):
        before = params
        params, state = funcopt.step(tx, grads, state, params)
        inner = state.inner.inner
        assert int(inner.count) == count
        assert jax.tree.map(jnp.shape, inner) == jax.tree.map(jnp.shape, base.init(params))
    np.testing.assert_array_equal(inner.init_params["x"], before["x"])


def test_a_share_of_one_is_the_optimizer_alone():
    alone, tx = funcopt.adam(0.1), funcopt.lookahead(funcopt.adam(0.1), 3, 1.0)
    params = others = jax.tree.map(jnp.float32, START)
    state, other_state = tx.init(params), alone.init(params)
    for _ in range(7):
        params, state = funcopt.step(tx, gradient(params), state, params)
        others, other_state = funcopt.step(alone, gradient(others), other_state, others)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), params, others)
