"""Clips and what stands before an optimizer: against papers, authors' code, and bad inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.math.global_norm import norms_of, square_sums

# -- noise ----------------------------------------------------------------------------------------


def noise(tx):
    return tx.update(jnp.zeros(3), tx.init(jnp.zeros(3)))[0]


def test_seeds_may_be_mapped_over_and_passed():
    tx = funcopt.add_noise(1.0, 0.5, key=jnp.array([1, 2]))
    alone = [noise(funcopt.add_noise(1.0, 0.5, key=seed)) for seed in (1, 2)]
    np.testing.assert_array_equal(jax.vmap(noise, in_axes=(tx.in_axes,))(tx), np.stack(alone))
    np.testing.assert_array_equal(jax.jit(noise)(funcopt.add_noise(1.0, 0.5, key=2)), alone[1])


def test_several_seeds_in_one_run_are_refused():
    with pytest.raises(ValueError, match=r"AddNoise: key has shape \(2,\), but one run takes one"):
        noise(funcopt.add_noise(1.0, 0.5, key=np.array([1, 2])))


# -- spikes ---------------------------------------------------------------------------------------


def test_stable_adamw_recovers_from_a_spike_whose_square_overflows():
    """It goes on as after one that is only just within."""

    def after(spike):
        tx, params = funcopt.stable_adamw(0.01, weight_decay=0.0), jnp.ones(3)

        def step(carry, g):
            return funcopt.step(tx, jnp.full(3, g), carry[1], carry[0]), None

        grads = jnp.array([1.0] * 12 + [spike] + [1.0] * 4)
        return jax.lax.scan(step, (params, tx.init(params)), grads)[0][0]

    np.testing.assert_allclose(after(1e25), after(1e18), rtol=5e-3)


def test_stable_spam_counts_to_the_last_step():
    tx, params = funcopt.stable_spam(0.1, total_steps=2**31 - 1), jnp.ones(3)
    last = jnp.int32(2**31 - 1)
    state = tx.init(params)
    slots = state.slots[0]._replace(entered=last)
    state = state._replace(count=last, slots=(slots, *state.slots[1:]))
    updates, state = tx.update(params, state, params)
    assert np.isfinite(updates).all()
    assert int(state.count) == int(state.entered) == 2**31 - 1


@pytest.mark.parametrize("scale", [1e-25, 1e-3, 1e25])
def test_norms_of_small_leaves_that_are_summed_together(scale):
    """Of each, and of all, also where one is zero and another's squares leave float32."""
    leaves = [scale * np.full(shape, x, np.float32) for x, shape in enumerate([3, (2, 2), 3, 3, 1])]
    norms, whole = norms_of(square_sums(leaves, each=True), jnp.bool_(True))
    expected = [float(np.linalg.norm(x.astype(float).ravel())) for x in leaves]
    np.testing.assert_allclose(norms, expected, rtol=1e-6)
    np.testing.assert_allclose(whole, np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_allclose(funcopt.global_norm(leaves), np.linalg.norm(expected), rtol=1e-6)
    wide = funcopt.global_norm([*leaves, leaves[0].astype(np.float16)])
    np.testing.assert_allclose(wide, np.linalg.norm(expected), rtol=1e-6)
