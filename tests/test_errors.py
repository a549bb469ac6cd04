"""Bad input is refused with its name or path, what came and what was expected; nothing is lost."""

import copy
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt

PARAMS = {"dense": {"bias": jnp.ones(3), "kernel": jnp.ones((2, 3))}}
GRADS = {"dense": {"bias": jnp.full(3, 0.5), "kernel": jnp.full((2, 3), -0.5)}}


def raises(kind: type[Exception], *words: str):
    """An exception of this kind whose message has all of these words."""
    pattern = "".join(f"(?=.*{re.escape(word)})" for word in words)
    return pytest.raises(kind, match=re.compile(pattern, re.DOTALL))


def grads_with(**leaves: Any) -> dict:
    """The good gradients with some leaves of `dense` changed, added, or (`...`) taken out."""
    changed = {**GRADS["dense"], **leaves}
    return {"dense": {name: x for name, x in changed.items() if x is not ...}}


# -- gradients ------------------------------------------------------------------------------------


class Bad(NamedTuple):
    """A bad gradient: what a message about it says, with parameters and without."""

    grads: Any
    kind: type[Exception]
    words: tuple[str, ...]
    without_params: tuple[str, ...]


class Opaque:
    """Not an array."""


BAD_GRADIENTS = {
    "wrong shape": Bad(
        grads_with(kernel=jnp.ones((3, 2))),
        ValueError,
        ("'dense/kernel'", "(3, 2)", "(2, 3)"),
        ("'dense/kernel'", "(3, 2)", "(2, 3)"),
    ),
    "broadcastable": Bad(
        grads_with(kernel=jnp.ones((1, 3))),
        ValueError,
        ("'dense/kernel'", "(1, 3)", "(2, 3)", "not broadcast"),
        ("'dense/kernel'", "(1, 3)", "(2, 3)"),
    ),
    "scalar": Bad(
        grads_with(kernel=1.0),
        ValueError,
        ("'dense/kernel'", "shape ()", "(2, 3)"),
        ("'dense/kernel'", "shape ()", "(2, 3)"),
    ),
    "None": Bad(
        grads_with(kernel=None),
        ValueError,
        ("without a gradient: dense/kernel", "zeros"),
        ("without a gradient: dense/kernel", "zeros"),
    ),
    "missing": Bad(
        grads_with(kernel=...),
        ValueError,
        ("1 gradients", "2 parameters", "without a gradient: dense/kernel"),
        ("1 gradients", "2 parameters", "without a gradient: dense/kernel"),
    ),
    "none at all": Bad(
        {},
        ValueError,
        ("0 gradients", "without a gradient: dense/bias, dense/kernel"),
        ("0 gradients", "without a gradient: dense/bias, dense/kernel"),
    ),
    "extra": Bad(
        grads_with(scale=jnp.ones(3)),
        ValueError,
        ("3 gradients", "without a parameter: dense/scale"),
        ("3 gradients", "without a parameter: dense/scale"),
    ),
    "integer": Bad(
        grads_with(kernel=jnp.ones((2, 3), jnp.int32)),
        TypeError,
        ("'dense/kernel'", "int32", "floating-point"),
        ("'dense/kernel'", "int32", "floating-point"),
    ),
    "float0": Bad(
        grads_with(kernel=np.zeros((2, 3), jax.dtypes.float0)),
        TypeError,
        ("'dense/kernel'", "float0", "integer parameter"),
        ("'dense/kernel'", "float0", "integer parameter"),
    ),
    "complex": Bad(
        grads_with(kernel=jnp.ones((2, 3), jnp.complex64)),
        TypeError,
        ("'dense/kernel'", "complex64", "float32", "real part"),
        ("complex mu", "float32", "real"),
    ),
    "string": Bad(
        grads_with(kernel="relu"),
        TypeError,
        ("'dense/kernel'", "'relu'", "not an array"),
        ("'dense/kernel'", "'relu'", "not an array"),
    ),
    "object": Bad(
        grads_with(kernel=Opaque),
        TypeError,
        ("'dense/kernel'", "Opaque", "not an array"),
        ("'dense/kernel'", "Opaque", "not an array"),
    ),
}

each_bad_gradient = pytest.mark.parametrize("bad", BAD_GRADIENTS.values(), ids=BAD_GRADIENTS.keys())


