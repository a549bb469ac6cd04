"""Groups of parameters with transformations of their own, against each group alone and optax."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt

PARAMS = {
    "embed": jnp.ones((3, 2)),
    "dense": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.zeros(2)},
    "scale": jnp.ones(2),
}
GRADS = jax.tree.map(lambda x: jnp.linspace(-1, 2, x.size).reshape(x.shape), PARAMS)
KERNEL, BIAS = funcopt.adamw(0.1, weight_decay=0.1), funcopt.sgd(0.5, momentum=0.9)
GROUPS = funcopt.partition({"kernel": KERNEL, "bias|scale": BIAS, "embed": None})


def trained(tx, params, grads, steps=3, **extra):
    def body(carry, _):
        return funcopt.step(tx, grads, carry[1], carry[0], **extra), None

    return jax.lax.scan(body, (params, tx.init(params)), length=steps)[0]


def test_every_group_is_trained_as_it_would_be_alone():
    params, _ = trained(GROUPS, PARAMS, GRADS)
    kernel, _ = trained(KERNEL, PARAMS["dense"]["kernel"], GRADS["dense"]["kernel"])
    rest = {"bias": PARAMS["dense"]["bias"], "scale": PARAMS["scale"]}
    slopes = {"bias": GRADS["dense"]["bias"], "scale": GRADS["scale"]}
    rest, _ = trained(BIAS, rest, slopes)
    chex.assert_trees_all_equal(params["embed"], PARAMS["embed"])
    chex.assert_trees_all_close(params["dense"]["kernel"], kernel, rtol=1e-6)
    chex.assert_trees_all_close(params["dense"]["bias"], rest["bias"], rtol=1e-6)
    chex.assert_trees_all_close(params["scale"], rest["scale"], rtol=1e-6)


def labels(params):
    return jax.tree.map(lambda x: "matrix" if x.ndim == 2 else "vector", params)


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "param_labels",
    [labels, labels(PARAMS), {"embed": "matrix", "dense": "vector", "scale": "vector"}],
    ids=["function", "tree", "prefix"],
)
def test_labels_are_optax_s(param_labels):
    def both(library):
        return {"matrix": library.adam(0.1), "vector": library.sgd(0.5, momentum=0.9)}

    ours, _ = trained(funcopt.partition(both(funcopt), param_labels), PARAMS, GRADS)
    theirs, _ = trained(optax.partition(both(optax), param_labels), PARAMS, GRADS)
    mixed, _ = trained(funcopt.partition(both(optax), param_labels), PARAMS, GRADS)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-5)
    chex.assert_trees_all_close(mixed, theirs, rtol=1e-6)


def test_it_is_a_value():
    assert eval(repr(GROUPS), vars(funcopt)) == GROUPS
    assert jax.tree.leaves(GROUPS) == jax.tree.leaves((BIAS, KERNEL))
    rates = jnp.array([0.1, 0.2])
    several = funcopt.partition({"kernel": funcopt.sgd(rates), "": funcopt.sgd(0.5)})
    run = jax.vmap(lambda tx: trained(tx, PARAMS, GRADS)[0], in_axes=(several.in_axes,))
    kernels = run(several)["dense"]["kernel"]
    one, _ = trained(funcopt.partition({"kernel": funcopt.sgd(0.2), "": None}), PARAMS, GRADS)
    np.testing.assert_allclose(kernels[1], one["dense"]["kernel"], rtol=1e-6)
    slopes = jax.grad(lambda tx: jnp.sum(trained(tx, PARAMS, GRADS)[0]["scale"]))(GROUPS)
    assert all(np.isfinite(x) for x in jax.tree.leaves(slopes))


def test_a_guard_around_it_changes_no_bit_on_a_bad_step():
    tx = funcopt.guard(GROUPS)
    params, state = trained(tx, PARAMS, GRADS)
    bad = GRADS | {"scale": jnp.array([jnp.nan, 0.0])}
    same, after = funcopt.step(tx, bad, state, params)
    chex.assert_trees_all_equal(same, params)
    chex.assert_trees_all_equal(after.inner, state.inner)
    assert int(funcopt.metrics(after)["skipped_nonfinite"]) == 1


def test_a_schedule_that_listens_in_one_group():
    rate = 0.5 * funcopt.on_plateau(factor=0.5, patience=0)
    tx = funcopt.partition({"kernel": funcopt.sgd(rate), "": funcopt.sgd(0.1)})
    _, state = trained(tx, PARAMS, GRADS, steps=4, value=jnp.float32(1.0))
    assert {name: float(x) for name, x in funcopt.metrics(state).items()} == {
        "lr/otherwise": np.float32(0.1),
        "lr/kernel": 0.0625,
    }
    with pytest.raises(ValueError, match="value"):
        tx.update(GRADS, tx.init(PARAMS), PARAMS)


def test_averages_of_one_group_leave_the_others():
    tx = funcopt.partition({"kernel": funcopt.schedule_free_sgd(0.5), "": funcopt.sgd(0.1)})
    params, state = trained(tx, PARAMS, GRADS)
    evaluated = funcopt.eval_params(tx, state, params)
    chex.assert_trees_all_equal(evaluated["scale"], params["scale"])
    assert not np.array_equal(evaluated["dense"]["kernel"], params["dense"]["kernel"])


SGD = funcopt.sgd(0.1)


@pytest.mark.parametrize(
    ("transforms", "param_labels", "words"),
    [
        ({"kernel": SGD}, None, "'dense/bias' is in no group"),
        ({"dense": SGD, "kernel": SGD, "": SGD}, None, "is in 2 groups: 'dense', 'kernel'"),
        ({"kernle": SGD, "": SGD}, None, "'kernle' matches no parameter"),
        ({"a": SGD}, {"embed": "a", "dense": "b", "scale": "a"}, "param_labels has 'b'"),
        ({"a": SGD}, {"embed": "a"}, "does not fit"),
    ],
)
def test_bad_groups(transforms, param_labels, words):
    tx = funcopt.partition(transforms, param_labels)
    with pytest.raises(ValueError, match=words):
        tx.init(PARAMS)


@pytest.mark.parametrize("transforms", [SGD, {}, {"kernel": funcopt.sgd}, {"kernel": 0.1}])
def test_bad_transforms(transforms):
    with pytest.raises(TypeError, match="transforms"):
        funcopt.partition(transforms)


def test_what_a_group_refuses_names_it():
    inside = funcopt.adamw(0.1, mask="!bias")
    with pytest.raises(ValueError, match="partition, group 'kernel': The mask's pattern 'bias'"):
        funcopt.partition({"kernel": inside}, otherwise=None).init(PARAMS)


def test_the_state_of_something_else():
    with pytest.raises(ValueError, match="expected a PartitionState"):
        GROUPS.update(GRADS, SGD.init(PARAMS), PARAMS)


def test_otherwise_is_the_group_of_what_no_pattern_is_found_in():
    one = funcopt.partition({"kernel": KERNEL}, otherwise=None)
    other = funcopt.partition({"kernel": KERNEL, "": None})
    chex.assert_trees_all_equal(trained(one, PARAMS, GRADS)[0], trained(other, PARAMS, GRADS)[0])
    for bad in (0.1, "freeze", funcopt.sgd):
        with pytest.raises(TypeError, match="otherwise must be"):
            funcopt.partition({"kernel": SGD}, otherwise=bad)
    with pytest.raises(ValueError, match="got both"):
        funcopt.partition({"kernel": SGD, "": SGD}, otherwise=SGD)
    with pytest.raises(ValueError, match="got param_labels"):
        funcopt.partition({"a": SGD}, labels, otherwise=SGD)


def test_one_group_begins_anew_and_the_others_go_on():
    tx = funcopt.guard(GROUPS)
    params, state = trained(tx, PARAMS, GRADS)
    new = funcopt.reset_group(tx, state, params, "kernel")
    chex.assert_trees_all_equal(new.inner.inner["kernel"], tx.init(params).inner.inner["kernel"])
    chex.assert_trees_all_equal(new.inner.inner["bias|scale"], state.inner.inner["bias|scale"])
    chex.assert_trees_all_equal(new._replace(inner=()), state._replace(inner=()))
    for group in ("embed", "kernle"):
        with pytest.raises(ValueError, match=f"no group {group!r} moves"):
            funcopt.reset_group(tx, state, params, group)


def test_a_frozen_group_moves_again():
    params, state = trained(GROUPS, PARAMS, GRADS)
    moving = funcopt.partition({**GROUPS.arguments["transforms"], "embed": SGD})
    with pytest.raises(ValueError, match="Groups without a state: 'embed'"):
        moving.update(GRADS, state, params)
    state = funcopt.reset_group(moving, state, params, "embed")
    after, _ = funcopt.step(moving, GRADS, state, params)
    chex.assert_trees_all_close(after["embed"], params["embed"] - 0.1 * GRADS["embed"])
    assert int(state.inner["kernel"].count) == 3


def test_a_factor_is_a_rate():
    """Also of the decoupled decay."""
    factors = {"kernel": 0.5, "embed": 0.0}
    tx = funcopt.chain(funcopt.adamw(0.1, weight_decay=0.1), funcopt.scale_by_path(factors))
    groups = funcopt.partition(
        {"kernel": funcopt.adamw(0.05, weight_decay=0.1), "embed": None},
        otherwise=funcopt.adamw(0.1, weight_decay=0.1),
    )
    one, other = trained(tx, PARAMS, GRADS)[0], trained(groups, PARAMS, GRADS)[0]
    chex.assert_trees_all_close(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("factors", "error", "words"),
    [
        ({"kernel": -1.0}, ValueError, r"factors\['kernel'\] must be"),
        ({"kernel": lambda step: 1.0}, TypeError, r"factors\['kernel'\]"),
        ([0.1], TypeError, "must be a dict"),
        ({}, TypeError, "must be a dict"),
        ({"dense": 0.1, "kernel": 0.2}, ValueError, "all found in 'dense/kernel'"),
        ({"kernle": 0.1}, ValueError, "matches no parameter"),
    ],
)
def test_bad_factors(factors, error, words):
    with pytest.raises(error, match=words):
        funcopt.scale_by_path(factors).init(PARAMS)


def test_a_closed_gate_stops_scaled_updates():
    tx = funcopt.scale_by_path({"kernel": 0.5})
    closed = funcopt.step(tx, GRADS, (), PARAMS, gate=jnp.bool_(False))
    chex.assert_trees_all_equal(closed, (PARAMS, ()))
    halved, _ = tx.update(jax.tree.map(lambda x: x.astype("bfloat16"), GRADS), ())
    assert halved["dense"]["kernel"].dtype == jnp.bfloat16


LAYERED = {
    "embedding": jnp.ones(1),
    "blocks": [{"kernel": jnp.ones(1)} for _ in range(3)],
    "head": {"kernel": jnp.ones(1)},
}


def test_layers_move_the_less_the_deeper_they_lie():
    """As timm and BEiT count them: embeddings below the first layer, the head above the last."""
    tx = funcopt.layerwise_decay(0.5, layers=3)
    found = tx.update(LAYERED, tx.init(LAYERED))[0]
    rates = [float(x[0]) for x in jax.tree.leaves(found["blocks"])]
    assert rates == [0.125, 0.25, 0.5]
    assert (float(found["embedding"][0]), float(found["head"]["kernel"][0])) == (0.0625, 1.0)


@pytest.mark.parametrize("axis", [0, 1])
def test_layers_of_a_stack_have_factors_of_their_own(axis):
    stack = jnp.moveaxis(jnp.ones((3, 2, 2)), 0, axis)
    tx = funcopt.layerwise_decay(0.5, layers=3, layer_axis={"stack": axis})
    found = tx.update({"stack": stack}, tx.init({"stack": stack}))[0]["stack"]
    np.testing.assert_array_equal(jnp.moveaxis(found, axis, 0)[:, 0, 0], [0.125, 0.25, 0.5])


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("params/block_3/kernel", 3),
        ("encoder/layers/11/attention/query/kernel", 11),
        ("transformer/h/0/mlp/w", 0),
        ("h_7/w", 7),
        ("Encoder/encoderblock_2/MlpBlock_0/Dense_0/kernel", 2),
        ("backbone/layer10/w", 10),
    ],
)
def test_numbers_of_layers_in_paths(name, number):
    tx = funcopt.layerwise_decay(0.5, layers=12)
    update = tx.update({name: jnp.ones(1)}, ())[0][name]
    assert float(update[0]) == 0.5 ** (12 - number)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": 2}, "'blocks/2/kernel' is of layer 2, counted from 0, but layers=2"),
        ({"layer": r"stage(\d)"}, "no parameter is of a layer"),
        ({"layer": "("}, "layer must be a regular expression"),
        ({"decay": 1.5}, "decay must be"),
        ({"layers": 0}, "layers must be"),
        ({"layer_axis": {"head": 0}}, r"has 1 layers along the axis 0, expected layers=3"),
    ],
)
def test_bad_layers(changes, words):
    with pytest.raises(ValueError, match=words):
        funcopt.layerwise_decay(**{"decay": 0.5, "layers": 3, **changes}).init(LAYERED)


def dtypes(state, label, name="mu"):
    found = optax.tree.get_all_with_path(state.inner[label], name)
    return {x.dtype.name for _, tree in found for x in jax.tree.leaves(tree)}


def test_storage_reaches_every_group():
    """However deep; what a group says itself is what counts."""
    inside = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(0.1))
    tx = funcopt.partition(
        {
            "kernel": funcopt.guard(inside),
            "bias": funcopt.sgd(0.1, momentum=0.9),
            "scale": funcopt.adam(0.1, storage="float32"),
        },
        otherwise=funcopt.partition({"embed": funcopt.lion(0.1)}),
        storage="bfloat16",
    )
    state = tx.init(PARAMS)
    assert dtypes(state, "kernel") == {"bfloat16"}
    assert dtypes(state, "kernel", "nu") == {"float32"}
    assert dtypes(state, "bias", "trace") == {"bfloat16"}
    assert dtypes(state, "scale") == {"float32"}
    assert dtypes(state, "") == {"bfloat16"}
    alone = funcopt.partition({"kernel": funcopt.adamw(0.1, storage="bfloat16")}, otherwise=None)
    shared = funcopt.partition(
        {"kernel": funcopt.adamw(0.1)}, otherwise=None, storage={"mu": "bfloat16"}
    )
    chex.assert_trees_all_equal(trained(alone, PARAMS, GRADS), trained(shared, PARAMS, GRADS))
    assert eval(repr(shared), vars(funcopt)) == shared
    assert jax.tree.leaves(funcopt.with_rate(shared, 0.3))[0] == 0.3


def test_storage_by_name_is_for_the_groups_that_have_it():
    groups = {"kernel": funcopt.adam(0.1), "": funcopt.sgd(0.1, momentum=0.9)}
    state = funcopt.partition(groups, storage={"mu": "bfloat16"}).init(PARAMS)
    assert (dtypes(state, "kernel"), dtypes(state, "", "trace")) == ({"bfloat16"}, {"float32"})


@pytest.mark.parametrize(
    ("tx", "storage", "error", "words"),
    [
        (SGD, "int3", ValueError, "storage must be None, one of"),
        (
            KERNEL,
            {"mv": "bfloat16"},
            ValueError,
            "names the slot 'mv', but the groups have only mu",
        ),
        (
            KERNEL,
            {"nu": "bfloat16"},
            ValueError,
            r"group 'a': storage\['nu'\] = 'bfloat16': nu acc",
        ),
        (funcopt.prodigy(), "float16", ValueError, "group 'a': prodigy: storage"),
        (optax.adam(0.1), "bfloat16", TypeError, "group 'a': storage='bfloat16' does not reach"),
        (funcopt.guard(optax.adam(0.1)), "bfloat16", TypeError, "which is not funcopt's"),
    ],
)
def test_bad_storage(tx, storage, error, words):
    with pytest.raises(error, match=words):
        funcopt.partition({"a": tx}, otherwise=None, storage=storage)
