"""`value` is the loss of a step, which is judged; `metric` is what schedules listen to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests import catalog

PARAMS = {"w": jnp.ones(3)}
RATE = 0.1 * funcopt.on_plateau(0.5, patience=1)

LISTENING = {
    "adam": funcopt.adam(RATE),
    "clipped": funcopt.chain(
        funcopt.clip_by_global_norm(1.0 * funcopt.on_plateau(0.5)), funcopt.sgd(RATE)
    ),
    "guard": funcopt.guard(funcopt.adam(RATE)),
    "monitor": funcopt.monitor(funcopt.guard(funcopt.adam(RATE)), every=1),
    "rollback": funcopt.rollback(funcopt.guard(funcopt.adam(RATE))),
    "accumulate": funcopt.accumulate(funcopt.adam(RATE), every=1),
    "loss_scale": funcopt.loss_scale(funcopt.adam(RATE)),
    "partition": funcopt.partition({"w": funcopt.adam(RATE)}),
    "schedule_free": funcopt.schedule_free(funcopt.sgd(RATE)),
    "gpa": funcopt.gpa(funcopt.sgd(RATE)),
    "ema_nesterov": funcopt.ema_nesterov(funcopt.sgd(RATE)),
    "mechanize": funcopt.mechanize(funcopt.sgd(RATE)),
    "prodigy": funcopt.prodigy(RATE),
    "clip_by_norm": funcopt.chain(funcopt.clip_by_norm(1.0), funcopt.adam(RATE)),
}


@pytest.mark.parametrize("name", LISTENING)
def test_a_metric_between_evaluations_skips_no_step(name):
    """One evaluation in five steps: NaN in between is no news, and no bad step."""
    tx = LISTENING[name]

    def step(carry, metric):
        params, state = carry
        scale = funcopt.current_loss_scale(state) if name == "loss_scale" else 1.0
        grads = jax.tree.map(lambda x: x * scale, params)
        carry = funcopt.step(tx, grads, state, params, value=jnp.float32(1.0), metric=metric)
        return carry, funcopt.metrics(carry[1])

    metrics = np.full(20, np.nan, np.float32)
    metrics[::5] = 1.0
    _, said = jax.jit(lambda: jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), metrics))()
    assert not any(np.any(x) for key, x in said.items() if "skipped" in key or "dropped" in key)
    rates = next(x for key, x in said.items() if key.split("/")[-1] == "lr")
    if name not in ("prodigy", "mechanize"):  # they report the rate that they have found
        np.testing.assert_allclose(rates, [0.1] * 10 + [0.05] * 10, rtol=1e-6)


ROWS = [row for row in catalog.ALL if row.scheduled or (row.rate and not row.fixed_rate)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_algorithm_hands_the_metric_to_its_schedules(row):
    """They complain of one that is no scalar: it has reached them."""
    given_rate = row.rate if row.fixed_rate or not row.rate else row.rate * funcopt.on_plateau()
    rate = (given_rate,) if row.rate else ()
    heard = {name: low * funcopt.on_plateau() for name, (low, _) in row.scheduled.items()}
    tx = row.algorithm(*rate, **{**row.kwargs, **heard})
    given = {**row.extra, "value": jnp.float32(1.0), "metric": jnp.zeros(2)}
    with pytest.raises(ValueError, match="metric must be a scalar"):
        jax.eval_shape(lambda p: tx.update(p, tx.init(p), p, **given), PARAMS)


def test_a_value_that_is_not_finite_is_a_bad_step_all_the_same():
    tx = LISTENING["guard"]
    state = tx.init(PARAMS)
    updates, state = tx.update(PARAMS, state, PARAMS, value=jnp.nan, metric=1.0)
    assert bool(state.skipped)
    assert not np.any(updates["w"])


def test_without_a_metric_the_value_is_heard():
    tx = LISTENING["adam"]
    state = tx.init(PARAMS)
    for _ in range(4):
        _, state = tx.update(PARAMS, state, PARAMS, value=1.0)
    assert float(funcopt.current_lr(state)) == pytest.approx(0.05)


def test_a_metric_that_is_no_scalar_is_named():
    tx = LISTENING["adam"]
    with pytest.raises(ValueError, match=r"metric must be a scalar, got an array of shape \(2,\)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0, metric=jnp.zeros(2))
    for wrong in ("0.1", [1.0], True):
        with pytest.raises(TypeError, match="metric must be a number, got"):
            tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1.0, metric=wrong)
