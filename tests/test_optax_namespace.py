"""`import funcopt.optax as optax`: optax's names, calls and states over funcopt's arithmetic."""

from __future__ import annotations

import importlib
import inspect
import operator
import pickle
import pkgutil
from typing import Any

import equinox as eqx
import flax.nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
import funcopt.optax as ours
from funcopt.core.lazy import imports

pytestmark = pytest.mark.default_promotion

MODULES = ["", *(f".{each.name}" for each in pkgutil.iter_modules(optax.__path__) if each.ispkg)]
RANDOM = np.random.default_rng(8)
PARAMS = {"w": RANDOM.standard_normal((2, 3)).astype(np.float32), "b": np.ones(3, np.float32)}
GRADS = [
    {name: RANDOM.standard_normal(x.shape).astype(np.float32) for name, x in PARAMS.items()}
    for _ in range(4)
]


@pytest.mark.parametrize("module", [each for each in MODULES if not each.startswith("._")])
def test_every_public_name_is_there(module):
    """And what it is called with, too."""
    theirs = importlib.import_module(f"optax{module}")
    found = importlib.import_module(f"funcopt.optax{module}")
    for name in dir(theirs):
        if name.startswith("_"):
            continue
        here, there = getattr(found, name), getattr(theirs, name)
        if inspect.isclass(there):
            assert here is there or (name == "MultiSteps" and issubclass(here, there))
        if inspect.isfunction(there):
            wanted, got = _arguments(there), _arguments(here)
            assert got[: len(wanted)] == wanted, name
    assert set(dir(theirs)) - set(dir(found)) <= {"__builtins__", *_dunder(theirs)}


def _arguments(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_POSITIONAL]


def _dunder(module: Any) -> set[str]:
    return {name for name in dir(module) if name.startswith("_")}


FIRST = {
    "adaptive_grad_clip": (0.1,),
    "add_decayed_weights": (0.1, {"w": 1, "b": 0}),
    "clip": (0.5,),
    "clip_by_block_rms": (0.5,),
    "clip_by_global_norm": (1.0,),
    "normalize_by_update_norm": (0.5,),
    "polyak_sgd": (0.5,),
    "scale": (-0.1,),
    "scale_by_learning_rate": (-0.1,),
    "scale_by_schedule": (optax.linear_schedule(1.0, 0.0, 4),),
    "trace": (0.9,),
}
ROUNDING = 3e-5  # optax's own: it raises its decay rates to int32 powers in float32
MADE = sorted(
    name
    for name, place in imports(ours.__name__).items()
    if place == "funcopt.optax.algorithms" and name not in ("chain", "global_norm")
)
RATES = {"constant": 0.05, "ascending": -0.05, "scheduled": optax.linear_schedule(0.05, 0.0, 9)}


def _own_contrib(name: str) -> Any:
    return vars(ours.contrib).get(name)


def walked(tx: Any) -> tuple[Any, Any]:
    params, state = jax.tree.map(jnp.asarray, PARAMS), tx.init(PARAMS)
    for g in GRADS:
        updates, state = tx.update(g, state, params, value=jnp.float32(2.0))
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jnp.asarray(a).dtype == jnp.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(b).max())


IN_CONTRIB = sorted(name for name in dir(optax.contrib) if hasattr(_own_contrib(name), "shown"))


@pytest.mark.parametrize("name", [*MADE, *(f"contrib.{name}" for name in IN_CONTRIB)])
def test_steps_and_states_are_optaxs(name):
    factory, theirs = (operator.attrgetter(name)(module) for module in (ours, optax))
    name = name.removeprefix("contrib.")
    rated = "learning_rate" in inspect.signature(theirs).parameters and name not in FIRST
    for args in [(rate,) for rate in RATES.values()] if rated else [FIRST.get(name, ())]:
        expected = walked(optax.with_extra_args_support(theirs(*args)))
        assert_close(walked(factory(*args)), expected)


def test_they_are_values_of_funcopt():
    tx = ours.adamw(0.5, mask="w$")
    assert repr(tx) == "optax.adamw(learning_rate=0.5, mask='w$')"
    assert tx == ours.adamw(0.5, mask="w$")
    assert hash(tx) == hash(pickle.loads(pickle.dumps(tx)))
    gated = funcopt.guard(ours.chain(ours.clip(1.0), tx))
    state = gated.init(PARAMS)
    nan = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), PARAMS)
    updates, state = gated.update(nan, state, PARAMS)
    assert not any(np.any(x) for x in jax.tree.leaves(updates))
    assert int(optax.tree.get(state, "mu")["w"].sum()) == 0


