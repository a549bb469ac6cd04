"""What a rule says it acts on is what its updates depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from funcopt.core.lift import Lifted
from tests.catalog import ALL, BLOCKS, NESTED, ROWS, Row, each, each_kind, each_rule

GRADS = np.random.default_rng(1).standard_normal((3, 2, 3)).astype(np.float32) * 3
START = np.random.default_rng(2).standard_normal((2, 3)).astype(np.float32)
# Vector units and the remainder of a loop may round a last bit differently.
ULPS = 1e-6


def after(row: Row, change: Any) -> dict[str, np.ndarray]:
    """Parameters after three steps, when everything is laid out by `change` first."""
    tx = row.descending()
    params = change(START)
    state = tx.init(params)
    for g in GRADS:
        params, state = funcopt.step(tx, change(g), state, params, **row.extra)
    return params


def same(a: Any, b: Any) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=ULPS, atol=ULPS * np.abs(b).max())


def elements(x: Any) -> Any:
    """One leaf for every element."""
    return [[jnp.asarray(x[i, j]) for j in range(3)] for i in range(2)]


LAYOUTS = {
    "flat and permuted": (
        lambda x: jnp.asarray(x).reshape(6)[np.array([4, 0, 5, 1, 3, 2])],
        lambda x: x[np.array([1, 3, 5, 4, 0, 2])].reshape(2, 3),
    ),
    "in two leaves": (
        lambda x: {"a": jnp.asarray(x[:1]), "b": jnp.asarray(x[1:])},
        lambda x: np.concatenate([x["a"], x["b"]]),
    ),
    "an element a leaf": (elements, lambda x: np.array(jax.tree.leaves(x)).reshape(2, 3)),
}


@each_rule(ALL, where=lambda row: row.acts_on == "element")
def test_elements_do_not_see_each_other(row):
    """However the elements are arranged, each goes the same way."""
    plain = after(row, jnp.asarray)
    for change, back in LAYOUTS.values():
        same(back(after(row, change)), plain)


@each_rule(ALL, where=lambda row: row.acts_on == "element")
def test_one_gradient_moves_one_element(row):
    """Another gradient for one element changes that element only, bit for bit."""
    tx = row.descending()
    params = jnp.asarray(START)
    state = tx.init(params)
    for _ in range(row.silent_steps):
        _, state = tx.update(jnp.asarray(GRADS[1]), state, params, **row.extra)
    one, _ = tx.update(jnp.asarray(GRADS[0]), state, params, **row.extra)
    changed = jnp.asarray(GRADS[0]).at[1, 2].set(-0.01)
    other, _ = tx.update(changed, state, params, **row.extra)
    different = np.asarray(one) != np.asarray(other)
    assert different[1, 2]
    assert different.sum() == 1


ARRAYS = {"a": START, "b": START[0]}


@each(ROWS + BLOCKS, where=lambda row: row.acts_on == "array")
def test_arrays_do_not_see_each_other(row):
    """Other gradients for one array change no bit of the other, and each element of its own."""
    tx = row.descending()

    def updates(grads, turned):
        params = jax.tree.map(jnp.asarray, ARRAYS)
        state, found = tx.init(params), []
        for step, g in enumerate(grads):
            g = {"a": jnp.asarray(g), "b": jnp.asarray(g[0])}
            if step >= len(grads) - 1 - row.bounded:  # a bound is felt by the next step
                g["a"] = g["a"].at[0].multiply(turned)
            out, state = tx.update(g, state, params, **row.extra)
            found.append(out)
        return found[-1]

    grads = np.concatenate([GRADS] * 3)
    one, other = updates(grads, 1.0), updates(grads, 50.0)
    np.testing.assert_array_equal(one["b"], other["b"])
    differ = np.asarray(one["a"]) != np.asarray(other["a"])
    assert np.all(differ) or (row.bounded and np.any(differ[1]))


def of_arrays(row: Row) -> bool:
    whole = isinstance(row.lift, Lifted) and row.lift.layer_axis is None
    return whole and row.acts_on == "array" and not row.random


@each(ROWS + BLOCKS, where=of_arrays)
def test_a_stack_of_layers_is_the_list_of_them(row):
    """What acts on an array acts on each layer of a stacked one by itself."""
    stacked = replace(row.lift, layer_axis={"stack": 1})
    layers = np.random.default_rng(4).standard_normal((3, 4, 3, 2)).astype(np.float32) * 3

    def steps(tx, laid_out):
        params = laid_out(layers[0])
        state = tx.init(params)
        for g in layers[1:]:
            updates, state = tx.update(laid_out(g), state, params, **row.extra)
            params = funcopt.apply_updates(params, updates)
        return params

    whole = steps(stacked, lambda x: {"stack": jnp.asarray(x)})["stack"]
    apart = steps(row.lift, lambda x: [jnp.asarray(x[:, i]) for i in range(3)])
    for i, layer in enumerate(apart):
        same(whole[:, i], layer)
    assert not np.allclose(steps(row.lift, lambda x: {"stack": jnp.asarray(x)})["stack"], whole)


@each(ROWS + BLOCKS, where=lambda row: row.acts_on == "tree")
def test_a_tree_is_one_vector(row):
    """What acts on the tree does not see where one leaf ends and the next begins."""
    plain = after(row, jnp.asarray)
    for change, back in LAYOUTS.values():
        same(back(after(row, change)), plain)


@each(ROWS + BLOCKS, where=lambda row: row.acts_on == "tree")
def test_a_tree_sees_all_of_its_leaves(row):
    """Some look far back: one leaf goes elsewhere after gradients of another have turned around."""
    tx = row.descending()

    def body(carry, b):
        grads = {"a": jnp.ones(2), "b": jnp.full(2, b)}
        return funcopt.step(tx, grads, carry[1], carry[0], **row.extra), None

    @jax.jit
    def after(gradients):
        params = {"a": jnp.ones(2), "b": jnp.ones(2)}
        return jax.lax.scan(body, (params, tx.init(params)), gradients)[0][0]["a"]

    turns = jnp.array([1.0, 30.0, -30.0, 1.0] * 10)
    assert not np.any(np.asarray(after(jnp.ones(40))) == np.asarray(after(turns)))


@each_kind(ROWS + BLOCKS)
def test_vmap_over_a_stacked_axis_is_a_loop(row):
    """Runs that are stacked do not see each other, whatever the rule acts on."""
    tx = row.descending()

    def steps(params, grads):
        state = tx.init(params)
        for g in grads:
            params, state = funcopt.step(tx, g, state, params, **row.extra)
        return params

    starts = jnp.asarray(START)
    grads = jnp.swapaxes(jnp.asarray(GRADS), 0, 1)  # run, step, element
    stacked = jax.vmap(steps)(starts, grads)
    looped = jnp.stack([steps(p, g) for p, g in zip(starts, grads, strict=True)])
    same(stacked, looped)


@pytest.mark.parametrize(
    "kind", [funcopt.rules.Adam, funcopt.Momentum, funcopt.rules.Descend, funcopt.rules.Clip]
)
def test_rules_say_what_they_act_on(kind):
    assert kind.acts_on == "element"


@each(ROWS + BLOCKS)
def test_row_tells_what_its_state_and_its_update_tell(row):
    """Trees like the parameters in the state are its slots; it runs without what it does not need.

    What rules declare is read into the row: here is whether it is true of what users call.
    """
    tx, params = row.make(), {"a": jnp.ones((2, 3)), "b": jnp.ones(2)}
    state = jax.eval_shape(tx.init, params)
    parts, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda x: isinstance(x, dict))
    assert tuple(path[-1].name for path, x in parts if isinstance(x, dict)) == row.slots

    def update(*given, **extra):
        return jax.eval_shape(lambda *given: tx.update(*given, **extra), params, state, *given)

    update(*[params] * row.needs_params, **row.extra)
    if row.needs_params:
        with pytest.raises(ValueError, match="needs the parameters"):
            update(**row.extra)
    if row.needs_value:
        with pytest.raises(ValueError, match="needs the loss"):
            update(params)


def test_compositions_are_in_the_catalogue():
    assert {row.acts_on for row in NESTED} == {"element", "array", "tree"}
