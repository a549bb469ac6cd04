"""Where the state lives on a mesh: `state_shardings`, on eight simulated devices and on one."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import funcopt

ROOT = Path(__file__).parents[1]

SHAPES = {"bias": (8,), "embed": (3, 16), "kernel": (16, 2), "scale": ()}
SPECS = {"bias": P("data"), "embed": P(None, "data"), "kernel": P("data"), "scale": P()}
# One of each kind of state: element, array and tree rules, every wrapper, groups.
STEPPED = (
    "adamw",
    "prodigy",
    "schedule-free-adamw",
    "clip_by_ema",
    "accumulated",
    "rolled-back",
    "loss-scaled",
    "monitored",
    "groups",
)
FIRST = ("adamw", "prodigy", "accumulated", "groups")


def cases():
    """Every row of the catalogue, and what no row has: groups, and optax's own wrappers."""
    from tests.catalog import ALL

    rows = {row.name: (row.descending(), row.extra) for row in ALL}
    groups = {
        "kernel": funcopt.adam(1e-3),
        "embed": funcopt.sgd(0.1, momentum=0.9),
        "": None,
    }
    masked = {"kernel": True, "embed": False, "bias": True, "scale": False}
    return rows | {
        "groups": (funcopt.partition(groups), {}),
        "masked": (optax.masked(funcopt.adam(1e-3), masked), {}),
        "optax": (optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)), {}),
        "multi-steps": (optax.MultiSteps(funcopt.adam(1e-3), 2), {}),
    }


def numbers(seed):
    random = np.random.default_rng(seed)
    return {name: np.float32(random.standard_normal(shape)) for name, shape in SHAPES.items()}


def check_places(name, state, found):
    """Slots lie where their parameters do; what has another shape is on every device."""
    assert jax.tree.structure(found) == jax.tree.structure(state), name
    places = jax.tree_util.tree_leaves_with_path(found)
    for (path, place), leaf in zip(places, jax.tree.leaves(state), strict=True):
        key = getattr(path[-1], "key", None)
        is_slot = key in SHAPES and leaf.shape == SHAPES[key]
        expected = SPECS[key] if is_slot else P()
        assert place.spec == expected, (name, jax.tree_util.keystr(path), place.spec)


def check_step(name, tx, extra, params, places, found):
    """A sharded state has one device's numbers, and a step keeps them and where they lie."""
    grads = numbers(1)

    def step(grads, state, params):
        return funcopt.step(tx, grads, state, params, **extra)

    alone, alone_state = jax.jit(lambda p, g: step(g, tx.init(p), p))(numbers(0), grads)
    state = jax.jit(tx.init, out_shardings=found)(params)
    assert jax.tree.map(lambda x: x.sharding, state) == found, name
    sharded = jax.jit(step, out_shardings=(places, found))
    new, new_state = sharded(jax.device_put(grads, places), state, params)
    for ours, theirs in ((new, alone), (new_state, alone_state)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6, err_msg=name)
    sharded(jax.device_put(grads, places), new_state, new)
    assert sharded._cache_size() == 1, name


def check_first_steps(name, tx, extra, params, places):
    """A state that `init` makes outside of `jit` lies where that of a step does."""
    state = tx.init(params)
    assert all(x.sharding.mesh.size == 8 for x in jax.tree.leaves(state)), name
    step = jax.jit(lambda g, s, p: funcopt.step(tx, g, s, p, **extra))
    grads = jax.device_put(numbers(1), places)
    for _ in range(3):
        params, state = step(grads, state, params)
    assert step._cache_size() == 1, name


def on_eight_devices():
    assert jax.device_count() == 8
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    places = {name: NamedSharding(mesh, spec) for name, spec in SPECS.items()}
    params = jax.device_put(numbers(0), places)
    every = cases()
    for name, (tx, extra) in every.items():
        found = funcopt.state_shardings(tx, params, places)
        check_places(name, jax.eval_shape(tx.init, params), found)
        if name in STEPPED:
            check_step(name, tx, extra, params, places, found)
        if name in FIRST:
            check_first_steps(name, tx, extra, params, places)
    assert set(STEPPED) <= set(every)
    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    places = {name: NamedSharding(explicit, spec) for name, spec in SPECS.items()}
    for name in STEPPED:
        tx, _ = every[name]
        found = funcopt.state_shardings(tx, jax.device_put(numbers(0), places), places)
        check_places(name, jax.eval_shape(tx.init, params), found)


