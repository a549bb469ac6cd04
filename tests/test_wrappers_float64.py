"""In double precision wrappers decide, keep and report in double precision, at any scale."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.averaging.schedule_free_radam import rectified

SCALES = np.array([1e-60, 1.0, 1e60])
STEPS = 8

FREE = {
    "guard": lambda: funcopt.guard(funcopt.scale_by_adam(eps=0.0)),
    "guard, updates checked": lambda: funcopt.guard(funcopt.trace(0.9), check_updates=True),
    "accumulate": lambda: funcopt.accumulate(funcopt.scale_by_adam(eps=0.0), 2),
    "rollback": lambda: funcopt.rollback(funcopt.scale_by_adam(eps=0.0), every=3, patience=1),
    "loss_scale": lambda: funcopt.loss_scale(funcopt.scale_by_adam(eps=0.0), init_scale=1.0),
    "schedule_free": lambda: funcopt.schedule_free_adamw(0.1, warmup_steps=7, eps=0.0),
    "schedule_free_radam": lambda: funcopt.schedule_free_radam(0.1, eps=1e-300),
    "mechanize": lambda: funcopt.mechanize(funcopt.adam(1.0, eps=0.0), eps=1e-300),
    "hypergradient": lambda: funcopt.hypergradient(funcopt.scale_by_adam(eps=0.0)),
}
"""Their steps do not depend on the scale of gradients, or in proportion to it (`trace`)."""


def run(tx: Any, scale: Any, dtype: Any) -> Any:
    grads = np.random.default_rng(0).standard_normal((STEPS, 3))
    grads[5] = np.nan if "schedule" not in repr(tx) and "mechanize" not in repr(tx) else 1.0
    grads[5] = 1.0 if "hypergradient" in repr(tx) else grads[5]
    start = jnp.zeros(3, dtype), tx.init(jnp.ones(3, dtype))

    def step(carry: Any, grad: Any) -> Any:
        grad = (grad * scale).astype(dtype)
        carry = funcopt.step(tx, grad, carry[1], carry[0], value=grad[0])
        return carry, carry[0]

    return jax.lax.scan(step, start, jnp.asarray(grads))


@pytest.mark.parametrize("name", FREE)
def test_free_of_scale_and_wide_throughout(name):
    with jax.enable_x64(True):
        tx = FREE[name]()
        (_, state), path = jax.jit(jax.vmap(lambda s: run(tx, s, jnp.float64)))(SCALES)
        path = np.asarray(path) / (SCALES[:, None, None] if "updates" in name else 1)
        kept = {
            x.dtype.name for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)
        }
        finite = [bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(state)]
    assert kept == {"float64"}
    assert all(finite)
    assert np.abs(path[:, -1]).max() > 0
    for each in (path[0], path[2]):
        np.testing.assert_allclose(each, path[1], rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("name", ["guard", "accumulate", "rollback", "loss_scale"])
def test_single_precision_stays_single(name):
    with jax.enable_x64(True):
        _, state = jax.eval_shape(lambda: run(FREE[name](), 1.0, jnp.float32)[0])
        kept = {
            x.dtype.name for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)
        }
    assert kept == {"float32"}


def test_spikes_beyond_the_range_of_single_precision():
    """A norm that float32 cannot hold is no less a spike, also beside float32 parameters."""
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            tx = funcopt.guard(funcopt.sgd(1.0))
            params = jnp.zeros(3, dtype)
            state = tx.init(params)
            update = jax.jit(tx.update)
            for size in (1e-3, 1e-3, 1e45, 1e-60):
                updates, state = update(jnp.full(3, size), state, params)
                assert bool(updates.any()) == (size == 1e-3 or (size < 1 and dtype == jnp.float64))
            assert (int(state.spikes), int(state.nonfinite)) == (1, 0)
            assert bool(jnp.isfinite(state.grad_norm))


def test_small_differences_of_losses_reach_what_is_inside():
    with jax.enable_x64(True):
        tx = funcopt.accumulate(funcopt.identity(), 2)
        state, params = tx.init(jnp.zeros(1)), jnp.zeros(1)
        for value in (1.0, 1.0 + 2e-12):
            _, state = tx.update(params, state, params, value=jnp.float64(value))
        assert abs(float(state.value.told()) - (1 + 1e-12)) < 1e-15


def test_rectification_in_double_precision():
    """Beside the equation with 50 digits."""
    from decimal import Decimal, getcontext

    getcontext().prec = 50
    b2 = Decimal("0.999")
    infinite = 2 / (1 - b2) - 1
    with jax.enable_x64(True):
        for t in (6, 20, 49, 51, 300, 600, 5000):
            rho = infinite - 2 * t * b2**t / (1 - b2**t)
            expected = (rho - 4) * (rho - 2) * infinite / ((infinite - 4) * (infinite - 2) * rho)
            ours = float(rectified(0.999).body()(jnp.int32(t - 1)))
            assert ours == pytest.approx(float(expected.sqrt()), rel=1e-10)