@pytest.mark.default_promotion
@each_bad_gradient
def test_bad_gradients_are_named(bad):
    tx = funcopt.adam(1e-3)
    state = tx.init(PARAMS)
    with raises(bad.kind, *bad.words):
        tx.update(bad.grads, state, PARAMS)
    with raises(bad.kind, *bad.without_params):
        tx.update(bad.grads, state)


@pytest.mark.default_promotion
@each_bad_gradient
def test_nothing_is_lost_by_a_bad_gradient(bad):
    """The same state goes on as if the bad call had not been made."""
    tx = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-3))
    state = tx.init(PARAMS)
    expected = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    before = copy.deepcopy(state)
    with pytest.raises(bad.kind):
        tx.update(bad.grads, state, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, state, before)
    jax.tree.map(np.testing.assert_array_equal, tx.update(GRADS, state, PARAMS), expected)


@pytest.mark.parametrize("name", ["wrong shape", "None", "missing", "extra", "complex"])
def test_bad_gradients_are_named_under_jit(name):
    bad = BAD_GRADIENTS[name]
    tx = funcopt.adam(1e-3)
    update = jax.jit(tx.update)
    state = tx.init(PARAMS)
    with raises(bad.kind, *bad.words):
        update(bad.grads, state, PARAMS)
    updates, _ = update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["dense"]["bias"], -1e-3, rtol=1e-6)


@pytest.mark.parametrize("name", ["wrong shape", "scalar", "missing", "extra", "integer", "string"])
def test_bad_gradients_are_named_by_optimizers_without_slots(name):
    """Their state knows no parameters: those that are given must do."""
    bad = BAD_GRADIENTS[name]
    tx = funcopt.sgd(0.1)
    words = [word for word in bad.words if "gradients" not in word]
    with raises(bad.kind, *words):
        tx.update(bad.grads, tx.init(PARAMS), PARAMS)


def test_a_missing_gradient_is_named_by_optimizers_without_slots():
    tx = funcopt.sgd(0.1)
    with raises(ValueError, "'dense/kernel'", "no gradient (None)", "zeros"):
        tx.update(grads_with(kernel=None), tx.init(PARAMS), PARAMS)


def test_a_shape_that_only_the_write_can_see_is_named_there():
    tx = funcopt.sgd(0.1)
    updates, _ = tx.update(grads_with(kernel=jnp.ones((1, 3))), tx.init(PARAMS))
    with raises(ValueError, "'dense/kernel'", "(1, 3)", "(2, 3)"):
        funcopt.apply_updates(PARAMS, updates)


def test_gradients_under_other_names_are_not_matched_by_order():
    tx = funcopt.adam(1e-3)
    renamed = {"dense": {"bias": jnp.ones(3), "weight": jnp.ones((2, 3))}}
    with raises(ValueError, "gradient: dense/kernel", "parameter: dense/weight"):
        tx.update(renamed, tx.init(PARAMS), PARAMS)
    nested = {"dense": {"bias": jnp.ones(3), "kernel": jnp.ones(3)}}
    deeper = {"dense": {"bias": jnp.ones(3), "kernel": {"a": jnp.ones(3), "b": jnp.ones(3)}}}
    with raises(ValueError, "dense/kernel/a", "dense/kernel"):
        tx.update(nested, tx.init(nested), deeper)


def test_many_missing_gradients_are_not_all_listed():
    params = {f"layer_{i:02}": jnp.ones(1) for i in range(30)}
    tx = funcopt.adam(1e-3)
    with raises(ValueError, "layer_00", "layer_09 and 20 more"):
        tx.update({}, tx.init(params), params)


def test_clipping_checks_what_it_multiplies():
    """Multiplied by the ratio, integers would all become zero."""
    tx = funcopt.clip_by_global_norm(1.0)
    state = tx.init(PARAMS)
    with raises(TypeError, "'dense/kernel'", "int32"):
        tx.update(BAD_GRADIENTS["integer"].grads, state)
    with raises(TypeError, "'dense/kernel'", "'relu'"):
        tx.update(BAD_GRADIENTS["string"].grads, state)


# -- parameters -----------------------------------------------------------------------------------

