"""FTRL-Proximal: what it is where its penalties are not felt, and what they do."""

import jax
import jax.numpy as jnp
import numpy as np

import funcopt


def run(tx, grads, params):
    def body(carry, g):
        carry = funcopt.step(tx, g, carry[1], carry[0])
        return carry, carry[0]

    return jax.lax.scan(body, (params, tx.init(params)), grads)[1]


GRADS = jnp.asarray(np.random.default_rng(0).normal(0.3, 1.0, (40, 6)), jnp.float32)


def test_without_penalties_it_is_adagrad():
    """From 0 on: the leader of what AdaGrad has been linearized by is AdaGrad's next point."""
    start = jnp.zeros(6)
    leader = run(funcopt.ftrl(0.5, beta=0.0), GRADS, start)
    tx = funcopt.adagrad(0.5, initial_accumulator_value=0.0, eps=0.0)
    np.testing.assert_allclose(leader, run(tx, GRADS, start), rtol=2e-5, atol=2e-6)


def test_what_adds_up_to_less_than_the_penalty_is_exactly_zero():
    grads = jnp.concatenate([1e-2 * GRADS[:, :3], GRADS[:, 3:] + 2], axis=1)
    ends = run(funcopt.ftrl(0.5, l1=1.0), grads, jnp.zeros(6))[-1]
    assert not np.any(ends[:3])
    assert np.all(ends[3:])


def test_it_ends_at_the_minimum_of_the_penalized_loss():
    """On |x − target|² / 2 a step, the leader has seen as many of these as there were steps."""
    target = jnp.array([1.0, -2.0, 0.3])
    tx = funcopt.ftrl(1.0, l1=50.0)

    def body(carry, _):
        x, state = carry
        return funcopt.step(tx, x - target, state, x), None

    start = jnp.zeros(3)
    (x, _), _ = jax.lax.scan(body, (start, tx.init(start)), None, 100)
    sums = np.abs(np.asarray(target)) * 100
    assert np.array_equal(np.asarray(x) == 0, sums <= 50)


def test_steps_at_a_rate_of_zero_leave_no_trace():
    warm = funcopt.ftrl(lambda step: jnp.where(step < 3, 0.0, 0.5), l1=0.1)
    start = jnp.zeros(6)
    late = run(warm, GRADS, start)
    np.testing.assert_array_equal(late[:3], jnp.zeros((3, 6)))
    np.testing.assert_allclose(late[3:], run(funcopt.ftrl(0.5, l1=0.1), GRADS[3:], start), 1e-6)
