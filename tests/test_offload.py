"""Slots in the memory of the host: the same numbers, and each array where it was put."""

from __future__ import annotations

from functools import partial
from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import funcopt
from tests.compilations import compilations

PARAMS = {"kernel": jnp.linspace(-1, 1, 4096).reshape(64, 64), "bias": jnp.ones(3)}
GRADS = jax.tree.map(lambda x: 0.1 * jnp.cos(7 * x), PARAMS)
BAD = jax.tree.map(lambda x: x * jnp.nan, PARAMS)


def on_host(state: Any) -> set[str]:
    """The paths of what is in the memory of the host."""
    named = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, x in named
        if x.sharding.memory_kind == "pinned_host"
    }


def trained(tx: Any, *came: Any, jit: bool = True) -> tuple[Any, Any]:
    params, state = PARAMS, tx.init(PARAMS)
    step = jax.jit(partial(funcopt.step, tx)) if jit else partial(funcopt.step, tx)
    for grads in came:
        params, state = step(grads, state, params)
    return params, state


GUARDED = {
    "around": lambda tx: funcopt.guard(funcopt.offload(tx)),
    "inside": lambda tx: funcopt.offload(funcopt.guard(tx)),
    "inside-checked": lambda tx: funcopt.offload(funcopt.guard(tx, check_updates=True)),
}


@pytest.mark.parametrize("how", GUARDED)
def test_a_skipped_step_changes_nothing(how):
    tx = GUARDED[how](funcopt.adam(1e-3))
    params, state = trained(tx, GRADS, GRADS)
    skipped, after = jax.jit(partial(funcopt.step, tx))(BAD, state, params)
    chex.assert_trees_all_equal(skipped, params)
    chex.assert_trees_all_equal(after.inner, state.inner)
    assert after.skipped
    slots = {f"inner/slots/0/{name}/kernel" for name in ("mu", "nu")}
    assert on_host(after) == on_host(tx.init(PARAMS)) == slots
    chex.assert_trees_all_equal(params, trained(funcopt.adam(1e-3), GRADS, GRADS)[0])


@pytest.mark.default_promotion  # for optax
@pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])
@pytest.mark.parametrize(
    "inner",
    [
        funcopt.adamw(1e-3, weight_decay=0.1, storage="8bit"),
        funcopt.master_weights(funcopt.average(funcopt.sgd(0.1))),
        optax.adam(1e-3),
    ],
    ids=["8bit", "wrappers", "optax"],
)
def test_the_numbers_are_those_without(inner, jit):
    tx = funcopt.offload(inner)
    params, state = trained(tx, GRADS, GRADS, jit=jit)
    want = trained(inner, GRADS, GRADS, jit=jit)
    chex.assert_trees_all_equal(params, want[0])
    for got, expected in zip(*map(jax.tree.leaves, (state, want[1])), strict=True):
        assert got.tolist() == expected.tolist()
    assert on_host(state) == on_host(tx.init(PARAMS)) != set()


def test_loops_donation_and_checkpoints():
    tx = funcopt.offload(funcopt.adam(1e-3))
    # Donated in the order of what is returned: JAX gives memory by shape, whichever kind it is.
    step = jax.jit(
        lambda params, state: funcopt.step(tx, GRADS, state, params), donate_argnums=(0, 1)
    )
    params = jax.device_put(jax.tree.map(jnp.array, PARAMS), jax.devices()[0])
    state = tx.init(params)
    params, state = step(params, state)

    def two_more():
        nonlocal params, state
        for _ in range(2):
            params, state = step(params, state)
        return params, state

    assert compilations(two_more) == 0
    want = trained(funcopt.adam(1e-3), GRADS, GRADS, GRADS)
    chex.assert_trees_all_equal(params, want[0])

    def body(carry, _):
        return funcopt.step(tx, GRADS, carry[1], carry[0]), None

    (scanned, end), _ = jax.jit(lambda: jax.lax.scan(body, (PARAMS, tx.init(PARAMS)), None, 3))()
    chex.assert_trees_all_equal(scanned, params)
    assert on_host(end) == on_host(state)
    restored = flax.serialization.from_bytes(state, flax.serialization.to_bytes(state))
    restored = jax.device_put(restored, jax.tree.map(lambda x: x.sharding, state))
    after = step(jax.tree.map(jnp.array, params), restored)
    assert on_host(after[1]) == on_host(state)
    chex.assert_trees_all_equal(after, step(params, state))


def test_which_slots():
    state = funcopt.offload(funcopt.adam(1e-3), "/nu/").init(PARAMS)
    assert on_host(state) == {"slots/0/nu/kernel"}
    state = funcopt.offload(funcopt.adam(1e-3), "/nu/", min_size=1).init(PARAMS)
    assert on_host(state) == {"slots/0/nu/kernel", "slots/0/nu/bias"}
    with pytest.raises(ValueError, match="slots='velocity' matches no array of the state"):
        funcopt.offload(funcopt.adam(1e-3), "velocity").init(PARAMS)
    with pytest.raises(ValueError, match="slots: '\\(' is not a regular expression"):
        funcopt.offload(funcopt.adam(1e-3), "(")


def test_a_monitor_inside_sees_and_one_around_is_refused():
    params, state = trained(funcopt.offload(funcopt.monitor(funcopt.adam(1e-3), every=1)), GRADS)
    assert funcopt.health(state, params).verdict == "healthy"
    assert {"inner/slots/0/mu/kernel", "inner/slots/0/nu/kernel"} <= on_host(state)
    with pytest.raises(ValueError, match="Put offload around the monitor"):
        funcopt.monitor(funcopt.offload(funcopt.adam(1e-3))).init(PARAMS)


def test_shardings_tell_the_memory():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    places = {"kernel": NamedSharding(mesh, P("data")), "bias": NamedSharding(mesh, P())}
    tx = funcopt.offload(funcopt.adam(1e-3))
    found = funcopt.state_shardings(tx, PARAMS, places)
    assert found.slots[0].mu["kernel"] == places["kernel"].with_memory_kind("pinned_host")
    assert found.slots[0].mu["bias"] == places["bias"]
    params = jax.device_put(PARAMS, places)
    state = jax.jit(tx.init, out_shardings=found)(params)
    assert jax.tree.map(lambda x: x.sharding, state) == found
    step = jax.jit(partial(funcopt.step, tx), out_shardings=(places, found))
    params, state = step(GRADS, state, params)
    assert on_host(state) == {"slots/0/mu/kernel", "slots/0/nu/kernel"}
    chex.assert_trees_all_close(params, trained(funcopt.adam(1e-3), GRADS)[0], rtol=1e-6)


def test_it_is_told_as_what_it_holds():
    plain, tx = funcopt.adam(1e-3), funcopt.offload(funcopt.adam(1e-3))
    rows = [funcopt.describe(each, PARAMS).rows for each in (plain, tx)]
    assert rows[0] == rows[1]
    assert repr(tx) == "offload(inner=adam(learning_rate=0.001))"


def test_averages_in_the_memory_of_the_host_are_evaluated():
    tx = funcopt.average(funcopt.sgd(0.1), decay=0.5)
    (params, state), (_, alone) = (trained(x, GRADS, GRADS) for x in (funcopt.offload(tx), tx))
    assert on_host(state)
    evaluated = funcopt.eval_params(funcopt.offload(tx), state, params)
    chex.assert_trees_all_equal(evaluated, funcopt.eval_params(tx, alone, params))