EVERY_KIND = pytest.mark.parametrize(
    "tx",
    [
        funcopt.adam(1e-3),
        funcopt.sgd(0.1),
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.lion(1e-3)),
    ],
    ids=["adam", "sgd", "chain"],
)


@EVERY_KIND
@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_integer_parameters_are_named(tx, dtype):
    with raises(TypeError, "'step'", dtype, "floating-point", "Take it out"):
        tx.init({"step": jnp.zeros(2, dtype), "w": jnp.ones(2)})


@EVERY_KIND
@pytest.mark.parametrize("leaf", ["relu", jax.nn.relu, Opaque(), 3])
def test_leaves_that_are_no_arrays_are_named_with_the_way_out(tx, leaf):
    with raises(TypeError, "'layers/0'", repr(leaf), "Equinox", "eqx.filter"):
        tx.init({"layers": [leaf, jnp.ones(2)]})


def test_the_hint_for_equinox_works():
    model = eqx.nn.MLP(2, 2, 2, 1, key=jax.random.PRNGKey(0))
    tx = funcopt.adam(1e-3)
    with raises(TypeError, "activation", "eqx.filter(model, eqx.is_inexact_array)"):
        tx.init(model)
    assert len(jax.tree.leaves(tx.init(eqx.filter(model, eqx.is_inexact_array)).slots)) == 8


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.adamw(1e-3),
        funcopt.lion(1e-3),
        funcopt.nadamw(1e-3),
        funcopt.adadelta(),
        funcopt.add_decayed_weights(0.1),
        funcopt.chain(funcopt.clip(1.0), funcopt.adamw(1e-3)),
        optax.chain(funcopt.add_decayed_weights(0.1), funcopt.sgd(0.1)),
    ],
    ids=["adamw", "lion", "nadamw", "adadelta", "add_decayed_weights", "chain", "optax.chain"],
)
def test_missing_parameters_are_asked_for(tx):
    with raises(ValueError, "Decay needs the parameters", "tx.update(grads, state, params)"):
        tx.update(GRADS, tx.init(PARAMS))


def test_parameters_are_not_asked_for_where_nothing_reads_them():
    for tx in (funcopt.adam(1e-3), funcopt.sgd(0.1, 0.9), funcopt.clip_by_global_norm(1.0)):
        updates, _ = tx.update(GRADS, tx.init(PARAMS))
        assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)


# -- hyperparameters ------------------------------------------------------------------------------

BAD_RATES = [
    (None, TypeError),
    (-1e-3, ValueError),
    (float("nan"), ValueError),
    (float("inf"), ValueError),
    (-float("inf"), ValueError),
    (True, TypeError),
    ("0.1", TypeError),
    ([0.1], TypeError),
    (1j, TypeError),
    ({"lr": 0.1}, TypeError),
    (np.float32(-1), ValueError),
    (np.array([0.1, -0.1]), ValueError),
    (np.array([True]), TypeError),
    (jnp.array([0.1, jnp.nan]), ValueError),
]


