"""MARS in front of optimizers: what it is without its parts."""

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


def test_where_gradients_do_not_change_neither_does_it():
    tx = funcopt.mars(0.5, b1=0.9, max_norm=float("inf"))
    state = tx.init(jnp.zeros(2))
    for _ in range(3):
        updates, state = tx.update(jnp.array([1.0, -2.0]), state)
        np.testing.assert_array_equal(updates, [1.0, -2.0])
