"""`eval_params` of whole models, and of arguments in another order."""

from collections import OrderedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

AVERAGING = {
    "schedule_free": funcopt.schedule_free_sgd(0.1),
    "guard": funcopt.guard(funcopt.schedule_free_sgd(0.1)),
    "gpa": funcopt.guard(funcopt.gpa(funcopt.sgd(0.1))),
    "ema_nesterov": funcopt.ema_nesterov(funcopt.sgd(0.1)),
    "dog": funcopt.dog(),
    "a group": funcopt.partition({"weight": funcopt.schedule_free_sgd(0.1), "": None}),
}


@pytest.mark.parametrize("name", AVERAGING)
def test_whole_models(name):
    tx = AVERAGING[name]
    model = eqx.nn.MLP(2, 2, 3, 1, key=jax.random.PRNGKey(0))
    params = eqx.filter(model, eqx.is_inexact_array)
    updates, state = tx.update(params, tx.init(params), params)
    params, model = (funcopt.apply_updates(x, updates) for x in (params, model))
    of_model = funcopt.eval_params(tx, state, model)
    assert of_model.activation is model.activation
    of_arrays = funcopt.eval_params(tx, state, params)
    jax.tree.map(np.testing.assert_array_equal, eqx.filter(of_model, eqx.is_array), of_arrays)


@pytest.mark.parametrize("tx", [funcopt.schedule_free_sgd(0.1), funcopt.guard(funcopt.sgd(0.1))])
def test_other_orders_and_other_parameters(tx):
    params = {"w": jnp.ones(2)}
    state = tx.init(params)
    for wrong in ((state, tx, params), (tx, params, state), (params, state, tx)):
        with pytest.raises(TypeError, match=r"the order of arguments is `eval_params\(tx, state, "):
            funcopt.eval_params(*wrong)


def test_containers_of_another_order():
    tx = funcopt.schedule_free_sgd(0.1)
    params = {"a": jnp.ones(1), "b": jnp.zeros(2)}
    updates, state = tx.update({"a": jnp.ones(1), "b": jnp.ones(2)}, tx.init(params), params)
    params = funcopt.apply_updates(params, updates)
    ours = funcopt.eval_params(tx, state, OrderedDict(b=params["b"], a=params["a"]))
    assert list(ours) == ["b", "a"]
    expected = funcopt.eval_params(tx, state, params)
    jax.tree.map(np.testing.assert_array_equal, dict(ours), expected)


def test_parameters_of_other_names():
    tx = funcopt.schedule_free_sgd(0.1)
    state = tx.init({"w": jnp.ones(2)})
    with pytest.raises(
        ValueError, match=r"without an average: v\. Averages without a parameter: w"
    ):
        funcopt.eval_params(tx, state, {"v": jnp.ones(2)})


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (
            funcopt.rules.Adam(),
            "a rule, which funcopt.lift or funcopt.optimizer makes a transformation",
        ),
        (funcopt.rules.Adam, "a class of rules"),
        (funcopt.adam, "call it to make one"),
        ("adam", r"call the function of that name, `funcopt.adam\(...\)`"),
        ([funcopt.adam(0.1)], r"funcopt.chain\(a, b\) makes one of several"),
    ],
)
def test_what_is_no_transformation(given, hint):
    for wrap in (funcopt.guard, funcopt.rollback, funcopt.loss_scale, funcopt.mechanize):
        with pytest.raises(TypeError, match=f"must be a gradient transformation, got.*{hint}"):
            wrap(given)


def test_a_mask_is_looked_at_where_nothing_decays():
    for factory in (funcopt.schedule_free_sgd, funcopt.schedule_free_adamw):
        with pytest.raises(ValueError, match="pattern 'typo' matches no parameter"):
            factory(0.1, mask="typo").init({"w": jnp.ones(2)})
