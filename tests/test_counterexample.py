"""Where Adam goes to the worst point: Reddi, Kale & Kumar, 2018, Theorem 1 (arXiv:1904.09237)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

import funcopt

LARGE = 10.0
B2 = 1 / (1 + LARGE**2)


def rate(step):
    return 0.1 / jnp.sqrt(1 + jnp.asarray(step, jnp.float32))


OPTIMIZERS = {
    "adam": funcopt.adam(rate, b1=0.0, b2=B2),
    "amsgrad": funcopt.amsgrad(rate, b1=0.0, b2=B2),
    "adopt": funcopt.adopt(rate, b1=0.0, b2=B2),
}


@pytest.mark.parametrize(("name", "end"), [("adam", 1.0), ("amsgrad", -1.0), ("adopt", -1.0)])
def test_gradients_of_which_every_third_is_large(name, end):
    """On [−1, 1] the losses Cx, −x, −x add up to (C − 2) x, which is least at −1."""
    tx = OPTIMIZERS[name]

    def step(carry, index):
        x, state = carry
        grad = jnp.where(index % 3 == 0, LARGE, -1.0)
        x, state = funcopt.step(tx, grad, state, x)
        return (jnp.clip(x, -1, 1), state), x

    start = jnp.zeros([])
    (x, _), _ = jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), jnp.arange(6000)))()
    assert float(x) == pytest.approx(end, abs=0.05)