@pytest.mark.parametrize(("rate", "kind"), BAD_RATES, ids=lambda x: repr(x)[:20])
@pytest.mark.parametrize("factory", [funcopt.adam, funcopt.sgd, funcopt.descend])
def test_bad_learning_rates(factory, rate, kind):
    name = factory.__name__
    with raises(kind, f"{name}: learning_rate", "finite number >= 0", "schedule", repr(rate)):
        factory(rate)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: funcopt.adam(1e-3, b1=1.0), ValueError, ("adam: b1", "[0, 1)", "1.0")),
        (lambda: funcopt.adam(1e-3, b2=1.5), ValueError, ("adam: b2", "[0, 1)", "1.5")),
        (lambda: funcopt.adam(1e-3, b1=-0.1), ValueError, ("adam: b1", "[0, 1)", "-0.1")),
        (lambda: funcopt.adam(1e-3, b1=None), TypeError, ("adam: b1", "[0, 1)", "None")),
        (lambda: funcopt.adam(1e-3, eps=-1e-8), ValueError, ("adam: eps", ">= 0", "-1e-08")),
        (lambda: funcopt.adamw(1e-3, weight_decay=-0.1), ValueError, ("weight_decay", "-0.1")),
        (lambda: funcopt.sgd(0.1, momentum=1.0), ValueError, ("momentum", "None", "1.0")),
        (lambda: funcopt.sgd(0.1, 0.9, nesterov=1), TypeError, ("nesterov", "True or False", "1")),
        (lambda: funcopt.clip(-1.0), ValueError, ("clip: max_delta", ">= 0", "-1.0")),
        (
            lambda: funcopt.clip_by_global_norm(float("nan")),
            ValueError,
            ("clip_by_global_norm: max_norm", ">= 0", "nan"),
        ),
        (
            lambda: funcopt.clip_by_global_norm(None),
            TypeError,
            ("clip_by_global_norm: max_norm", ">= 0", "None"),
        ),
        (lambda: funcopt.scale(float("inf")), ValueError, ("scale: step_size", "finite", "inf")),
        (
            lambda: funcopt.nadam(1e-3, variant="torch"),
            ValueError,
            ("nadam: variant", "dozat, pytorch, init2winit", "'torch'"),
        ),
        (
            lambda: funcopt.amsgrad(1e-3, variant="adam"),
            ValueError,
            ("amsgrad: variant", "optax, pytorch, paper", "'adam'"),
        ),
        (
            lambda: funcopt.adam(1e-3, mu_dtype="float17"),
            TypeError,
            ("adam: mu_dtype", "dtype", "'float17'"),
        ),
        (
            lambda: funcopt.adam(1e-3, mu_dtype="int8"),
            TypeError,
            ("adam: mu_dtype", "floating", "int8"),
        ),
        (lambda: funcopt.sgd(0.1, nesterov=True), ValueError, ("sgd", "momentum=", "0.9")),
        (lambda: funcopt.rmsprop(0.1, nesterov=True), ValueError, ("rmsprop", "momentum=")),
        (
            lambda: funcopt.adam(0.1, nesterov=True, bias_correction=False),
            ValueError,
            ("adam", "nesterov=True", "bias correction"),
        ),
    ],
)
def test_bad_hyperparameters(make, kind, words):
    with raises(kind, *words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: funcopt.adam(1e-3, beta1=0.9), ("adam", "'beta1'", "b1, b2, eps")),
        (lambda: funcopt.adam(lr=1e-3), ("adam", "unknown argument 'lr'", "learning_rate, b1")),
        (lambda: funcopt.adam(), ("adam", "learning_rate", "b1, b2, eps")),
        (lambda: funcopt.clip(1.0, 2.0), ("clip", "too many", "max_delta")),
        (lambda: funcopt.adam(1e-3).replace(lr=1e-2), ("adam", "lr", "learning_rate, b1")),
        (lambda: funcopt.linear_schedule(1.0, 0.0, steps=3), ("'steps'", "transition_steps")),
    ],
)
def test_unknown_and_missing_arguments(make, words):
    with raises(TypeError, *words):
        make()


def test_replace_checks_what_it_changes():
    with raises(ValueError, "adam: b1", "[0, 1)", "2.0"):
        funcopt.adam(1e-3).replace(b1=2.0)


def test_traced_numbers_always_pass():
    """A value that is not known cannot be wrong, also not one that is wrong."""

    def run(rate, b1):
        tx = funcopt.chain(funcopt.clip_by_global_norm(rate), funcopt.adam(rate, b1))
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["dense"]["bias"]

    wrong = jnp.array([-0.1, -0.2])
    assert jax.vmap(run)(wrong, wrong).shape == (2, 3)
    assert jax.jacfwd(run, argnums=(0, 1))(-0.1, 1.5)[1].shape == (3,)
    assert jax.jit(run)(-0.1, 1.5).shape == (3,)


def test_hashing_an_array_says_what_to_do():
    with raises(TypeError, "adam(...)", "Python numbers", "pytree"):
        hash(funcopt.adam(jnp.array([1e-3, 1e-2])))


@pytest.mark.parametrize(
    ("tx", "name"),
    [
        (funcopt.adam(jnp.array([0.1, 0.2])), "learning_rate"),
        (funcopt.adam(0.1, b1=jnp.array([0.1, 0.2])), "Adam: b1"),
        (
            funcopt.adagrad(0.1, initial_accumulator_value=jnp.array([0.1, 0.2])),
            "Adagrad: initial_accumulator_value",
        ),
        (funcopt.adam(lambda step: jnp.ones(2)), "learning_rate"),
    ],
)
def test_an_array_of_settings_needs_vmap(tx, name):
    with raises(ValueError, name, "shape (2,)", "jax.vmap", "tx.in_axes"):
        tx.init(PARAMS)


