"""Primal averaging and looking ahead: what they are at the ends, and where they are evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.reference.gpa import ema_nesterov_sgd, gpa_sgd

RANDOM = np.random.default_rng(5)
START = RANDOM.standard_normal((3, 4))
GRADS = RANDOM.standard_normal((15, 3, 4))
RATE, MU = 0.3, 0.8


def path(tx, evaluated=False, dtype=jnp.float64):
    with jax.enable_x64(True):

        def step(carry, g):
            params, state = funcopt.step(tx, g, carry[1], carry[0])
            return (params, state), funcopt.eval_params(tx, state, params) if evaluated else params

        start = jnp.asarray(START, dtype)
        carry = start, tx.init(start)
        return np.asarray(jax.lax.scan(step, carry, jnp.asarray(GRADS, dtype))[1], np.float64)


SGD = funcopt.sgd(RATE)
SAME = {
    "equal numbers: Nesterov": (
        funcopt.gpa(SGD, MU, MU),
        funcopt.sgd((1 - MU) * RATE, momentum=MU, nesterov=True),
    ),
    "mu_y = 1: heavy ball": (funcopt.gpa(SGD, MU, 1.0), funcopt.sgd((1 - MU) * RATE, momentum=MU)),
    "mu_x = 0: the base": (funcopt.gpa(funcopt.adamw(RATE), 0.0), funcopt.adamw(RATE)),
    "mu_x = None: schedule-free": (
        funcopt.gpa(SGD, None, 0.9),
        funcopt.schedule_free(SGD, b1=0.9),
    ),
    "mu_x of a constant rate: schedule-free": (
        funcopt.gpa(SGD, lambda step: 1 - 1 / (jnp.asarray(step, float) + 1), 0.9),
        funcopt.schedule_free(SGD, b1=0.9),
    ),
    "the last step alone: Nesterov": (
        funcopt.ema_nesterov(SGD, MU, decay=0.0),
        funcopt.sgd(RATE, momentum=MU, nesterov=True),
    ),
    "no look ahead: the base": (
        funcopt.ema_nesterov(funcopt.adamw(RATE), 0.0),
        funcopt.adamw(RATE),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_they_are_at_the_ends(name):
    ours, other = SAME[name]
    np.testing.assert_allclose(path(ours), path(other), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("tx", "reference"),
    [
        (funcopt.gpa(SGD, 0.9, 0.7), gpa_sgd),
        (funcopt.ema_nesterov(SGD, 0.5, 0.9), ema_nesterov_sgd),
        (funcopt.guard(funcopt.chain(funcopt.gpa(SGD, 0.9))), gpa_sgd),
        (funcopt.partition({"": funcopt.ema_nesterov(SGD, decay=0.9)}), ema_nesterov_sgd),
    ],
)
def test_where_they_are_evaluated(tx, reference):
    p, slots, expected = START, None, []
    for t, g in enumerate(GRADS, 1):
        p, slots = reference(p, g, slots, t, RATE)
        expected.append(slots["x"])
    np.testing.assert_allclose(path(tx, evaluated=True), expected, rtol=1e-12, atol=1e-13)


def test_an_average_beside_bfloat16_parameters_is_in_float32():
    """Its steps are 1 - mu_x of the way, which the parameters would round away.

    These are between it and the base's, as near as they can say it.
    """
    tx = funcopt.gpa(funcopt.sgd(1e-3), 0.999, 0.9)
    start, grads = jnp.ones(8, jnp.bfloat16), jnp.ones(8, jnp.bfloat16)

    def step(carry, _):
        return funcopt.step(tx, grads, carry[1], carry[0]), None

    (y, state), _ = jax.lax.scan(step, (start, tx.init(start)), None, 500)
    x, z = 1.0, 1.0
    for _ in range(500):
        z -= 1e-3
        x = 0.999 * x + 0.001 * z
    np.testing.assert_allclose(state.slots.x, x, rtol=1e-5)
    np.testing.assert_allclose(y.astype(jnp.float32), 0.9 * x + 0.1 * z, rtol=2**-8)


def test_the_base_of_gpa_decays_its_own_sequence():
    tx = funcopt.gpa(funcopt.adamw(0.5, weight_decay=0.5), 0.9, 0.5)
    params = jnp.array([4.0])
    state = tx.init(params)
    for _ in range(3):
        params, state = funcopt.step(tx, jnp.zeros(1), state, params)
    np.testing.assert_allclose(state.z, [4 * 0.75**3], rtol=1e-6)


def test_a_skipped_step_leaves_everything():
    for tx in (funcopt.gpa(SGD), funcopt.ema_nesterov(SGD)):
        tx = funcopt.guard(tx)
        params, state = funcopt.step(tx, jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
        again, after = funcopt.step(tx, jnp.array([jnp.nan, 1.0]), state, params)
        np.testing.assert_array_equal(again, params)
        jax.tree.map(np.testing.assert_array_equal, after.inner, state.inner)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: funcopt.gpa(SGD, 1.0), r"mu_x must be a number in \[0, 1\)"),
        (lambda: funcopt.gpa(SGD, mu_y=0.0), r"mu_y must be a number in \(0, 1\]"),
        (lambda: funcopt.gpa(SGD, None, 1.0), r"b1 must be a number in \(0, 1\)"),
        (lambda: funcopt.gpa(funcopt.sgd), "base_optimizer must be a gradient transformation"),
        (lambda: funcopt.ema_nesterov(SGD, -1.0), "look_ahead must be a finite number >= 0"),
        (lambda: funcopt.ema_nesterov(SGD, decay=1.0), r"decay must be a number in \[0, 1\)"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_an_update_without_parameters_is_refused():
    for tx in (funcopt.gpa(SGD), funcopt.ema_nesterov(SGD)):
        with pytest.raises(ValueError, match="needs the parameters"):
            tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
