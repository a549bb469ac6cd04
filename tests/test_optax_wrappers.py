"""`funcopt.optax`: `MultiSteps`, `zero_nans`, absent slots, averages, the annotations of NNX."""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
import funcopt.optax as ours

pytestmark = pytest.mark.default_promotion

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
RANDOM = np.random.default_rng(3)
GRADS = [
    {k: jnp.asarray(RANDOM.standard_normal(x.shape), x.dtype) for k, x in PARAMS.items()}
    for _ in range(9)
]
GRADS[4]["b"] = jnp.array([1.0, jnp.nan, 0.0])
GRADS[6]["w"] = jnp.full((2, 3), 100.0)
GROWING = lambda step: jnp.where(step < 2, 1, 3)  # noqa: E731
MULTI = {
    "mean": {"every_k_schedule": 2, "should_skip_update_fn": optax.skip_not_finite},
    "sum": {
        "every_k_schedule": 3,
        "use_grad_mean": False,
        "should_skip_update_fn": partial(optax.skip_large_updates, max_squared_norm=50.0),
    },
    "growing": {"every_k_schedule": GROWING, "should_skip_update_fn": optax.skip_not_finite},
    "half": {
        "every_k_schedule": 2,
        "accumulator_dtype": jnp.bfloat16,
        "should_skip_update_fn": optax.skip_not_finite,
    },
}


def walked(tx: Any, grads: list[Any] = GRADS) -> list[Any]:
    """Parameters and states after every step, compiled."""
    params, state, path = PARAMS, tx.init(PARAMS), []
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, params)
        params = optax.apply_updates(params, updates)
        path.append((params, state, tx.has_updated(state)))
    return path


def assert_same(found: Any, expected: Any, rtol: float = 3e-6) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("how", MULTI)
def test_multi_steps_are_those_of_optax(how):
    rtol = 2e-2 if how == "half" else 3e-6
    found = walked(ours.MultiSteps(ours.adam(0.1), **MULTI[how]))
    expected = walked(optax.MultiSteps(optax.adam(0.1), **MULTI[how]))
    assert_same(found, expected, rtol)
    # What optax wraps is gated from outside.
    assert_same(walked(ours.MultiSteps(optax.adam(0.1), **MULTI[how])), expected, rtol)


def test_multi_steps_without_a_judge_and_under_a_guard():
    grads = GRADS[:4]
    tx = ours.MultiSteps(ours.adam(0.1), 2)
    assert isinstance(tx, optax.MultiSteps)
    assert isinstance(tx.inner_opt, optax.GradientTransformation)
    assert_same(walked(tx, grads), walked(optax.MultiSteps(optax.adam(0.1), 2), grads))
    guarded = funcopt.guard(ours.chain(ours.clip(1.0), tx.gradient_transformation()))
    state = guarded.init(PARAMS)
    _, state = guarded.update(GRADS[0], state, PARAMS)
    _, bad = guarded.update(GRADS[4], state, PARAMS)
    assert int(optax.tree.get(bad, "mini_step")) == 1
    np.testing.assert_array_equal(
        optax.tree.get(bad, "acc_grads")["b"], optax.tree.get(state, "acc_grads")["b"]
    )


def test_multi_steps_refuse_a_judge_that_says_no_boolean():
    tx = ours.MultiSteps(ours.sgd(0.1), 2, should_skip_update_fn=lambda *_: (jnp.ones(2), ()))
    with pytest.raises(ValueError, match=r"boolean scalar array, got float32 of shape \(2,\)"):
        tx.update(GRADS[0], tx.init(PARAMS), PARAMS)


def test_nans_are_counted():
    tx = ours.zero_nans()
    state = tx.init(PARAMS)
    assert isinstance(state, optax.ZeroNansState)
    for g in (GRADS[4], GRADS[4], GRADS[0]):
        updates, state = jax.jit(tx.update)(g, state)
    assert jax.tree.map(int, state.nan_count) == {"b": 2, "w": 0}
    assert jax.tree.map(bool, state.found_nan) == {"b": False, "w": False}
    assert_same(updates, GRADS[0])
    # A checkpoint of optax's own goes on.
    updates, state = tx.update(GRADS[4], optax.zero_nans().init(PARAMS))
    assert jax.tree.map(bool, state.found_nan) == {"b": True, "w": False}
    assert updates["b"].tolist() == [1.0, 0.0, 0.0]
    assert int(state._replace(nan_count={"b": 7, "w": 0}).nan_count["b"]) == 7


def test_what_zero_nans_reports():
    tx = funcopt.zero_nans()
    state = tx.init(PARAMS)
    _, state = tx.update(GRADS[4], state)
    told = funcopt.metrics(state)
    assert (float(told["nans"]), float(told["nan_leaves"])) == (1.0, 1.0)
    updates, state = tx.update(GRADS[0], state, gate=jnp.array(False))
    assert int(state.nan_count["b"]) == 1
    updates, _ = tx.update({"w": jnp.full((2, 3), jnp.inf), "b": -GRADS[4]["b"]}, state)
    assert np.isinf(updates["w"]).all()
    assert updates["b"].tolist() == [-1.0, 0.0, 0.0]


def test_nnx_annotates_slots_as_their_parameters():
    """Flax reads the names of axes of the slots, below optax's names of them."""
    mesh = jax.make_mesh((1, 1), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        init = flax.nnx.with_partitioning(flax.nnx.initializers.ones, sharding=("a", "b"))
        model = flax.nnx.Linear(2, 3, rngs=flax.nnx.Rngs(0), kernel_init=init, use_bias=False)
        optimizer = flax.nnx.Optimizer(model, ours.adamw(0.1), wrt=flax.nnx.Param)
    specs = flax.nnx.get_partition_spec(flax.nnx.state(optimizer))
    assert specs["opt_state"][0]["mu"]["kernel"].get_value() == jax.P("a", "b")


ADAFACTORS = {
    "paper's": {},
    "factored": {"learning_rate": 0.1, "min_dim_size_to_factor": 2},
    "all": {
        "learning_rate": optax.linear_schedule(0.1, 0.0, 9),
        "min_dim_size_to_factor": 2,
        "momentum": 0.9,
        "weight_decay_rate": 0.01,
        "weight_decay_mask": {"w": 1, "b": 0},
    },
}


@pytest.mark.parametrize("how", ADAFACTORS)
def test_adafactor_over_the_state_of_optax(how):
    """Whose slots are arrays of one 0 where a parameter has none."""

    def steps(module: Any) -> Any:
        tx = module.adafactor(**ADAFACTORS[how])
        params, state = PARAMS, tx.init(PARAMS)
        for g in GRADS[:3]:
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    assert_same(steps(ours), steps(optax))
    without = {"w": GRADS[0]["w"], "b": None}
    tx = ours.adafactor(0.1, min_dim_size_to_factor=2)
    updates, state = tx.update(without, tx.init(PARAMS), PARAMS)
    assert updates["b"] is None
    assert not state[0].v["b"].any()
    assert state[0].v_row["w"].shape == (2,)


def test_averages_of_schedule_free_are_read_as_optax_reads_them():
    def evaluated(contrib: Any) -> Any:
        tx = contrib.schedule_free(optax.sgd(0.1), 0.1)
        params, state = PARAMS, tx.init(PARAMS)
        for g in GRADS[:3]:
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return contrib.schedule_free_eval_params(state, params)

    assert_same(evaluated(ours.contrib), evaluated(optax.contrib))
    state = optax.contrib.schedule_free(optax.sgd(0.1), 0.1).init(PARAMS)
    assert_same(ours.contrib.schedule_free_eval_params(state, PARAMS), PARAMS)