def test_an_array_of_settings_is_refused_by_update_too():
    """With a state of another value of the same transformation."""
    state = funcopt.adam(0.1).init(PARAMS)
    with raises(ValueError, "Adam: b1", "shape (2,)", "jax.vmap"):
        funcopt.adam(0.1, b1=jnp.array([0.1, 0.2])).update(GRADS, state)


def test_an_array_of_thresholds_needs_vmap():
    tx = funcopt.clip_by_global_norm(jnp.array([0.1, 0.2]))
    with raises(ValueError, "max_norm", "shape (2,)", "jax.vmap"):
        tx.update(GRADS, tx.init(PARAMS))


def test_the_hint_for_an_array_of_settings_works():
    tx = funcopt.adam(jnp.array([0.1, 0.2]))

    def train(tx):
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]["dense"]["bias"]

    rates = -jnp.array([[0.1], [0.2]]) * jnp.ones((2, 3))
    np.testing.assert_allclose(jax.vmap(train, in_axes=(tx.in_axes,))(tx), rates, rtol=1e-6)


@pytest.mark.parametrize("value", [None, "0.1", True, [0.1]])
def test_a_schedule_that_returns_no_number_is_named(value):
    def schedule(step):
        return value

    with raises(TypeError, "learning_rate", "schedule", repr(value), "not a number"):
        funcopt.adam(schedule).init(PARAMS)
    with raises(TypeError, "Adam: b1", "schedule", repr(value), "not a number"):
        funcopt.adam(0.1, b1=schedule).init(PARAMS)


def test_a_schedule_that_was_not_called_says_what_it_wants():
    with raises(TypeError, "cosine_decay_schedule", "decay_steps"):
        funcopt.adam(funcopt.cosine_decay_schedule).init(PARAMS)


# -- masks ----------------------------------------------------------------------------------------


def masked_update(mask):
    tx = funcopt.adamw(1e-3, mask=mask)
    return tx.update(GRADS, tx.init(PARAMS), PARAMS)


@pytest.mark.parametrize("mask", ["kernle", "!kernle", ["bias", "kernle"]])
def test_a_pattern_that_matches_nothing_is_named_with_what_there_is(mask):
    with raises(ValueError, "'kernle'", "matches no parameter", "dense/bias, dense/kernel"):
        masked_update(mask)


@pytest.mark.parametrize("mask", ["(", "!*", ["bias", "["]])
def test_a_pattern_that_is_no_regular_expression_is_refused_at_once(mask):
    with raises(ValueError, "adamw: mask", "not a regular expression"):
        funcopt.adamw(1e-3, mask=mask)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"dense": {"kernel": True}}, ("without a flag: dense/bias",)),
        (
            {"dense": {"kernel": True, "bias": False, "scale": True}},
            ("without a parameter: dense/scale",),
        ),
        (
            {"dense": {"kernel": True, "biases": False}},
            ("without a flag: dense/bias.", "without a parameter: dense/biases"),
        ),
        ({"dense": {"kernel": True, "bias": None}}, ("without a flag: dense/bias",)),
        ([], ("without a flag: dense/bias, dense/kernel",)),
        (lambda params: None, ("without a flag: dense/bias, dense/kernel",)),
        (lambda params: {"dense": [True]}, ("without a flag: dense/bias, dense/kernel",)),
    ],
)
def test_a_mask_that_does_not_fit_names_the_paths(mask, words):
    with raises(ValueError, "mask's tree does not fit", *words):
        masked_update(mask)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (1, ("adamw: mask", "True or False", "1")),
        ({"dense": {"kernel": 1, "bias": 0}}, ("mask at 'dense/bias'", "True or False", "0")),
        ({"dense": {"kernel": "decay", "bias": True}}, ("'dense/kernel'", "'decay'")),
        ({"dense": {"kernel": np.ones((2, 3), bool), "bias": True}}, ("'dense/kernel'",)),
    ],
)
def test_a_mask_of_other_things_than_bools_is_refused_at_once(mask, words):
    with raises(TypeError, *words):
        funcopt.adamw(1e-3, mask=mask)


