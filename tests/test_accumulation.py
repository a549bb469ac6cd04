"""What trainers ask of accumulation: weights, a last round that is cut short, rounds that grow."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt


def run(tx: Any, grads: Any, **rows: Any) -> tuple[np.ndarray, Any]:
    """The parameter before the first gradient and after each, and the last state."""
    start = jnp.array(0.0), tx.init(jnp.array(0.0))

    def step(carry: Any, row: Any) -> Any:
        grad, extra = row
        carry = funcopt.step(tx, grad, carry[1], carry[0], **extra)
        return carry, carry[0]

    rows = {name: jnp.asarray(x, jnp.float32) for name, x in rows.items()}
    (_, state), path = jax.jit(lambda g: jax.lax.scan(step, start, (g, rows)))(
        jnp.asarray(grads, jnp.float32)
    )
    return np.concatenate([[0.0], path]), state


def test_the_mean_over_tokens():
    tokens = np.array([3.0, 1.0, 8.0, 0.0, 5.0, 2.0])
    grads = np.array([1.0, 5.0, -2.0, 70.0, 0.5, np.nan])
    path, state = run(funcopt.accumulate(funcopt.sgd(1.0), 3), grads, weight=tokens)
    first, second = np.average(grads[:3], weights=tokens[:3]), grads[4]
    np.testing.assert_allclose(path, [0, 0, 0, -first, -first, -first, -first - second], rtol=1e-6)
    assert (int(state.dropped), int(state.good), int(state.rounds)) == (1, 1, 2)


@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_equal_weights_are_none(weight):
    grads = np.random.default_rng(0).standard_normal(6)
    tx = funcopt.accumulate(funcopt.adam(0.1), 3)
    ours, _ = run(tx, grads, weight=np.full(6, weight))
    np.testing.assert_allclose(ours, run(tx, grads)[0], rtol=1e-6)


def test_bad_weights_drop_their_micro_batch():
    weights = [1.0, -1.0, np.nan, np.inf]
    path, state = run(funcopt.accumulate(funcopt.sgd(1.0), 4), [2.0] * 4, weight=weights)
    assert (path[-1], int(state.dropped)) == (-2.0, 3)


def test_replicas_weigh_alike():
    """Each counts its own tokens; gradients are those of all."""
    tx = funcopt.accumulate(funcopt.sgd(1.0), 2, axis_name="replica")

    def train(tokens: Any) -> Any:
        params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
        for grad, each in zip((4.0, 0.0, 2.0), tokens, strict=True):
            params, state = funcopt.step(tx, jnp.array(grad), state, params, weight=each)
        return params, state.dropped

    tokens = jnp.array([[50.0, 100.0, -1.0], [150.0, 500.0, 9.0]])
    params, dropped = jax.vmap(train, axis_name="replica")(tokens)
    assert params.tolist() == [-1.0, -1.0]
    assert dropped.tolist() == [1, 1]


def test_value_has_the_weights_and_metric_has_none():
    """Each round begins anew, also where its first micro-batch comes without."""
    tx = funcopt.accumulate(funcopt.sgd(1.0), 2)
    value, metric = [4.0, 2.0, 1.0, 3.0], [np.nan, 5.0, 1.0, 2.0]
    _, state = run(tx, [0.0] * 4, value=value, weight=[1.0, 3.0, 3.0, 1.0], metric=metric)
    assert (float(state.value.told()), float(state.metric.told())) == (1.5, 1.5)
    params = jnp.array(0.0)
    state = tx.update(params, state, params)[1]
    state = tx.update(params, state, params, value=9.0)[1]
    assert float(state.value.told()) == 9.0
    with pytest.raises(ValueError, match="value must be a scalar, got an array of shape"):
        tx.update(params, state, params, value=jnp.ones(3))


def test_a_schedule_that_listens_hears_the_metric_of_a_round():
    tx = funcopt.accumulate(funcopt.sgd(funcopt.on_plateau(0.5, 1, cooldown=0)), 2)
    metric = [np.nan, 1.0, np.nan, 1.0, np.nan, np.nan, 1.0, np.nan]
    _, state = run(tx, [1.0] * 8, value=np.ones(8), metric=metric)
    assert int(state.dropped) == 0
    assert float(funcopt.current_lr(state)) < 1.0


AROUND = {
    "alone": lambda tx: tx,
    "guard": lambda tx: funcopt.guard(tx),
    "rollback(guard)": lambda tx: funcopt.rollback(funcopt.guard(tx)),
    "monitor": lambda tx: funcopt.monitor(tx, every=2),
    "loss_scale": lambda tx: funcopt.loss_scale(tx, init_scale=1.0),
    "chain": lambda tx: funcopt.chain(funcopt.trace(0.9), tx),
}


@pytest.mark.parametrize("name", AROUND)
def test_flush_makes_the_step_of_what_waits(name):
    """It is the step of `every=2`, and nothing around takes it for a micro-batch."""
    tx, short = (AROUND[name](funcopt.accumulate(funcopt.adam(0.1), every)) for every in (4, 2))
    params, state = jnp.array(0.0), tx.init(jnp.array(0.0))
    expected, there = jnp.array(0.0), short.init(jnp.array(0.0))
    update, other = jax.jit(tx.update), jax.jit(short.update)
    for grad in (1.0, 2.0):
        _, state = update(jnp.array(grad), state, params)
        change, there = other(jnp.array(grad), there, expected)
        expected = funcopt.apply_updates(expected, change)
    before = state
    params, state = jax.jit(lambda p, s: funcopt.flush(tx, s, p))(params, state)
    np.testing.assert_allclose(params, expected, rtol=1e-6)
    assert float(params) < 0
    assert funcopt.current_lr(state) == funcopt.current_lr(there)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    again, state = funcopt.flush(tx, state, params)
    assert again == params


def test_the_last_micro_batch_may_say_that_it_is():
    tx = funcopt.guard(funcopt.accumulate(funcopt.sgd(1.0), 4))
    path, state = run(tx, [1.0, 3.0, 5.0, 5.0], flush=[0.0, 1.0, 0.0, 1.0])
    assert path.tolist() == [0.0, 0.0, -2.0, -2.0, -7.0]
    assert int(state.inner.rounds) == 2


def test_flush_leaves_other_groups_and_what_is_no_parameter_alone():
    groups = {"weight": funcopt.accumulate(funcopt.sgd(1.0), 4), "": funcopt.sgd(0.1, momentum=0.9)}
    tx = funcopt.partition(groups)
    model = eqx.nn.Linear(2, 2, key=jax.random.PRNGKey(0))
    params = eqx.filter(model, eqx.is_inexact_array)
    params, state = funcopt.step(tx, jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    model = eqx.combine(params, model)
    flushed, _ = funcopt.flush(tx, state, model)
    np.testing.assert_array_equal(flushed.bias, model.bias)
    np.testing.assert_allclose(flushed.weight, model.weight - 1, rtol=1e-6)
    plain = funcopt.adam(0.1)
    start = plain.init(params)
    assert funcopt.flush(plain, start, params) == (params, start)


def test_rounds_that_grow():
    """After two steps of one micro-batch each, rounds of three."""
    every = funcopt.piecewise_constant_schedule(1.0, {2: 3.0})
    path, state = run(funcopt.accumulate(funcopt.sgd(1.0), every), np.arange(1.0, 9.0))
    assert path.tolist() == [0, -1, -3, -3, -3, -7, -7, -7, -14]
    assert (int(state.rounds), int(state.micro)) == (4, 0)
    with pytest.raises(TypeError, match="every must not listen to a metric, got on_plateau"):
        funcopt.accumulate(funcopt.sgd(1.0), funcopt.on_plateau())
    with pytest.raises(TypeError, match=r"Put the monitor inside: accumulate\(monitor\(tx\), ever"):
        funcopt.monitor(funcopt.accumulate(funcopt.sgd(1.0), every)).init(jnp.array(0.0))


def squares(w, x):
    return jnp.mean((w - x) ** 2)


def test_microbatched_weights_and_aux():
    batches = jnp.array([[1.0, 1.0], [2.0, 4.0], [jnp.nan, 0.0], [9.0, 9.0]])
    weights = jnp.array([3, 1, 5, 0])

    def loss(w, x):
        return squares(w, x), {"size": x.shape[0], "first": x[0]}

    given = jax.value_and_grad(loss, has_aux=True)
    (value, aux), grad = funcopt.microbatched(given, jnp.array(0.0), batches, weights)
    np.testing.assert_allclose(value, (3 * 1.0 + 10.0) / 4)
    np.testing.assert_allclose(grad, (3 * -2.0 - 6.0) / 4)
    assert aux["size"].tolist() == [2, 2, 2, 2]
    np.testing.assert_array_equal(aux["first"], batches[:, 0])
    with pytest.raises(ValueError, match=r"one number for each of the 4 micro-batches, got shape"):
        funcopt.microbatched(given, jnp.array(0.0), batches, weights[:2])
    with pytest.raises(ValueError, match=r"the loss must be a scalar, got shape \(2,\)"):
        funcopt.microbatched(lambda w, x: (x, w), jnp.array(0.0), batches)