STACKED = {
    "muon": lambda: funcopt.muon(0.1, layer_axis=0),
    "normuon": lambda: funcopt.normuon(0.1, layer_axis=0),
    "polargrad": lambda: funcopt.polargrad(0.1, layer_axis=0),
    "dion2": lambda: funcopt.dion2(0.1, layer_axis=0),
    "nanochat_muon": lambda: funcopt.nanochat_muon(0.1, layer_axis=0),
    "kron": lambda: funcopt.kron(0.1, layer_axis=0),
    "shampoo": lambda: funcopt.shampoo(
        0.1, eps=0.1, block_size=8, precondition_frequency=1, layer_axis=0
    ),
    # The longer side's mean square of one gradient is singular: where that is 0, any basis is one.
    "soap": lambda: funcopt.soap(0.1, layer_axis=0, max_precond_dim=8),
    "galore": lambda: funcopt.galore(0.1, 2, layer_axis=0),
    "stable_adamw": lambda: funcopt.stable_adamw(0.1, layer_axis=0),
    "adafactor": lambda: funcopt.adafactor(0.1, 2, layer_axis=0),
    "clip_by_block_rms": lambda: funcopt.clip_by_block_rms(0.1, layer_axis=0),
    "novograd": lambda: funcopt.novograd(0.1, layer_axis=0),
    "adam_mini": lambda: funcopt.adam_mini(0.1, layer_axis=0),
}


WAYS_TO_SHARE = ("muon", "shampoo", "soap", "adafactor", "clip_by_block_rms")
"""Of each way in which layers share a leaf one; the others are made of these."""