@pytest.mark.parametrize("answer", [None, "yes", 1])
def test_a_predicate_must_answer_true_or_false(answer):
    with raises(TypeError, "'dense/bias'", "True or False", repr(answer)):
        masked_update(lambda path, leaf: answer)


def test_a_traced_mask_is_refused():
    @jax.jit
    def with_tree(flag):
        return funcopt.adamw(1e-3, mask={"dense": {"kernel": flag, "bias": True}}).init(PARAMS)

    @jax.jit
    def with_predicate(params):
        tx = funcopt.adamw(1e-3, mask=lambda path, leaf: leaf.sum() > 0)
        return tx.update(GRADS, tx.init(params), params)

    with raises(TypeError, "'dense/kernel'", "before the step runs", "Python bools"):
        with_tree(True)
    with raises(TypeError, "'dense/bias'", "before the step runs", "Python bools"):
        with_predicate(PARAMS)


def test_a_rule_with_slots_cannot_be_masked():
    with raises(ValueError, "Momentum", "slots"):
        funcopt.masked("kernel", funcopt.Momentum(0.9))


# -- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: funcopt.adam(0.1, storage="int3"), ("adam: storage", "bfloat16", "'int3'")),
        (lambda: funcopt.adam(0.1, storage=8), ("adam: storage", "bfloat16", "8")),
        (
            lambda: funcopt.adam(0.1, storage={"mu": "int3"}),
            ("adam: storage['mu']", "bfloat16", "'int3'"),
        ),
        (
            lambda: funcopt.adam(0.1, storage={"momentum": "bfloat16"}),
            ("storage", "'momentum'", "mu, nu"),
        ),
        (
            lambda: funcopt.adam(0.1, storage={"nu": "bfloat16"}),
            ("storage['nu']", "'bfloat16'", "float32"),
        ),
        (lambda: funcopt.sgd(0.1, storage={"trace": "bfloat16"}), ("'trace'", "no slot")),
    ],
)
def test_bad_storage(make, words):
    with raises(ValueError, *words):
        make()


# -- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (funcopt.adam(0.1), funcopt.sgd(0.1), ("Adam", "Moments", "(NoSlots)")),
        (funcopt.sgd(0.1), funcopt.adam(0.1), ("Descend", "NoSlots", "(Moments, NoSlots)")),
        (funcopt.adam(0.1), funcopt.sgd(0.1, 0.9), ("Adam", "TraceSlots")),
        (funcopt.lion(0.1), funcopt.sgd(0.1, 0.9), ("LionSlots", "TraceSlots")),
        (funcopt.adam(0.1), funcopt.chain(funcopt.adam(0.1)), ("Adam", "a tuple")),
        (funcopt.adam(0.1), optax.adam(0.1), ("Adam", "a tuple")),
        (funcopt.chain(funcopt.adam(0.1)), funcopt.adam(0.1), ("chain", "1 states", "LiftedState")),
        (
            funcopt.chain(funcopt.clip(1.0), funcopt.adam(0.1)),
            funcopt.chain(funcopt.clip(1.0)),
            ("chain", "2 states", "got 1"),
        ),
        (
            funcopt.clip_by_global_norm(funcopt.constant_schedule(1.0)),
            funcopt.identity(),
            ("clip_by_global_norm", "tuple"),
        ),
    ],
)
def test_the_state_of_another_transformation_is_refused(ours, theirs, words):
    with raises(ValueError, "tx.init(params)", "tx.update(grads, state, params)", *words):
        ours.update(GRADS, theirs.init(PARAMS), PARAMS)


@pytest.mark.parametrize("state", [None, {}, PARAMS])
def test_a_state_that_is_none_is_refused(state):
    with raises(ValueError, "tx.update(grads, state, params)", type(state).__name__):
        funcopt.adam(0.1).update(GRADS, state, PARAMS)


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.clip(1.0),
        funcopt.scale(2.0),
        funcopt.add_decayed_weights(0.1),
        funcopt.clip_by_global_norm(1.0),
        funcopt.clip_by_block_rms(1.0),
        funcopt.adaptive_grad_clip(0.1),
    ],
    ids=repr,
)
def test_what_remembers_nothing_takes_any_state(tx):
    expected, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    for state in (None, (), optax.EmptyState()):
        updates, _ = tx.update(GRADS, state, PARAMS)
        chex.assert_trees_all_equal(updates, expected)