def _chained(m: Any) -> Any:
    rate = m.join_schedules([m.linear_schedule(0.0, 0.1, 3), m.cosine_decay_schedule(0.1, 9)], [3])
    return m.chain(m.clip_by_global_norm(1.0), m.adamw(rate, weight_decay=0.1))


def _injected(m: Any) -> Any:
    tx = m.inject_hyperparams(m.adam)(learning_rate=0.1)
    state = tx.init(PARAMS)
    state.hyperparams["learning_rate"] = jnp.float32(0.5)
    return tx.update(GRADS[0], state)[0], tx.init(PARAMS).hyperparams["learning_rate"]


def _grouped(m: Any) -> Any:
    tx = m.multi_transform({"a": m.adam(0.1), "b": m.set_to_zero()}, {"w": "a", "b": "b"})
    return tx.update(GRADS[0], tx.init(PARAMS))[0], len(tx.init(PARAMS).inner_states)


def _every(m: Any) -> Any:
    tx = m.MultiSteps(m.adam(0.1), every_k_schedule=2)
    state = tx.init(PARAMS)
    for g in GRADS[:2]:
        updates, state = tx.update(g, state, PARAMS)
    return updates, state.gradient_step, state.mini_step


def _own(m: Any) -> Any:
    tx = m.GradientTransformation(lambda p: (), lambda u, s, p=None: (m.tree.scale(2.0, u), s))
    both = m.chain(tx, m.sgd(0.1))
    return isinstance(both, m.GradientTransformation), both.update(GRADS[0], both.init(PARAMS))[0]


def _averaged(m: Any) -> Any:
    return m.incremental_update(GRADS[0], PARAMS, 0.1), m.periodic_update(GRADS[0], PARAMS, 0, 2)


def _whole_module(m: Any) -> Any:
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.PRNGKey(0))
    tx = m.sgd(0.1)
    grads = eqx.filter_grad(lambda model: model(jnp.ones(2)).sum())(model)
    return eqx.filter(tx.update(grads, tx.init(model))[0], eqx.is_array)


def _nnx(m: Any) -> Any:
    model = flax.nnx.Linear(2, 3, rngs=flax.nnx.Rngs(0))
    optimizer = flax.nnx.Optimizer(model, m.adamw(0.1), wrt=flax.nnx.Param)
    return flax.nnx.state(optimizer)["opt_state"][0]["mu"]["kernel"][...]


IDIOMS = {
    "state[0].mu": lambda m: m.adam(0.1).init(PARAMS)[0].mu,
    "state[1][0].count": lambda m: _chained(m).init(PARAMS)[1][0].count,
    "state[0].trace": lambda m: m.sgd(0.1, momentum=0.9).init(PARAMS)[0].trace,
    "state[-1].count": lambda m: m.adam(lambda step: 0.1).init(PARAMS)[-1].count,
    "state[0]._replace": lambda m: m.adam(0.1).init(PARAMS)[0]._replace(mu=PARAMS),
    "isinstance of a state": lambda m: isinstance(m.adam(1.0).init(PARAMS)[0], m.ScaleByAdamState),
    "tree.get of a count": lambda m: m.tree.get(
        _chained(m).init(PARAMS), "count", filtering=_adams
    ),
    "tree_map_params": lambda m: m.tree_map_params(
        m.adam(0.1), lambda x: x + 1, m.adam(0.1).init(PARAMS)
    ),
    "a chain": lambda m: walked(_chained(m)),
    "inject_hyperparams, written to": _injected,
    "multi_transform": _grouped,
    "MultiSteps": _every,
    "GradientTransformation(init, update)": _own,
    "incremental and periodic updates": _averaged,
    "init of a whole module": _whole_module,
    "Flax NNX": _nnx,
    "tuples of parameters": lambda m: m.adam(0.1).update(
        (jnp.ones(2), [jnp.ones(1)]), m.adam(0.1).init((jnp.ones(2), [jnp.ones(1)]))
    ),
    "Python numbers": lambda m: m.sgd(0.5).update({"a": 1}, m.sgd(0.5).init({"a": 1})),
    "half precision": lambda m: m.sgd(0.5).update(jnp.ones(2, "bfloat16"), m.sgd(0.5).init(()))[0],
    "no steps": lambda m: m.linear_schedule(0.0, 1.0, 0)(3),
    "fractions of steps": lambda m: m.linear_schedule(0.0, 1.0, 2.5)(2),
    "equal boundaries": lambda m: m.join_schedules(
        [m.constant_schedule(x) for x in (1.0, 2.0, 3.0)], [2, 2]
    )(2),
    "surplus boundaries": lambda m: m.join_schedules([m.constant_schedule(1.0)], [5])(9),
    "global_norm(updates=)": lambda m: m.global_norm(updates=PARAMS),
    "add_noise(seed=)": lambda m: m.add_noise(0.1, 0.5, seed=0).init(PARAMS).count,
    "add_noise(key=)": lambda m: m.add_noise(0.1, 0.5, key=jax.random.key(0)).init(PARAMS).count,
    "monitor(measures)": lambda m: m.monitor({"n": lambda u, s, p: 1.0}).init(PARAMS) is not None,
    "masked passes the rest": lambda m: walked(m.masked(m.scale(0.5), {"w": True, "b": False}))[0],
    "masks of numbers": lambda m: walked(m.adamw(0.1, mask={"w": 1, "b": 0}))[0],
    "apply_if_finite": lambda m: walked(m.apply_if_finite(m.adam(0.1), 3))[0],
    "named_chain": lambda m: walked(m.named_chain(("clip", m.clip(0.1)), ("step", m.sgd(0.1))))[0],
    "losses": lambda m: m.softmax_cross_entropy_with_integer_labels(
        jnp.ones((1, 2)), jnp.zeros(1, int)
    ),
    "schedules from the submodule": lambda m: m.schedules.cosine_decay_schedule(1.0, 4)(2),
}


