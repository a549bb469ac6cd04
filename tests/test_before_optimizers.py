"""MARS and Grokfast in front of optimizers: what they are without their parts."""

import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

RANDOM = np.random.default_rng(3)
GRADS = jnp.asarray(RANDOM.standard_normal((9, 6)), jnp.float32)


def path(tx):
    params, found = jnp.ones(6), []
    state = tx.init(params)
    for g in GRADS:
        params, state = funcopt.step(tx, g, state, params)
        found.append(params)
    return np.stack(found)


@pytest.mark.parametrize("optimizer", [funcopt.adamw(0.1, b1=0.95), funcopt.lion(0.01)])
def test_without_the_difference_and_the_clip_it_is_the_optimizer(optimizer):
    tx = funcopt.chain(funcopt.mars(0.0, max_norm=float("inf")), optimizer)
    np.testing.assert_array_equal(path(tx), path(optimizer))
    clipped = funcopt.chain(funcopt.clip_by_norm(1.0), optimizer)
    np.testing.assert_array_equal(path(funcopt.chain(funcopt.mars(0.0), optimizer)), path(clipped))


def test_where_gradients_do_not_change_mars_does_not_change_them():
    tx = funcopt.mars(0.5, b1=0.9, max_norm=float("inf"))
    state = tx.init(jnp.zeros(2))
    for _ in range(3):
        updates, state = tx.update(jnp.array([1.0, -2.0]), state)
        np.testing.assert_array_equal(updates, [1.0, -2.0])


def test_without_its_part_grokfast_is_the_optimizer():
    tx = funcopt.chain(funcopt.grokfast(lamb=0.0), funcopt.adamw(0.1))
    np.testing.assert_array_equal(path(tx), path(funcopt.adamw(0.1)))


def test_without_a_memory_grokfast_is_a_longer_gradient():
    tx = funcopt.chain(funcopt.grokfast(alpha=0.0, lamb=2.0), funcopt.sgd(0.1))
    # Parameters of about 1 are rounded at each of nine steps.
    np.testing.assert_allclose(path(tx), path(funcopt.sgd(0.3)), rtol=0, atol=9 * 1.2e-7)