def test_no_learning_rate_or_several():
    with raises(ValueError, "no learning rate", "funcopt.metrics"):
        funcopt.current_lr(funcopt.scale_by_adam().init(PARAMS))
    with raises(ValueError, "2 learning rates", "0/lr 0.1", "1/lr 0.2", "funcopt.metrics"):
        funcopt.current_lr(funcopt.chain(funcopt.sgd(0.1), funcopt.sgd(0.2)).init(PARAMS))


# -- chains and rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (lambda grads: grads, ("<lambda>", "call it")),
        (funcopt.adam, ("function adam", "call it")),
        (funcopt.rules.Adam(), ("Adam(b1=0.9", "a rule", "funcopt.optimizer")),
        ([funcopt.clip(1.0)], ("[clip(max_delta=1.0)]", "chain(a, b)")),
        (None, ("None",)),
        (0.1, ("0.1",)),
    ],
)
def test_a_chain_takes_transformations_only(member, words):
    with raises(TypeError, "chain takes gradient transformations", *words):
        funcopt.chain(funcopt.clip(1.0), member)


def test_an_optimizer_takes_rules_only():
    with raises(TypeError, "funcopt.rules.Adam()", "scale_by_adam()", "funcopt.chain"):
        funcopt.optimizer(funcopt.scale_by_adam(), learning_rate=0.1)
    with raises(TypeError, "funcopt.rules.Adam()", "Lion'>"):
        funcopt.optimizer(funcopt.rules.Lion, learning_rate=0.1)
    with raises(TypeError, "optimizer", "learning_rate"):
        funcopt.optimizer(funcopt.rules.Adam())


def test_the_numbers_of_rules_are_checked():
    with raises(ValueError, "Adam: b1", "[0, 1)", "2"):
        funcopt.optimizer(funcopt.rules.Adam(b1=2), learning_rate=0.1)


class OneSlot(NamedTuple):
    mu: funcopt.Signed


def rule_returning(answer: Callable) -> Any:
    @funcopt.rule(acts_on="array", slots=OneSlot)
    class Broken(funcopt.Rule):
        def init(self, param):
            return OneSlot(jnp.zeros_like(param))

        def update(self, grad, slots, param, clock):
            return answer(grad, slots)

    return Broken()


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda g, s: (g.sum(), s), ValueError, ("update", "shape ()", "(3,)")),
        (lambda g, s: (g, OneSlot(g.sum())), ValueError, ("mu", "shape ()", "(3,)")),
        (lambda g, s: g, TypeError, ("must return (update, OneSlot(...))",)),
        (lambda g, s: (g, g), TypeError, ("must return (update, OneSlot(...))",)),
        (lambda g, s: (g, (g,)), TypeError, ("must return (update, OneSlot(...))",)),
        (lambda g, s: None, TypeError, ("must return (update, OneSlot(...))", "None")),
    ],
)
def test_what_a_rule_returns_is_checked(answer, kind, words):
    tx = funcopt.lift(rule_returning(answer))
    params = {"w": jnp.ones(3)}
    with raises(kind, "Broken.update", *words):
        tx.update(params, tx.init(params), params)


# -- writes ---------------------------------------------------------------------------------------


def test_updates_that_do_not_fit_the_parameters_are_named():
    with raises(ValueError, "'dense/kernel'", "(3,)", "(2, 3)"):
        funcopt.apply_updates(PARAMS, grads_with(kernel=jnp.ones(3)))
    with raises(ValueError, "apply_updates", "without an update: dense/kernel"):
        funcopt.apply_updates(PARAMS, grads_with(kernel=...))
    with raises(ValueError, "apply_updates", "without a parameter: dense/scale"):
        funcopt.apply_updates(PARAMS, grads_with(scale=jnp.ones(3)))


# -- schedules ------------------------------------------------------------------------------------