def _adams(path: Any, _: Any) -> bool:
    return "ScaleByAdamState" in str(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("idiom", IDIOMS)
def test_idioms_mean_the_same(idiom):
    found, expected = IDIOMS[idiom](ours), IDIOMS[idiom](optax)
    assert type(found) is type(expected) or jnp.ndim(found) == jnp.ndim(expected)
    numeric = [x for x in jax.tree.leaves(expected) if not isinstance(x, str)]
    if numeric:
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            a, b = np.asarray(a, float), np.asarray(b, float)
            np.testing.assert_allclose(a, b, rtol=0, atol=ROUNDING * np.abs(b).max(initial=0))
    else:
        assert found == expected


def test_a_mask_of_paths_and_what_becomes_of_the_rest():
    tx = ours.masked(ours.sgd(0.5), "w$", otherwise=ours.set_to_zero())
    updates, _ = tx.update(GRADS[0], tx.init(PARAMS))
    np.testing.assert_array_equal(updates["w"], -0.5 * GRADS[0]["w"])
    assert not updates["b"].any()


def test_slots_of_half_precision_are_wide():
    """optax's own average stands still there; a state of funcopt's goes on in the type it has."""
    params = jnp.ones(3, jnp.bfloat16)
    tx = ours.adam(1e-3)
    state = tx.init(params)
    assert state[0].nu.dtype == jnp.float32
    updates, again = tx.update(params, state, params)
    assert updates.dtype == jnp.bfloat16
    assert jax.tree.map(lambda x: x.dtype, again) == jax.tree.map(lambda x: x.dtype, state)


def test_slots_of_complex_parameters_keep_their_types():
    """A mean of |g|² is real from the start."""
    params = jnp.array([1 + 1j])
    tx = ours.adam(0.1)
    state = tx.init(params)
    assert state[0].nu.dtype == jnp.float32
    _, again = tx.update(params, state, params)
    assert jax.tree.map(lambda x: x.dtype, again) == jax.tree.map(lambda x: x.dtype, state)
    for name in ("amsgrad", "adagrad", "rmsprop", "lion"):
        tx = getattr(ours, name)(0.1)
        assert tx.update(params, tx.init(params), params)[0].dtype == jnp.complex64


def test_leaves_without_gradients_keep_their_slots():
    params = {"w": jnp.ones(2), "index": jnp.arange(3)}
    tx = ours.adam(0.1)
    updates, state = tx.update({"w": jnp.ones(2), "index": None}, tx.init(params), params)
    assert updates["index"] is None
    assert state[0].mu["index"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(state[0].mu["w"], 0.1, rtol=1e-6)
    assert tx.update(None, state, None) == (None, state)


def test_a_checkpoint_of_optax_goes_on():
    _, state = walked(optax.adamw(0.1))
    one, _ = optax.adamw(0.1).update(GRADS[0], state, PARAMS)
    other, _ = ours.adamw(0.1).update(GRADS[0], state, PARAMS)
    assert_close(other, one)


def test_a_state_of_something_else_says_so():
    with pytest.raises(ValueError, match=r"adam got a tuple as its state, in which there is no mu"):
        ours.adam(0.1).update(GRADS[0], ours.sgd(0.1).init(PARAMS))
