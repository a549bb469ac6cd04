"""Adam-atan2: what has no eps."""

import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

PARAMS = jnp.array([1.0, -2.0, 0.5])
GRADS = [jnp.array([0.3, -1.0, 2.0]), jnp.array([0.1, 1.5, -0.5])]


def way(tx, scale=1.0):
    state, out = tx.init(PARAMS), []
    for g in GRADS:
        updates, state = tx.update(scale * g, state, PARAMS)
        out.append(updates)
    return jnp.stack(out)


def test_the_first_step_is_adams():
    """There both moments are the gradient's, and the angle is that of the diagonal."""
    ours, adam = funcopt.adam(0.1, atan2=True), funcopt.adam(0.1, eps=0.0)
    np.testing.assert_allclose(way(ours)[0], way(adam)[0], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_the_unit_of_gradients_is_not_felt(scale):
    tx = funcopt.adamw(0.1, atan2=True)
    np.testing.assert_allclose(way(tx, scale), way(tx), rtol=1e-5)


def test_a_step_is_at_most_two_rates_long():
    """After zeros, a gradient is Adam's step over √(1 − b2): here 30 rates long."""
    tx = funcopt.adam(1.0, b1=0.0, b2=0.999, atan2=True, bias_correction=False)
    state = tx.init(PARAMS)
    updates, _ = tx.update(GRADS[0], state, PARAMS)
    assert np.all(np.abs(updates) < 2)
    assert np.all(np.abs(updates) > 1.9)


@pytest.mark.parametrize(
    "given", [{"eps": 1e-6}, {"eps_root": 1e-8}, {"nesterov": True}], ids=lambda x: next(iter(x))
)
def test_what_has_no_meaning_beside_it_is_refused(given):
    with pytest.raises(ValueError, match=r"adam: .*atan2=True"):
        funcopt.adam(0.1, atan2=True, **given)
