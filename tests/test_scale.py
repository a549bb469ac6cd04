"""The unit in which a loss is measured is nobody's business.

An algorithm that divides gradients by what it has seen of them goes the same way whatever they are
multiplied by, and a clip that compares norms with norms clips the same fraction: from 1e-60 to 1e60
in float64. In float32 what keeps mean squares with a decay of 0.999 begins at 1e-17, since a
thousandth of a smaller square is below the smallest number there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

FOREVER = math.inf
SMALL = 1e-6
"""An eps in units of the gradients, since what is added to them is measured as they are."""

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adagrad": lambda c: funcopt.adagrad(
        0.05, initial_accumulator_value=0.0, eps=SMALL * c, eps_in_sqrt=False
    ),
    "rmsprop": lambda c: funcopt.rmsprop(0.05, eps=SMALL * c, eps_in_sqrt=False),
    "rmsprop centered": lambda c: funcopt.rmsprop(
        0.05, eps=SMALL * c, eps_in_sqrt=False, centered=True
    ),
    "adam": lambda c: funcopt.adam(0.05, eps=SMALL * c),
    "nadam": lambda c: funcopt.nadam(0.05, eps=SMALL * c, variant="pytorch"),
    "adamax": lambda c: funcopt.adamax(0.05, eps=SMALL * c),
    "amsgrad": lambda c: funcopt.amsgrad(0.05, eps=SMALL * c),
    "lion": lambda c: funcopt.lion(0.05),
    "stable_adamw": lambda c: funcopt.stable_adamw(0.05, eps=SMALL * c),
    "adafactor": lambda c: funcopt.adafactor(0.05, 2, eps=0.0, multiply_by_parameter_scale=False),
    "adam_mini": lambda c: funcopt.adam_mini(0.05, eps=SMALL * c),
    "came": lambda c: funcopt.came(0.05, eps=0.0),
    "fromage": lambda c: funcopt.fromage(0.05, min_norm=0.0),
    "lamb": lambda c: funcopt.lamb(0.05, eps=SMALL * c),
    "lars": lambda c: funcopt.lars(0.05, trust_coefficient=0.1),
    "novograd": lambda c: funcopt.novograd(0.05, eps=SMALL * c),
    "sm3": lambda c: funcopt.sm3(0.05, eps=0.0),
    "spam": lambda c: funcopt.spam(0.05, b2=0.99, eps=SMALL * c, threshold=3.0, warmup=4, grace=7),
    "stable_spam": lambda c: funcopt.stable_spam(0.05, eps=0.0, gamma3=0.9),
    "dog": lambda c: funcopt.dog(init_step=("distance", 1e-3), eps=0.0),
    "dowg": lambda c: funcopt.dowg(init_estim_sq_dist=1e-2, eps=SMALL * c),
    "prodigy": lambda c: funcopt.prodigy(betas=(0.9, 0.9), estim_lr0=0.1, eps=SMALL * c),
    "dadapt_sgd": lambda c: funcopt.dadapt_sgd(estim_lr0=1e-2),
    "dadapt_adagrad": lambda c: funcopt.dadapt_adagrad(
        estim_lr0=1e-2, initial_accumulator_value=0.0, eps=SMALL * c
    ),
    "dadapt_adamw": lambda c: funcopt.dadapt_adamw(estim_lr0=0.1, eps=SMALL * c),
    "momo": lambda c: funcopt.momo(0.01 / c),
    "momo_adam": lambda c: funcopt.momo_adam(0.05, eps=SMALL * c),
    "polyak_sgd": lambda c: funcopt.polyak_sgd(0.01 / c),
    "schedule_free_adamw": lambda c: funcopt.schedule_free_adamw(0.05, eps=SMALL * c),
    "hypergradient": lambda c: funcopt.hypergradient(funcopt.scale_by_adam(eps=SMALL * c), 0.05),
    "normalize": lambda c: funcopt.chain(
        funcopt.normalize_by_update_norm(eps=SMALL * c), funcopt.descend(0.05)
    ),
    "shampoo": lambda c: funcopt.shampoo(
        0.05, b2=0.9, eps=1e-2, graft_eps=SMALL * c, precondition_frequency=3
    ),
    "kron": lambda c: funcopt.kron(0.05, damping=SMALL * c, max_skew=2),
    "dion2": lambda c: funcopt.dion2(0.05, 0.5, ns_eps=0.0),
    "adam behind a clip": lambda c: funcopt.chain(
        funcopt.clip_by_global_norm(2.0 * c), funcopt.adam(0.05, eps=SMALL * c)
    ),
}
"""What takes the same steps, as makers of it for gradients in units of c."""

CLIPS: dict[str, Callable[[Any], Any]] = {
    "zscore": lambda c: funcopt.clip_by_zscore(1.0, warmup=5, max_norm=FOREVER, eps=SMALL * c),
    "zscore to the mean": lambda c: funcopt.clip_by_zscore(
        1.0, warmup=5, max_norm=FOREVER, eps=SMALL * c, clip_option="mean"
    ),
    "ema": lambda c: funcopt.clip_by_ema(warmup=7, max_norm=FOREVER),
    "percentile": lambda c: funcopt.clip_by_percentile(50.0),
    "spikes": lambda c: funcopt.clip_spikes(1.5, 0.9, grace=4),
    "orthograd": lambda c: funcopt.orthograd(),
    "centralize": lambda c: funcopt.centralize(),
    "trace": lambda c: funcopt.trace(0.9),
}
"""What gives back updates in units of c."""

RNG = np.random.default_rng(8)
GRADS = RNG.uniform(1, 2, (20, 2, 3)) * RNG.choice([-1, 1], (20, 2, 3))
GRADS[12] *= 3
DTYPES = {"float32": (1e-17, 1e17), "float64": (1e-60, 1e60)}


def updates_of(make, scales, in_units):
    """The updates of a run for each scale, in units of it if they are to be so."""

    def run(c):
        tx, params = make(c), jnp.ones((2, 3), c.dtype)

        def step(carry, g):
            updates, state = tx.update(g * c, carry[1], carry[0], value=2 * c)
            params = carry[0] if in_units else funcopt.apply_updates(carry[0], updates)
            return (params, state), updates / c if in_units else updates

        return jax.lax.scan(step, (params, tx.init(params)), jnp.asarray(GRADS, c.dtype))[1]

    return np.asarray(jax.jit(jax.vmap(run))(scales))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*OPTIMIZERS, *CLIPS])
def test_the_unit_of_gradients_does_not_matter(name, dtype):
    in_units = name in CLIPS
    make = CLIPS[name] if in_units else OPTIMIZERS[name]
    with jax.enable_x64(dtype == "float64"):
        scales = jnp.array([1.0, *DTYPES[dtype]], dtype)
        one, *others = updates_of(make, scales, in_units)
    assert np.isfinite(one).all()
    assert np.abs(one).max() > 0
    for other in others:
        error = np.abs(other - one).max() / np.abs(one).max()
        assert error < (1e-4 if dtype == "float32" else 1e-12), error


FORGETTING = ["stable_adamw", "stable_spam", "adam behind a clip", "zscore", "ema", "percentile"]


@pytest.mark.parametrize("name", [*FORGETTING, "spikes"])
def test_one_spike_is_forgotten(name):
    """What comes after one of 1e25, whose square is no float32, is what comes after one of 1e18."""
    make = {**OPTIMIZERS, **CLIPS}[name]

    def after(spike):
        tx, params = make(1.0), jnp.ones(3)

        def step(carry, g):
            updates, state = tx.update(jnp.full(3, g), carry[1], carry[0])
            return (funcopt.apply_updates(carry[0], updates), state), updates

        grads = jnp.array([1.0, 1.5] * 8).at[11].set(spike)
        return jax.lax.scan(step, (params, tx.init(params)), grads)[1][12:]

    large, huge = jax.jit(jax.vmap(after))(jnp.array([1e18, 1e25]))
    assert np.isfinite(huge).all()
    np.testing.assert_allclose(huge, large, rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("name", [*FORGETTING, "spikes", "dog", "dowg", "dadapt_adagrad", "momo"])
def test_a_finite_spike_leaves_nothing_infinite(name):
    tx, params = {**OPTIMIZERS, **CLIPS}[name](1.0), jnp.ones(3)

    def step(carry, g):
        updates, state = tx.update(jnp.full(3, g), carry[1], carry[0], value=2.0)
        return (funcopt.apply_updates(carry[0], updates), state), None

    grads = jnp.ones(16).at[11].set(1e25)
    end, _ = jax.jit(lambda g: jax.lax.scan(step, (params, tx.init(params)), g))(grads)
    for path, x in jax.tree_util.tree_leaves_with_path(end):
        assert np.isfinite(x).all(), path
