"""What looks at a model takes a whole one, and batches from a loader."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import funcopt

MLP = eqx.nn.MLP(4, "scalar", 8, 2, jax.nn.relu, key=jax.random.key(0))
X = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


def loss(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


BATCH = X, X[:, 0]


def test_diagnose_init_of_a_whole_model_and_a_loader():
    arrays, rest = eqx.partition(MLP, eqx.is_inexact_array)
    alone = funcopt.diagnose_init(lambda p, b: loss(eqx.combine(p, rest), b), arrays, BATCH)
    for batch in (BATCH, (pair for pair in [BATCH, None])):
        whole = funcopt.diagnose_init(loss, MLP, batch)
        assert whole.readings.layers == alone.readings.layers
        assert str(whole) == str(alone)
    with pytest.raises(ValueError, match="gave no batch"):
        funcopt.diagnose_init(loss, MLP, iter(()))


def test_diagnose_init_of_a_loss_with_a_key():
    model = eqx.nn.Sequential([eqx.nn.Linear(4, 4, key=jax.random.key(1)), eqx.nn.Dropout(0.5)])

    def noisy(model, batch, key):
        keys = jax.random.split(key, len(batch[0]))
        return jnp.mean(jax.vmap(model)(batch[0], key=keys) ** 2)

    assert funcopt.diagnose_init(noisy, model, BATCH).verdict == "healthy"


def test_health_of_a_whole_model():
    tx = funcopt.monitor(funcopt.sgd(0.1), every=1)
    arrays = eqx.filter(MLP, eqx.is_inexact_array)
    grads = jax.tree.map(jnp.ones_like, arrays)
    _, state = jax.jit(lambda arrays: funcopt.step(tx, grads, tx.init(arrays), arrays))(arrays)
    assert str(funcopt.health(state, MLP)) == str(funcopt.health(state, arrays))
    assert len(funcopt.health(state, MLP).readings.layers) == 6
    with pytest.raises(ValueError, match="Give the parameters that the state was made for"):
        funcopt.health(state, MLP.layers[0])


def test_filter_jit_compiles_rates_once():
    """A Python float is a constant there, an array is not."""
    traces = []

    @eqx.filter_jit
    def train_step(tx, params, state):
        traces.append(tx)
        return funcopt.step(tx, params, state, params)

    params = jnp.ones(2)
    for rate in (0.1, 0.2, 0.3):
        tx = funcopt.adam(rate)
        assert type(tx.arguments["learning_rate"]) is float
        moved, _ = train_step(tx, params, tx.init(params))
        np.testing.assert_allclose(moved, 1 - rate, rtol=1e-5)
    assert len(traces) == 1
    assert repr(jax.tree.leaves(tx)) == "[0.3, 0.9, 0.999, 1e-08, 0.0]"
    doubled = jax.tree.map(lambda x: 2 * x, tx)
    assert repr(doubled.arguments["learning_rate"]) == "0.6"


class Noisy(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(4, 1, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


def test_health_of_a_module_of_flax_that_has_keys_too():
    model = Noisy(nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    state = funcopt.monitor(funcopt.sgd(0.1)).init(params)
    assert len(funcopt.health(state, model).readings.layers) == 2
