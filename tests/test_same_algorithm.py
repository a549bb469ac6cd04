"""Algorithms that are the same where a number is at its end, step by step in float64."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import funcopt
from tests.runs import problem, run

GIVEN = problem().only("matrix").astype("float64")
SAME = {
    "asgd whose rate does not fall steps as sgd does": (
        lambda: funcopt.asgd(0.05, lambd=0.0),
        lambda: funcopt.sgd(0.05),
    ),
    "noisy_sgd is sgd after add_noise": (
        lambda: funcopt.noisy_sgd(0.05, 0.3, 0.5, key=3),
        lambda: funcopt.chain(funcopt.add_noise(0.3, 0.5, key=3), funcopt.sgd(0.05)),
    ),
    "noisy_sgd without noise is sgd": (
        lambda: funcopt.noisy_sgd(0.05, eta=0.0),
        lambda: funcopt.sgd(0.05),
    ),
    "optimistic gradient descent that ignores changes is gradient descent": (
        lambda: funcopt.optimistic_gradient_descent(0.05, beta=0.0),
        lambda: funcopt.sgd(0.05),
    ),
    "optimistic adam that ignores changes is adam": (
        lambda: funcopt.optimistic_adam_v2(0.05, beta=0.0, nesterov=False),
        lambda: funcopt.adam(0.05),
    ),
    "simplified_ademamix is ademamix whose fast mean is the gradient": (
        lambda: funcopt.simplified_ademamix(0.05, b1=0.9, b2=0.95, alpha=2.0),
        lambda: funcopt.ademamix(0.1, b1=0.0, b2=0.95, b3=0.9, alpha=5.0),
    ),
    "adamaxw without decay is adamax": (
        lambda: funcopt.adamaxw(0.05, weight_decay=0.0),
        lambda: funcopt.adamax(0.05),
    ),
    "laprop without momentum is adam without momentum": (
        lambda: funcopt.laprop(0.05, b1=0.0, b2=0.95, eps=1e-4),
        lambda: funcopt.adam(0.05, b1=0.0, b2=0.95, eps=1e-4),
    ),
    "ademamix without its slow mean is adamw": (
        lambda: funcopt.ademamix(0.05, alpha=0.0, weight_decay=0.1, warmup_steps=9),
        lambda: funcopt.adamw(0.05, weight_decay=0.1),
    ),
    "adan that does not look ahead is adam": (
        lambda: funcopt.adan(0.05, b1=0.9, b2=0.0, b3=0.95),
        lambda: funcopt.adam(0.05, b1=0.9, b2=0.95),
    ),
    "radam that never trusts its second moment is gradient descent": (
        lambda: funcopt.radam(0.05, b1=0.0, threshold=1e9),
        lambda: funcopt.sgd(0.05),
    ),
    "signum without memory is sign_sgd": (
        lambda: funcopt.signum(0.05, beta=0.0),
        lambda: funcopt.sign_sgd(0.05),
    ),
    "signum is lion with equal betas": (
        lambda: funcopt.signum(0.05, beta=0.8),
        lambda: funcopt.lion(0.05, b1=0.8, b2=0.8, weight_decay=0.0),
    ),
    "sign_sgd is adam without memory": (
        lambda: funcopt.sign_sgd(0.05),
        lambda: funcopt.adam(0.05, b1=0.0, b2=0.0, eps=0.0),
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_same_steps(what):
    with jax.enable_x64(True):
        one, other = (run(make(), GIVEN).params["matrix"] for make in SAME[what])
    assert np.abs(other - GIVEN.p0["matrix"]).max() > 0
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * np.abs(other).max())


def test_rprop_of_one_size_is_sign_sgd_where_signs_stay():
    grads = {leaf: np.abs(g) for leaf, g in GIVEN.grads.items()}
    positive = GIVEN._replace(grads=grads)
    with jax.enable_x64(True):
        one = run(funcopt.rprop(0.05, min_step_size=0.05, max_step_size=0.05), positive)
        other = run(funcopt.sign_sgd(0.05), positive)
    np.testing.assert_allclose(one.params["matrix"], other.params["matrix"], rtol=1e-13)
