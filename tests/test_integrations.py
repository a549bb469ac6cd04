"""The loops of real users: what other libraries do with a transformation works, with their code."""

import functools
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen
import flax.nnx
import flax.serialization
import flax.training.train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import orbax.checkpoint
import pytest

import funcopt

# Other libraries rely on JAX's implicit conversions.
pytestmark = pytest.mark.default_promotion

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": functools.partial(funcopt.sgd, momentum=0.9),
    "adagrad": funcopt.adagrad,
    "rmsprop": funcopt.rmsprop,
    "adadelta": funcopt.adadelta,
    "adam": funcopt.adam,
    "adamw": funcopt.adamw,
    "nadam": funcopt.nadam,
    "nadamw": funcopt.nadamw,
    "adamax": funcopt.adamax,
    "amsgrad": funcopt.amsgrad,
    "lion": funcopt.lion,
}
each_optimizer = pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
# Those that differ in what they keep and need, where a loop must be compiled for each.
KINDS = ("sgd", "adamw", "amsgrad", "lion")
each_kind = pytest.mark.parametrize("factory", [OPTIMIZERS[name] for name in KINDS], ids=KINDS)

X = jax.random.normal(jax.random.PRNGKey(0), (16, 3))
Y = X @ jnp.array([[1.0], [-2.0], [0.5]]) + 0.3
PARAMS = {"dense": {"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}}


def loss(params, x=X, y=Y):
    predicted = x @ params["dense"]["kernel"] + params["dense"]["bias"]
    return jnp.mean((predicted - y) ** 2)


@functools.cache
def train(tx, steps=5, value=False):
    """A loop as its users write it, with optax's `apply_updates`."""
    params, state = PARAMS, tx.init(PARAMS)

    @jax.jit
    def step(params, state):
        current, grads = jax.value_and_grad(loss)(params)
        extra = {"value": current} if value else {}
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def assert_same(a: Any, b: Any) -> None:
    """The same structure, and the same bits in every leaf."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert jnp.asarray(x).dtype == jnp.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


def assert_close(a: Any, b: Any, rtol=1e-6) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-7), a, b)


# -- Flax linen -----------------------------------------------------------------------------------


def train_state(tx):
    return flax.training.train_state.TrainState.create(apply_fn=loss, params=PARAMS, tx=tx)


def test_flax_train_state_keeps_the_transformation_static():
    traces = 0

    @jax.jit
    def step(state):
        nonlocal traces
        traces += 1
        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    first, second = train_state(funcopt.adamw(0.1)), train_state(funcopt.adamw(0.1))
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert hash(jax.tree.structure(first)) == hash(jax.tree.structure(second))
    for state in (first, second):
        for _ in range(3):
            state = step(state)
    assert traces == 1
    assert_close(state.params, train(funcopt.adamw(0.1), steps=3)[0])
    assert float(funcopt.current_lr(state.opt_state)) == np.float32(0.1)
    assert jax.tree.structure(train_state(funcopt.adamw(0.2))) != jax.tree.structure(first)


def test_flax_train_state_with_a_schedule_and_a_mask():
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0),
        funcopt.adamw(funcopt.linear_schedule(0.1, 0.0, 10), weight_decay=0.1, mask="kernel$"),
    )
    state = train_state(tx)
    for _ in range(3):
        state = state.apply_gradients(grads=jax.grad(loss)(state.params))
    assert set(funcopt.metrics(state.opt_state)) == {"lr", "grad_norm", "clip_ratio", "clipped"}
    np.testing.assert_allclose(funcopt.current_lr(state.opt_state), 0.08, rtol=1e-6)


def test_flax_linen_paths():
    model = flax.linen.Dense(1)
    params = model.init(jax.random.PRNGKey(0), X)
    seen = []
    tx = funcopt.adamw(0.1, mask=lambda path, leaf: bool(seen.append(path)))
    tx.update(params, tx.init(params), params)
    assert seen == 2 * ["params/bias", "params/kernel"]  # asked by init and by update


@each_optimizer
def test_flax_serialization(factory):
    tx = funcopt.chain(funcopt.clip_by_global_norm(1.0), factory(0.1))
    _, state = train(tx)
    data = flax.serialization.to_bytes(state)
    assert_same(flax.serialization.from_bytes(tx.init(PARAMS), data), state)


# -- Flax NNX -------------------------------------------------------------------------------------


class Net(flax.nnx.Module):
    def __init__(self):
        self.hidden = flax.nnx.Linear(3, 4, rngs=flax.nnx.Rngs(0))
        self.out = flax.nnx.Linear(4, 1, rngs=flax.nnx.Rngs(1))

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))


def nnx_loss(model):
    return jnp.mean((model(X) - Y) ** 2)


@each_kind
def test_nnx_optimizer(factory):
    model = Net()
    optimizer = flax.nnx.Optimizer(model, factory(0.01), wrt=flax.nnx.Param)
    before = float(nnx_loss(model))

    @flax.nnx.jit
    def step(model, optimizer):
        optimizer.update(model, flax.nnx.grad(nnx_loss)(model))

    for _ in range(3):
        step(model, optimizer)
    assert float(nnx_loss(model)) != before
    assert np.isfinite(float(nnx_loss(model)))
    np.testing.assert_allclose(funcopt.current_lr(optimizer.opt_state), 0.01, rtol=1e-6)


def nnx_decayed(mask) -> list[str]:
    """The parameters that decay, when NNX steps with zero gradients."""
    model = Net()
    flax.nnx.update(model, jax.tree.map(jnp.ones_like, flax.nnx.state(model)))
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0),
        funcopt.adamw(funcopt.cosine_decay_schedule(0.5, 10), weight_decay=0.5, mask=mask),
    )
    optimizer = flax.nnx.Optimizer(model, tx, wrt=flax.nnx.Param)
    optimizer.update(model, jax.tree.map(jnp.zeros_like, flax.nnx.state(model, flax.nnx.Param)))
    metrics = funcopt.metrics(optimizer.opt_state)
    assert set(metrics) == {"lr", "grad_norm", "clip_ratio", "clipped"}
    assert float(metrics["grad_norm"]) == 0.0
    leaves = jax.tree_util.tree_leaves_with_path(flax.nnx.to_pure_dict(flax.nnx.state(model)))
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in leaves
        if np.all(np.asarray(leaf) < 1)
    ]


def test_nnx_mask_by_path_predicate_and_tree():
    """Paths are `hidden/kernel`, though `init` sees `hidden/kernel/value`."""
    kernels = ["hidden/kernel", "out/kernel"]
    assert nnx_decayed("kernel$") == kernels
    assert nnx_decayed("!bias$") == kernels
    assert nnx_decayed("^out/") == ["out/bias", "out/kernel"]
    assert nnx_decayed(lambda path, leaf: leaf.ndim > 1) == kernels
    assert nnx_decayed(lambda params: jax.tree.map(lambda x: x.ndim > 1, params)) == kernels
    state = flax.nnx.state(Net(), flax.nnx.Param)
    assert nnx_decayed(jax.tree.map(lambda x: x.ndim > 1, state)) == kernels
    pure = flax.nnx.to_pure_dict(state)
    assert nnx_decayed(jax.tree.map(lambda x: x.ndim > 1, pure)) == kernels


def test_nnx_split_and_merge_keep_the_state():
    model = Net()
    optimizer = flax.nnx.Optimizer(model, funcopt.adam(0.1), wrt=flax.nnx.Param)
    optimizer.update(model, flax.nnx.grad(nnx_loss)(model))
    graph, state = flax.nnx.split(optimizer)
    again = flax.nnx.merge(graph, state)
    assert again.tx == funcopt.adam(0.1)
    assert float(funcopt.current_lr(again.opt_state)) == np.float32(0.1)
    again.update(model, flax.nnx.grad(nnx_loss)(model))


# -- Equinox --------------------------------------------------------------------------------------


def mlp():
    return eqx.nn.MLP(3, 1, 4, 1, key=jax.random.PRNGKey(0))


@eqx.filter_grad
def eqx_grad(model):
    return jnp.mean((jax.vmap(model)(X) - Y) ** 2)


@each_optimizer
def test_equinox_filtered_and_whole_models(factory):
    """The whole model as parameters holds functions where the gradients hold None."""
    model = mlp()
    tx = factory(0.01)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    filtered = whole = model
    filtered_state = whole_state = state
    for _ in range(2):
        grads = eqx_grad(filtered)
        params = eqx.filter(filtered, eqx.is_inexact_array)
        updates, filtered_state = tx.update(grads, filtered_state, params)
        filtered = eqx.apply_updates(filtered, updates)
        updates, whole_state = tx.update(grads, whole_state, whole)
        whole = funcopt.apply_updates(whole, updates)
    assert_same(*(eqx.filter(m, eqx.is_array) for m in (filtered, whole)))
    assert_same(filtered_state, whole_state)
    assert not np.array_equal(whole.layers[0].weight, model.layers[0].weight)


@pytest.mark.parametrize(
    "mask",
    [
        "weight$",
        lambda path, leaf: leaf.ndim > 1,
        lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
        jax.tree.map(lambda x: x.ndim > 1, eqx.filter(mlp(), eqx.is_inexact_array)),
    ],
    ids=["pattern", "predicate", "function", "tree"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["filtered", "whole"])
def test_equinox_masks(mask, whole):
    model = mlp()
    arrays = eqx.filter(model, eqx.is_inexact_array)
    tx = funcopt.add_decayed_weights(1.0, mask=mask)
    zeros = jax.tree.map(jnp.zeros_like, arrays)
    updates, _ = tx.update(zeros, tx.init(arrays), model if whole else arrays)
    for update, layer in zip(updates.layers, model.layers, strict=True):
        np.testing.assert_array_equal(update.weight, layer.weight)
        np.testing.assert_array_equal(update.bias, jnp.zeros_like(layer.bias))


def test_equinox_frozen_layers():
    """Parameters without a gradient stay, also when the whole model is given."""
    model = mlp()
    trained = eqx.tree_at(
        lambda m: m.layers[0].weight, jax.tree.map(lambda _: False, model), replace=True
    )
    params, static = eqx.partition(model, trained)
    grads = jax.grad(lambda p: jnp.mean((jax.vmap(eqx.combine(p, static))(X) - Y) ** 2))(params)
    tx = funcopt.adamw(0.1)
    for given in (params, model):
        updates, _ = tx.update(grads, tx.init(params), given)
        new = funcopt.apply_updates(model, updates)
        assert not np.array_equal(new.layers[0].weight, model.layers[0].weight)
        assert new.layers[1].weight is model.layers[1].weight


def test_equinox_filter_jit_with_the_transformation_as_argument():
    traces = 0

    @eqx.filter_jit
    def step(model, tx, state):
        nonlocal traces
        traces += 1
        updates, state = tx.update(eqx_grad(model), state, model)
        return eqx.apply_updates(model, updates), state

    model, lengths = mlp(), []
    for rate in (0.1, 0.2, 0.4):
        tx = funcopt.adam(jnp.float32(rate))
        new, _ = step(model, tx, tx.init(eqx.filter(model, eqx.is_array)))
        lengths.append(float(jnp.abs(new.layers[0].bias - model.layers[0].bias).max()))
    assert traces == 1
    np.testing.assert_allclose(lengths, [0.1, 0.2, 0.4], rtol=1e-4)


@each_optimizer
def test_equinox_serialisation(factory, tmp_path):
    tx = factory(0.1)
    _, state = train(tx)
    path = tmp_path / "state.eqx"
    eqx.tree_serialise_leaves(path, state)
    assert_same(eqx.tree_deserialise_leaves(path, tx.init(PARAMS)), state)


# -- Optimistix, NumPyro, Haiku -------------------------------------------------------------------


@pytest.mark.parametrize(
    "tx",
    [
        funcopt.adam(0.1),
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.1, momentum=0.5)),
    ],
    ids=["adam", "chain"],
)
def test_optimistix_minimiser(tx):
    """It takes functions apart into pytrees and passes functions to `update`."""
    solver = optimistix.OptaxMinimiser(tx, rtol=1e-6, atol=1e-6)
    target = jnp.array([1.0, -2.0])
    start = {"w": jnp.zeros(2)}
    found = optimistix.minimise(
        lambda y, _: jnp.sum((y["w"] - target) ** 2), solver, start, max_steps=2000
    )
    np.testing.assert_allclose(found.value["w"], target, atol=1e-2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_numpyro_svi():
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import SVI, Trace_ELBO

    data = jnp.full(20, 3.0)

    def model():
        location = numpyro.sample("location", dist.Normal(0.0, 10.0))
        numpyro.sample("data", dist.Normal(location, 1.0), obs=data)

    def guide():
        mean = numpyro.param("mean", 0.0)
        numpyro.sample("location", dist.Delta(mean))

    tx = funcopt.chain(funcopt.clip_by_global_norm(10.0), funcopt.adam(0.3))
    result = SVI(model, guide, tx, Trace_ELBO()).run(jax.random.PRNGKey(0), 150, progress_bar=False)
    np.testing.assert_allclose(result.params["mean"], 3.0, atol=0.1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_haiku():
    import haiku as hk

    net = hk.transform(lambda x: hk.nets.MLP([4, 1])(x))
    params = net.init(jax.random.PRNGKey(0), X)
    tx = funcopt.adamw(0.05, weight_decay=0.1, mask="/w$")
    state = tx.init(params)

    def haiku_loss(params):
        return jnp.mean((net.apply(params, None, X) - Y) ** 2)

    @jax.jit
    def step(params, state):
        return funcopt.step(tx, jax.grad(haiku_loss)(params), state, params)

    before = haiku_loss(params)
    for _ in range(20):
        params, state = step(params, state)
    assert haiku_loss(params) < 0.5 * before


# -- Orbax ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["concrete", "abstract"])
def test_orbax_checkpoints(target, tmp_path):
    """With the state of `init` as the target, or its shapes: the same types and bits."""
    schedule = funcopt.cosine_decay_schedule(0.1, 10)
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0), funcopt.adamw(schedule, mu_dtype="bfloat16")
    )
    params, state = train(tx)
    like = {
        "concrete": tx.init(PARAMS),
        "abstract": jax.eval_shape(tx.init, PARAMS),
    }[target]
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "checkpoint", like)
    assert_same(restored, state)
    assert int(restored[1].count) == 5
    np.testing.assert_allclose(funcopt.current_lr(restored), schedule(4), rtol=1e-6)
    grads = jax.grad(loss)(params)
    assert_same(tx.update(grads, restored, params), tx.update(grads, state, params))


def test_orbax_checkpoints_of_nnx_with_absent_slots(tmp_path):
    """muon has no moments of matrices and no momentum of vectors: training goes on the same."""

    def begun():
        model = Net()
        tx = funcopt.muon(0.05, hidden="^hidden")
        return model, flax.nnx.Optimizer(model, tx, wrt=flax.nnx.Param)

    def step(model, optimizer):
        optimizer.update(model, flax.nnx.grad(nnx_loss)(model))

    model, optimizer = begun()
    step(model, optimizer)
    graph, state = flax.nnx.split((model, optimizer))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", state)
        checkpointer.wait_until_finished()
        like = flax.nnx.state(flax.nnx.eval_shape(begun))
        restored = checkpointer.restore(tmp_path / "checkpoint", like)
    assert_same(restored, state)
    again = flax.nnx.merge(graph, restored)
    step(*again)
    step(model, optimizer)
    assert_same(flax.nnx.state(again), flax.nnx.state((model, optimizer)))


# -- optax's combinators --------------------------------------------------------------------------


@each_kind
def test_in_optax_chain(factory):
    """As a member of optax's chain, and of ours among optax's: the same bits."""
    ours = funcopt.chain(optax.clip_by_global_norm(1.0), factory(0.05), optax.scale(0.5))
    theirs = optax.chain(optax.clip_by_global_norm(1.0), factory(0.05), optax.scale(0.5))
    assert_same(train(ours), train(theirs))


def test_in_optax_named_chain():
    parts = {"clip": optax.clip_by_global_norm(1.0), "rule": funcopt.adam(0.05)}
    params, state = train(optax.named_chain(*parts.items()))
    assert_same(params, train(optax.chain(*parts.values()))[0])
    assert set(state) == {"clip", "rule"}
    np.testing.assert_allclose(funcopt.current_lr(state), 0.05, rtol=1e-6)


def test_extra_arguments_reach_every_member():
    """Through both kinds of chain: an optax member that needs the loss gets it."""
    plateau = optax.contrib.reduce_on_plateau(patience=0, factor=0.5, rtol=0.9)
    for chain in (funcopt.chain, optax.chain):
        params, state = train(chain(funcopt.sgd(0.01), plateau), value=True)
        assert float(state[1].scale) < 1
        assert np.isfinite(float(loss(params)))


@each_kind
def test_optax_multi_steps(factory):
    """k = 1 gives the same numbers; k = 2 those of the mean gradient."""
    once, _ = train(factory(0.05))
    wrapped, state = train(optax.MultiSteps(factory(0.05), 1).gradient_transformation())
    assert_close(wrapped, once)
    np.testing.assert_allclose(funcopt.current_lr(state), 0.05, rtol=1e-6)
    twice, _ = train(optax.MultiSteps(factory(0.05), 2).gradient_transformation(), steps=10)
    assert_close(twice, once, rtol=1e-5)


@each_optimizer
def test_optax_inject_hyperparams(factory):
    """Every numeric hyperparameter becomes a traced array in the state; the rate can be set."""
    injected = optax.inject_hyperparams(factory)(learning_rate=0.05)
    params, state = train(injected)
    assert_close(params, train(factory(0.05))[0], rtol=1e-5)
    np.testing.assert_allclose(optax.tree.get(state, "learning_rate"), 0.05, rtol=1e-6)
    stopped = optax.tree.set(state, learning_rate=jnp.float32(0.0))
    updates, stopped = injected.update(jax.grad(loss)(params), stopped, params)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(updates))
    assert float(funcopt.current_lr(stopped)) == 0.0


def test_optax_inject_hyperparams_with_a_schedule():
    injected = optax.inject_hyperparams(funcopt.adam)(funcopt.linear_schedule(0.1, 0.0, 10))
    _, state = train(injected, steps=3)
    np.testing.assert_allclose(funcopt.current_lr(state), 0.08, rtol=1e-6)


@each_kind
def test_optax_masked_and_partition(factory):
    """The other parameters appear as `MaskedNode`, and whole groups may be empty."""
    kernel = {"dense": {"kernel": True, "bias": False}}
    tx = factory(0.05)
    grads = jax.grad(loss)(PARAMS)
    masked = optax.masked(tx, kernel)
    updates, _ = masked.update(grads, masked.init(PARAMS), PARAMS)
    alone, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    assert_same(updates["dense"]["kernel"], alone["dense"]["kernel"])
    assert_same(updates["dense"]["bias"], grads["dense"]["bias"])
    labels = {"dense": {"kernel": "train", "bias": "freeze"}}
    groups = {"train": tx, "freeze": optax.set_to_zero(), "nobody": factory(1.0)}
    params, state = train(optax.partition(groups, labels), steps=2)
    assert not np.array_equal(params["dense"]["kernel"], PARAMS["dense"]["kernel"])
    np.testing.assert_array_equal(params["dense"]["bias"], PARAMS["dense"]["bias"])
    assert set(funcopt.metrics(state)) == {"lr/train", "lr/nobody"}


def test_masks_by_pattern_inside_optax_masked():
    """A pattern is searched among the parameters that are left."""
    params = {"a": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}, "b": {"kernel": jnp.ones(2)}}
    tx = optax.masked(funcopt.add_decayed_weights(0.5, mask="kernel"), {"a": True, "b": False})
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    np.testing.assert_array_equal(updates["a"]["kernel"], [0.5, 0.5])
    np.testing.assert_array_equal(updates["a"]["bias"], [0.0, 0.0])
    np.testing.assert_array_equal(updates["b"]["kernel"], [0.0, 0.0])


@each_kind
def test_optax_apply_if_finite(factory):
    tx = optax.apply_if_finite(factory(0.05), max_consecutive_errors=5)
    state = tx.init(PARAMS)
    bad = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), PARAMS)
    updates, skipped = jax.jit(tx.update)(bad, state, PARAMS)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(updates))
    assert_same(skipped.inner_state, state.inner_state)
    good = jax.grad(loss)(PARAMS)
    updates, _ = tx.update(good, skipped, PARAMS)
    assert_close(updates, factory(0.05).update(good, factory(0.05).init(PARAMS), PARAMS)[0])


def test_optax_schedule_free():
    tx = optax.contrib.schedule_free(funcopt.sgd(0.1), 0.1, b1=0.9)
    params, state = train(tx, steps=100)
    evaluated = optax.contrib.schedule_free_eval_params(state, params)
    assert loss(evaluated) < 0.1 * loss(PARAMS)
    theirs = train(optax.contrib.schedule_free(optax.sgd(0.1), 0.1, b1=0.9), steps=100)[0]
    assert_close(params, theirs, rtol=1e-4)


def test_optax_mechanize():
    params, _ = train(optax.contrib.mechanize(funcopt.adam(0.1)), steps=30)
    assert loss(params) < loss(PARAMS)


def test_optax_lookahead():
    tx = optax.lookahead(funcopt.sgd(0.1), sync_period=2, slow_step_size=0.5)
    theirs = optax.lookahead(optax.sgd(0.1), sync_period=2, slow_step_size=0.5)

    def run(tx):
        params = optax.LookaheadParams.init_synced(PARAMS)
        state = tx.init(params)
        for _ in range(4):
            grads = jax.grad(loss)(params.fast)
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        return params

    assert_close(run(tx), run(theirs))


@each_optimizer
def test_optax_tree_map_params(factory):
    """Slots are parameters, counts and rates are not: what sharding specs are written with."""
    tx = factory(0.1)
    state = tx.init(PARAMS)
    specs = {"dense": {"kernel": "rows", "bias": "all"}}
    mapped = optax.tree_map_params(
        tx, lambda _, spec: spec, state, specs, transform_non_params=lambda _: "scalar"
    )
    assert mapped.count == mapped.lr == "scalar"
    slots = [tree for each in mapped.slots for tree in each]
    assert slots == [specs] * len(slots)
    assert len(slots) >= 1


def test_optax_tree_get_and_set():
    _, state = train(funcopt.chain(funcopt.clip(1.0), funcopt.adam(0.1)))
    mu = optax.tree.get(state, "mu")
    assert jax.tree.structure(mu) == jax.tree.structure(PARAMS)
    assert [int(x) for _, x in optax.tree.get_all_with_path(state, "count")] == [5, 5]
    reset = optax.tree.set(state, mu=jax.tree.map(jnp.zeros_like, mu))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(optax.tree.get(reset, "mu")))
    assert_same(optax.tree.get(reset, "nu"), optax.tree.get(state, "nu"))


# -- sharding -------------------------------------------------------------------------------------

SHARDED = """
import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp
import optax
import funcopt
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

assert jax.device_count() == 2
FACTORIES = [
    funcopt.adamw,
    funcopt.lion,
    lambda rate: funcopt.rmsprop(rate, initial_scale=0.5, centered=True, momentum=0.9),
    lambda rate: funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adagrad(rate)),
]


def shardings(tree):
    return jax.tree.map(lambda x: x.sharding, tree)


def check(mesh, explicit):
    specs = {"kernel": P("data", None), "bias": P(None), "rows": P(None, "data")}
    shapes = {"kernel": (4, 3), "bias": (3,), "rows": (3, 4)}
    params = {
        name: jax.device_put(jnp.ones(shapes[name]), NamedSharding(mesh, specs[name]))
        for name in shapes
    }
    for factory in FACTORIES:
        tx = factory(0.1)
        state = tx.init(params)
        for state in [state, jax.jit(tx.init)(params)] if explicit else [state]:
            lifted = state[1] if len(state) == 2 else state
            slots = [tree for each in lifted.slots for tree in each]
            assert slots
            for tree in slots:
                for name, x in tree.items():
                    assert x.sharding.is_equivalent_to(params[name].sharding, x.ndim), (name, x)
        grads = jax.tree.map(lambda p: 0.1 * p, params)
        for update in (tx.update, jax.jit(tx.update)):
            updates, new = update(grads, state, params)
            for name, u in updates.items():
                assert u.sharding.is_equivalent_to(params[name].sharding, u.ndim), (name, u)
            written = funcopt.apply_updates(params, updates)
            for name, p in written.items():
                assert p.sharding.is_equivalent_to(params[name].sharding, p.ndim), (name, p)
            for old, x in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
                if x.ndim:
                    assert x.sharding.is_equivalent_to(old.sharding, x.ndim), (old, x)


auto = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
check(auto, explicit=False)
# Without explicit axes, `jit` chooses: what the user writes is `out_shardings`.
params = {"w": jax.device_put(jnp.ones((4, 2)), NamedSharding(auto, P("data", None)))}
tx = funcopt.adam(0.1)
wanted = optax.tree_map_params(
    tx,
    lambda _, p: p.sharding,
    tx.init(params),
    params,
    transform_non_params=lambda _: NamedSharding(auto, P()),
)
state = jax.jit(tx.init, out_shardings=wanted)(params)
assert shardings(state) == wanted
assert wanted.slots[0].mu["w"].spec == P("data", None)
explicit = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
with jax.set_mesh(explicit):
    check(explicit, explicit=True)
print("all sharded")
"""


def test_slots_and_updates_follow_the_parameters_sharding():
    """On two simulated devices, which a process must ask for before it starts JAX."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARDED)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.strip() == "all sharded", done.stderr
