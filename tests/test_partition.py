"""Paths and masks: which parameters are meant."""

import pickle
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcopt
from funcopt.core.paths import path_names, selected


class Pair(NamedTuple):
    left: jax.Array
    right: jax.Array


ONE = jnp.ones(())
PARAMS = {
    "embed": {"kernel": jnp.ones((2, 2))},
    "layers": [
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
    ],
    "norm": {"scale": jnp.ones(2)},
}
NAMES = [
    "embed/kernel",
    "layers/0/bias",
    "layers/0/kernel",
    "layers/1/bias",
    "layers/1/kernel",
    "norm/scale",
]
KERNELS = ["embed/kernel", "layers/0/kernel", "layers/1/kernel"]


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (PARAMS, NAMES),
        (ONE, [""]),
        ({}, []),
        ({"a": None, "b": ONE}, ["b"]),
        ([ONE, (ONE, ONE)], ["0", "1/0", "1/1"]),
        (Pair(ONE, {"w": ONE}), ["left", "right/w"]),
        ({"mlp/~/linear_0": {"w": ONE}}, ["mlp/~/linear_0/w"]),
        ({0: ONE, 10: ONE}, ["0", "10"]),
        ({"kernel": {"value": ONE}}, ["kernel"]),
        ({"value": ONE}, ["value"]),
        (eqx.nn.Linear(1, 1, key=jax.random.PRNGKey(0)), ["weight", "bias"]),
        (optax.MaskedNode(), []),
    ],
)
def test_paths(tree, names):
    assert path_names(tree) == names


def meant(mask, tree=PARAMS) -> list[str]:
    return [name for name, flag in zip(path_names(tree), selected(mask, tree), strict=True) if flag]


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (None, NAMES),
        (True, NAMES),
        (False, []),
        ("kernel", KERNELS),
        ("kernel$", KERNELS),
        ("^layers", NAMES[1:5]),
        (r"layers/\d+/bias", ["layers/0/bias", "layers/1/bias"]),
        ("kernel|scale", [*KERNELS, "norm/scale"]),
        ("!bias|scale", KERNELS),
        (["kernel", "scale"], [*KERNELS, "norm/scale"]),
        (("kernel", "!embed"), KERNELS[1:]),
        (["!bias", "!scale"], KERNELS),
        (["!bias", "layers"], ["layers/0/kernel", "layers/1/kernel"]),
        (lambda path, leaf: leaf.ndim > 1, KERNELS),
        (lambda path, leaf: path.startswith("norm"), ["norm/scale"]),
        (lambda path, leaf: np.bool_(leaf.ndim > 1), KERNELS),
        (lambda path, leaf, *, least=2: leaf.ndim >= least, KERNELS),
        (lambda params: jax.tree.map(lambda x: x.ndim > 1, params), KERNELS),
        ({"embed": True, "layers": False, "norm": False}, ["embed/kernel"]),
        (
            {"embed": False, "layers": [True, {"kernel": True, "bias": False}], "norm": False},
            ["layers/0/bias", "layers/0/kernel", "layers/1/kernel"],
        ),
        ({"embed": np.bool_(True), "layers": False, "norm": np.array(True)}, None),
        ({"embed": jnp.array(True), "layers": False, "norm": jnp.array(False)}, ["embed/kernel"]),
    ],
)
def test_masks(mask, names):
    assert meant(mask) == (["embed/kernel", "norm/scale"] if names is None else names)


def test_a_mask_of_another_container_fits_by_its_paths():
    assert meant({"left": True, "right": False}, Pair(ONE, {"w": ONE})) == ["left"]
    tree = [{"w": ONE, "b": ONE}, ONE]
    assert meant({"0": {"w": True, "b": False}, "1": False}, tree) == ["0/w"]
    assert meant({"0": True, "1": False}, tree) == ["0/b", "0/w"]


def test_an_equinox_module_of_bools_is_a_tree_and_not_a_function():
    model = eqx.nn.Linear(2, 2, key=jax.random.PRNGKey(0))
    assert meant(jax.tree.map(lambda x: x.ndim > 1, model), model) == ["weight"]


def test_nothing_is_meant_in_an_empty_tree():
    for mask in (None, "kernel", ["a", "!b"], lambda path, leaf: True, lambda params: params, {}):
        assert selected(mask, {}) == []