def stacked_on_an_explicit_mesh(*names):
    """Layers of one leaf, which lie on several devices or are themselves in parts on all."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    random = np.random.default_rng(2)
    start, *grads = (np.float32(random.standard_normal((8, 8, 16))) for _ in range(3))

    def end(tx, put):
        params = put(start)
        state = jax.jit(tx.init)(params)
        step = jax.jit(partial(funcopt.step, tx))
        for g in grads:
            params, state = step(put(g), state, params)
        return np.asarray(params)

    with jax.set_mesh(mesh):
        for name in names:
            tx, specs = STACKED[name](), [P("data"), P(None, "data"), P(None, None, "data")]
            whole = end(tx, lambda x: jax.device_put(x, NamedSharding(mesh, P())))
            for spec in specs:
                found = end(tx, lambda x, s=spec: jax.device_put(x, NamedSharding(mesh, s)))
                np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6, err_msg=name)


def weights_in_half_precision():
    """Are the same bit by bit, noise too, however they are split, and no device asks another."""
    start = {"kernel": np.ones((16, 8), jnp.bfloat16), "bias": np.ones(8, jnp.bfloat16)}
    grads = jax.tree.map(lambda x: np.full(x.shape, 0.1, np.float32), start)
    ways = [funcopt.master_weights(funcopt.sgd(0.01), kind) for kind in ("int16", "int8")]
    for tx in [*ways, funcopt.stochastic_rounding(funcopt.sgd(0.01))]:

        def end(put, tx=tx):
            params, grad = put(start), put(grads)
            state = tx.init(params)
            step = jax.jit(partial(funcopt.step, tx)).lower(grad, state, params).compile()
            for _ in range(3):
                params, state = step(grad, state, params)
            return jax.tree.map(np.asarray, (params, state)), step.as_text()

        whole, _ = end(partial(jax.tree.map, jnp.asarray))
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
            places = {"kernel": NamedSharding(mesh, P("data")), "bias": NamedSharding(mesh, P())}
            with jax.set_mesh(mesh):
                found, text = end(partial(jax.device_put, device=places))
            for a, b in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
                assert a.tobytes() == b.tobytes()
            assert re.search("all-reduce|all-gather|all-to-all|collective-permute", text) is None


CODED = {
    "rows": ((16, 512), P("a"), 0),
    "both": ((16, 512), P("a", "b"), 0),
    "odd": ((128, 33), P("a"), 0),
    # Two devices have a part of the middle block each, and whole rows are looked at.
    "cut": ((16, 384), P(None, "b"), 4),
}


def slots_in_few_bits():
    """Are the same bit by bit however parameters are split, and lie beside them; no device asks
    another but where a device's part ends within a block.
    """
    collective = (
        r"(?:all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
    )

    def numbers_of(shape, seed):
        return np.float32(np.random.default_rng(seed).standard_normal(shape))

    def stepped(tx, params, put, places=None):
        step, state = jax.jit(tx.update), jax.jit(tx.init, out_shardings=places)(params)
        step = step.lower(put(1), state, params).compile()
        for seed in (1, 2):
            _, state = step(put(seed), state, params)
        return state, len(re.findall(collective, step.as_text()))

    for storage in ("8bit", "4bit"):
        tx = funcopt.scale_by_adam(storage=storage)
        cases = CODED if storage == "8bit" else {"both": CODED["both"]}
        for shape, spec, most in cases.values():

            def put(seed, shape=shape):
                return {"w": numbers_of(shape, seed)}

            whole, _ = stepped(tx, put(0), put)
            for kind in (AxisType.Auto, AxisType.Explicit):
                mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))
                place = {"w": NamedSharding(mesh, spec)}

                def put_there(seed, put=put, place=place):
                    return jax.device_put(put(seed), place)

                with jax.set_mesh(mesh):
                    places = funcopt.state_shardings(tx, put_there(0), place)
                    found, asked = stepped(tx, put_there(0), put_there, places)
                jax.tree.map(np.testing.assert_array_equal, found, whole)
                assert asked <= most, (storage, spec, asked)
                for x, there in zip(*map(jax.tree.leaves, (found.mu, places.mu)), strict=True):
                    assert x.sharding.is_equivalent_to(there, x.ndim), (spec, x.sharding, there)


@pytest.mark.parametrize(
    "names",
    [
        WAYS_TO_SHARE,
        pytest.param(
            tuple(name for name in STACKED if name not in WAYS_TO_SHARE),
            marks=pytest.mark.every_row,
        ),
    ],
    ids=["each way", "the others"],
)
def test_layers_of_one_leaf_on_an_explicit_mesh(names):
    alone_with_eight_devices(f"stacked_on_an_explicit_mesh(*{names})")


def test_on_eight_devices_a_state_lies_where_its_parameters_do():
    checks = "on_eight_devices()", "weights_in_half_precision()", "slots_in_few_bits()"
    alone_with_eight_devices(*checks)


def alone_with_eight_devices(*checks):
    """In a process of its own, which must ask for the devices before it starts JAX."""
    program = (
        "import jax\n"
        "jax.config.update('jax_num_cpu_devices', 8)\n"
        "from tests import test_sharding\n"
        + "".join(f"test_sharding.{check}\n" for check in checks)
        + "print('all sharded')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.strip() == "all sharded", done.stderr


def one_device():
    return jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))


def test_abstract_parameters_and_one_sharding_for_all():
    place = NamedSharding(one_device(), P("data"))
    params = {"layers": [{"w": jax.ShapeDtypeStruct((4, 2), jnp.float32)}]}
    tx = funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(1e-3)))
    found = funcopt.state_shardings(tx, params, place)
    assert optax.tree.get(found, "mu") == {"layers": [{"w": place}]}
    assert found.baseline.mean == found.skipped == NamedSharding(one_device(), P())
    assert funcopt.state_shardings(tx, params, {"layers": place}) == found


def test_other_containers():
    """Absent leaves, a bare array, and parameters in boxes, as Flax NNX has them."""
    from flax import nnx

    place = NamedSharding(one_device(), P("data"))
    tx = funcopt.adam(1e-3)
    found = funcopt.state_shardings(tx, {"w": jnp.ones(2), "none": None}, {"w": place})
    assert found.slots[0].mu == {"w": place, "none": None}
    assert funcopt.state_shardings(tx, jnp.ones(2), place).slots[0].mu == place
    params = nnx.state(nnx.Linear(2, 2, rngs=nnx.Rngs(0)), nnx.Param)
    found = funcopt.state_shardings(tx, params, jax.tree.map(lambda _: place, params))
    assert jax.tree.structure(found) == jax.tree.structure(tx.init(params))


@pytest.mark.parametrize(
    ("params", "places", "error", "words"),
    [
        ({"w": 1.0}, {"w": P("data")}, TypeError, r"param_shardings of 'w': .* NamedSharding"),
        ({"w": 1.0}, P(), TypeError, r"param_shardings: .* given"),
        ({"w": 1.0, "b": 1.0}, {"w": True}, ValueError, r"without a sharding: b\..* parameter: no"),
        ({"w": 1.0}, {"w": True, "b": True}, ValueError, r"without a parameter: b\."),
        ({}, {}, ValueError, "no parameter with a sharding"),
    ],
    ids=["spec", "bare-spec", "missing", "extra", "empty"],
)
def test_wrong_shardings_are_named(params, places, error, words):
    place = NamedSharding(one_device(), P())
    places = jax.tree.map(lambda x: place if x is True else x, places)
    with pytest.raises(error, match=words):
        funcopt.state_shardings(funcopt.adam(1e-3), params, places)