FLAT = funcopt.constant_schedule(1.0)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (
            lambda: funcopt.warmup_cosine_decay_schedule(0.0, 1.0, 10, 5),
            ValueError,
            ("warmup_steps=10", "below", "decay_steps=5", "counts the warm-up"),
        ),
        (
            lambda: funcopt.warmup_cosine_decay_schedule(0.0, 1.0, 5, 5),
            ValueError,
            ("warmup_steps=5", "decay_steps=5"),
        ),
        (
            lambda: funcopt.linear_schedule(1.0, 0.0, 0),
            ValueError,
            ("linear_schedule: transition_steps", "from 1", "0"),
        ),
        (
            lambda: funcopt.exponential_decay(1.0, 0, 0.5),
            ValueError,
            ("exponential_decay: transition_steps", "from 1"),
        ),
        (
            lambda: funcopt.cosine_decay_schedule(1.0, 0.5),
            ValueError,
            ("cosine_decay_schedule: decay_steps", "from 1 on", "0.5"),
        ),
        (
            lambda: funcopt.cosine_decay_schedule(1.0, float("inf")),
            ValueError,
            ("cosine_decay_schedule: decay_steps", "a number of steps", "inf"),
        ),
        (
            lambda: funcopt.linear_warmup(1.0, -3),
            ValueError,
            ("linear_warmup: warmup_steps", "from 1", "-3"),
        ),
        (
            lambda: funcopt.linear_schedule(1.0, 0.0, 10, -1),
            ValueError,
            ("transition_begin", "from 0", "-1"),
        ),
        (
            lambda: funcopt.polynomial_schedule(1.0, 0.0, 0.0, 10),
            ValueError,
            ("polynomial_schedule: power", "> 0", "0.0"),
        ),
        (
            lambda: funcopt.exponential_decay(1.0, 10, 0.0),
            ValueError,
            ("exponential_decay: decay_rate", "> 0", "0.0"),
        ),
        (
            lambda: funcopt.exponential_decay(1.0, 10, 0.5, staircase="yes"),
            TypeError,
            ("staircase", "True or False", "'yes'"),
        ),
        (
            lambda: funcopt.constant_schedule(None),
            TypeError,
            ("constant_schedule: value", "finite number", "None"),
        ),
        (
            lambda: funcopt.linear_schedule(float("nan"), 0.0, 10),
            ValueError,
            ("linear_schedule: init_value", "finite number", "nan"),
        ),
        (
            lambda: funcopt.constant_schedule(FLAT),
            TypeError,
            ("constant_schedule: value", "finite number", "constant_schedule(value=1.0)"),
        ),
        (
            lambda: funcopt.piecewise_constant_schedule(1.0, [(10, 0.5)]),
            TypeError,
            ("boundaries_and_scales", "dict", "[(10, 0.5)]"),
        ),
        (
            lambda: funcopt.piecewise_constant_schedule(1.0, {10: -0.5}),
            ValueError,
            ("boundaries_and_scales[10]", ">= 0", "-0.5"),
        ),
        (
            lambda: funcopt.piecewise_constant_schedule(1.0, {-10: 0.5}),
            ValueError,
            ("boundaries_and_scales", "a step", "from 0", "-10"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT, FLAT], []),
            ValueError,
            ("2 schedules need 1 boundaries", "got 0"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT], [5]),
            ValueError,
            ("1 schedules need 0 boundaries", "got 1"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT] * 3, [5, 3]),
            ValueError,
            ("boundaries", "increase", "[5, 3]"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT] * 3, [5, 5]),
            ValueError,
            ("boundaries", "increase", "[5, 5]"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT] * 2, [-5]),
            ValueError,
            ("boundaries[0]", "from 0", "-5"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT] * 2, [float("nan")]),
            ValueError,
            ("boundaries[0]", "a number of steps", "nan"),
        ),
        (
            lambda: funcopt.join_schedules([FLAT] * 2, ["5"]),
            TypeError,
            ("boundaries[0]", "a number of steps", "'5'"),
        ),
        (lambda: funcopt.join_schedules([FLAT] * 2, 5), TypeError, ("boundaries", "list", "5")),
        (
            lambda: funcopt.join_schedules(FLAT, [5]),
            TypeError,
            ("join_schedules: schedules", "list", "constant_schedule"),
        ),
        (
            lambda: funcopt.join_schedules([0.1, 0.2], [5]),
            TypeError,
            ("join_schedules: schedules", "functions of the step", "[0.1, 0.2]"),
        ),
        (lambda: funcopt.join_schedules([], []), TypeError, ("schedules", "[]")),
    ],
)
def test_bad_schedules(make, kind, words):
    with raises(kind, *words):
        make()