@given(
    st.dictionaries(
        st.text("abkl", min_size=1, max_size=4),
        st.one_of(st.just(1.0), st.lists(st.just(1.0), max_size=3)),
        max_size=5,
    )
)
def test_a_pattern_and_its_negation_part_the_tree(tree):
    names = path_names(tree)
    if not any("k" in name for name in names):
        names = []
        tree = {}
    assert sorted([*meant("k", tree), *meant("!k", tree)]) == sorted(names)


# -- in a transformation --------------------------------------------------------------------------

MASKS = {
    "pattern": "kernel$",
    "patterns": ["kernel$", "!embed"],
    "predicate": lambda path, leaf: leaf.ndim > 1,
    "function": lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
    "tree": jax.tree.map(lambda x: x.ndim > 1, PARAMS),
}


def decayed(tx, params=PARAMS) -> list[str]:
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    leaves = jax.tree_util.tree_leaves(updates)
    return [name for name, u in zip(path_names(params), leaves, strict=True) if np.any(u != 0)]


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_a_mask_limits_the_decay(mask):
    expected = KERNELS[1:] if mask == MASKS["patterns"] else KERNELS
    for tx in (
        funcopt.add_decayed_weights(0.1, mask),
        funcopt.adamw(1e-3, weight_decay=0.1, mask=mask),
        funcopt.chain(funcopt.clip(1.0), funcopt.nadamw(1e-3, weight_decay=0.1, mask=mask)),
        funcopt.optimizer(funcopt.masked(mask, funcopt.Decay(0.1)), learning_rate=0.1),
    ):
        assert decayed(tx) == expected


def test_masked_leaves_take_the_same_step_as_without_decay():
    grads = jax.tree.map(lambda x: 0.3 * x, PARAMS)
    masked = funcopt.adamw(0.1, weight_decay=0.5, mask="kernel")
    plain, decay = funcopt.adam(0.1), funcopt.adamw(0.1, weight_decay=0.5)
    step, without, with_decay = (
        tx.update(grads, tx.init(PARAMS), PARAMS)[0] for tx in (masked, plain, decay)
    )
    np.testing.assert_array_equal(step["norm"]["scale"], without["norm"]["scale"])
    np.testing.assert_array_equal(step["embed"]["kernel"], with_decay["embed"]["kernel"])


@pytest.mark.default_promotion
def test_a_mask_agrees_with_optaxs():
    mask = jax.tree.map(lambda x: x.ndim > 1, PARAMS)
    grads = jax.tree.map(lambda x: 0.3 * x, PARAMS)
    ours, theirs = (library.lion(0.1, weight_decay=0.5, mask=mask) for library in (funcopt, optax))
    updates, expected = (tx.update(grads, tx.init(PARAMS), PARAMS)[0] for tx in (ours, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)


@pytest.mark.parametrize("mask", [None, "kernel$", ("kernel", "!embed"), {"a": True, "b": False}])
def test_masks_are_part_of_the_value(mask):
    tx = funcopt.adamw(1e-3, mask=mask)
    assert eval(repr(tx), vars(funcopt)) == tx == pickle.loads(pickle.dumps(tx))
    assert hash(tx) == hash(pickle.loads(pickle.dumps(tx)))
    assert tx != funcopt.adamw(1e-3, mask="bias$")
    assert jax.tree.leaves(tx) == jax.tree.leaves(funcopt.adamw(1e-3))


def test_bools_of_any_library_make_the_same_value():
    """And none of them is one of the value's numbers, which `jit` would trace."""
    tx = funcopt.adamw(1e-3, mask={"a": True})
    for flag in (np.bool_(True), np.array(True), jnp.array(True)):
        assert funcopt.adamw(1e-3, mask={"a": flag}) == tx
    params = {"a": jnp.ones(2)}
    update = jax.jit(lambda tx: tx.update(params, tx.init(params), params)[0])
    np.testing.assert_allclose(update(tx)["a"], -1e-3 * (1 + 1e-4), rtol=1e-6)


def test_two_masks_are_two_programs():
    """Equal numbers and another mask must not share a compiled step."""
    step = jax.jit(lambda tx: tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0])
    first = step(funcopt.add_decayed_weights(0.5, "kernel"))
    second = step(funcopt.add_decayed_weights(0.5, "scale"))
    assert float(first["norm"]["scale"][0]) == float(second["embed"]["kernel"][0, 0]) == 1.0
    assert float(first["embed"]["kernel"][0, 0]) == float(second["norm"]["scale"][0]) == 1.5
