"""A state goes to the parameters it was made for, by name, in shape and in type, or nowhere."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

KEEPING = {
    "adam": funcopt.adam(0.1),
    "prodigy": funcopt.prodigy(),
    "dog": funcopt.dog(),
    "stable_adamw": funcopt.stable_adamw(0.1),
    "clip_spikes": funcopt.clip_spikes(),
    "mechanize": funcopt.mechanize(funcopt.sgd(1.0)),
    "hypergradient": funcopt.hypergradient(funcopt.sgd(0.1)),
    "schedule_free": funcopt.schedule_free(funcopt.sgd(0.1)),
    "gpa": funcopt.gpa(funcopt.sgd(0.1)),
    "accumulate": funcopt.accumulate(funcopt.sgd(0.1), every=2),
    "rollback": funcopt.rollback(funcopt.sgd(0.1)),
}
AB = {"a": jnp.ones(2), "b": jnp.full(2, 2.0)}


def update(tx, grads, state, params):
    return tx.update(grads, state, params, value=jnp.float32(1.0))


@pytest.mark.parametrize("name", KEEPING)
def test_renamed_parameters_are_told(name):
    tx = KEEPING[name]
    renamed = {"x": AB["a"], "y": AB["b"]}
    with pytest.raises(ValueError, match=r"without a gradient: a, b.*without a parameter: x, y"):
        update(tx, renamed, tx.init(AB), renamed)


@pytest.mark.parametrize("name", KEEPING)
def test_another_order_is_told(name):
    """An OrderedDict was saved, a dict is restored: what stood in the first place was b."""
    tx = KEEPING[name]
    state = tx.init(OrderedDict(b=AB["b"], a=AB["a"]))
    with pytest.raises(ValueError, match="in another order: a, b where those are b, a"):
        update(tx, AB, state, AB)


@pytest.mark.parametrize("name", KEEPING)
def test_another_container_with_the_same_names_goes_on(name):
    tx = KEEPING[name]
    (plain, _), (other, _) = (update(tx, tree, tx.init(AB), tree) for tree in (AB, OrderedDict(AB)))
    assert list(other) == ["a", "b"]
    jax.tree.map(np.testing.assert_array_equal, plain, dict(other))


@pytest.mark.parametrize("name", KEEPING)
def test_a_state_of_another_shape_is_not_broadcast(name):
    tx = KEEPING[name]
    with pytest.raises(ValueError, match=r"'w' has shape \(1,\), expected \(3,\)"):
        update(tx, {"w": jnp.ones(3)}, tx.init({"w": jnp.ones(1)}), {"w": jnp.ones(3)})


@pytest.mark.parametrize(
    "name", ["adam", "prodigy", "dog", "stable_adamw", "schedule_free", "mechanize"]
)
def test_a_state_in_half_precision_is_kept_in_full_from_then_on(name):
    tx = KEEPING[name]
    state = tx.init(AB)
    half = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x, state
    )
    _, after = update(tx, AB, half, AB)
    _, expected = update(tx, AB, state, AB)
    rates = [x for x in jax.tree.leaves(expected) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(x.dtype == jnp.float32 for x in rates)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.dtype, b.dtype), after, expected)


def test_a_storage_in_half_precision_stays():
    tx = funcopt.adam(0.1, mu_dtype="bfloat16")
    _, state = tx.update(AB, tx.init(AB), AB)
    assert state.mu["a"].dtype == jnp.bfloat16
    assert state.nu["a"].dtype == jnp.float32
    tx = funcopt.schedule_free(funcopt.sgd(0.1), state_dtype="bfloat16")
    _, state = tx.update(AB, tx.init(AB), AB)
    assert state.z["a"].dtype == jnp.bfloat16


def test_a_rule_may_keep_slots_of_another_shape():
    from typing import NamedTuple

    class Size(NamedTuple):
        size: funcopt.Accumulator

    @funcopt.rule(acts_on="array", slots=Size)
    class Measured(funcopt.Rule):
        def init(self, param):
            return Size(jnp.zeros([], param.dtype))

        def update(self, grad, slots, param, clock):
            del param
            slots = clock.renew(slots, size=jnp.max(jnp.abs(grad)))
            return grad / slots.size, slots

    tx = funcopt.lift(Measured())
    updates, state = tx.update(AB, tx.init(AB), AB)
    np.testing.assert_array_equal(updates["b"], [1.0, 1.0])
    assert state.size["b"].shape == ()


def test_abstract_parameters_are_sent_to_eval_shape():
    abstract = {"w": jax.ShapeDtypeStruct((4, 6), jnp.float32)}
    tx = funcopt.adam(0.1)
    with pytest.raises(TypeError, match=r"'w' is ShapeDtypeStruct.*jax.eval_shape\(tx.init"):
        tx.init(abstract)
    assert jax.eval_shape(tx.init, abstract).mu["w"].shape == (4, 6)


def test_parameters_of_8_bits_are_named():
    params = {"w": jnp.zeros(3, jnp.float8_e4m3fn)}
    for tx in (funcopt.adam(0.1), funcopt.prodigy()):
        with pytest.raises(TypeError, match="'w' has dtype float8_e4m3fn"):
            tx.init(params)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (funcopt.adam(0.1), funcopt.adamw(0.1, weight_decay=0.5)),
        (funcopt.adamw(0.1, weight_decay=0.5), funcopt.adam(0.1)),
        (funcopt.sgd(0.1), funcopt.optimizer(funcopt.Decay(0.5), learning_rate=0.1)),
    ],
    ids=str,
)
def test_what_keeps_nothing_may_be_switched_on_in_a_run(before, after):
    _, state = before.update(AB, before.init(AB), AB)
    _, own = after.update(AB, after.init(AB), AB)
    updates, state = after.update(AB, state, AB)
    expected, own = after.update(AB, own, AB)
    assert jax.tree.structure(state) == jax.tree.structure(own)
    assert int(state.count) == 2
    jax.tree.map(np.testing.assert_array_equal, updates, expected)


def test_a_direction_is_no_optimizer():
    tx = funcopt.adam(0.1)
    with pytest.raises(ValueError, match="The state is not one of this transformation"):
        tx.update(AB, funcopt.scale_by_adam().init(AB), AB)


def test_a_mean_square_is_no_maximum():
    tx = funcopt.adamax(0.1)
    with pytest.raises(ValueError, match=r"keep \(AdamaxSlots, NoSlots\): got \(Moments"):
        tx.update(AB, funcopt.adam(0.1).init(AB), AB)


def test_the_average_of_a_leaf_is_not_that_of_another():
    tx = funcopt.clip_by_ema(factor=1.0, warmup=0)
    small, large = {"a": jnp.full(1, 1.0)}, {"b": jnp.full(1, 100.0)}
    state = tx.init(small | large)
    for _ in range(3):
        _, state = tx.update(small | large, state)
    renamed = {"x": small["a"], "y": large["b"]}
    with pytest.raises(ValueError, match=r"Parameters without a gradient: a, b.*: x, y"):
        tx.update(renamed, state)
    assert float(state.gamma["a"]) < float(state.gamma["b"])
