"""Parameters sharded by hand in `shard_map`: the numbers of one device, and steady types."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import funcopt
from tests.catalog import BLOCKS, ROWS, each
from tests.compiling import devices

COPY, SHARD = PartitionSpec(), PartitionSpec("d")
RNG = np.random.default_rng(5)
START = {"w": RNG.standard_normal((4, 3)), "b": RNG.standard_normal(3)}
GRADS = [{name: 3 * RNG.standard_normal(x.shape) for name, x in START.items()} for _ in range(8)]
SPECS = {"w": SHARD, "b": COPY}


def in_float32(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def run(row, tx, params, grads, state=None):
    """Parameters and metrics after a loop of steps."""

    def step(carry, g):
        return funcopt.step(tx, g, carry[1], carry[0], **row.extra), None

    begun = params, tx.init(params) if state is None else state
    (params, state), _ = jax.lax.scan(step, begun, grads)
    return params, funcopt.metrics(state)


def sharded(body, devices, *, specs=SPECS, out=(SPECS, COPY)):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("d",))
    by_step = jax.tree.map(lambda spec: PartitionSpec(None, *spec), specs)
    return jax.shard_map(body, mesh=mesh, in_specs=(specs, by_step), out_specs=out)


def together(trees):
    return jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs), jnp.float32), *trees)


NAMED = tuple(row for row in ROWS + BLOCKS if "axis_name" in row.accepts)


def differences(row):
    """How far two devices are from one, relative to the largest number."""
    start, grads = in_float32(START), together(GRADS)
    alone = jax.jit(functools.partial(run, row, row.descending()))(start, grads)
    body = functools.partial(run, row, row.descending(axis_name="d"))
    apart = jax.tree.map(
        lambda x, y: float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-30)),
        alone,
        jax.jit(sharded(body, 2))(start, grads),
    )
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(apart)}


@pytest.fixture(scope="module")
def two_devices():
    """The differences of all rows, from a process that has two devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_sharded_by_hand"],
        cwd=Path(__file__).parents[1],
        env=os.environ | devices(2),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@each(NAMED, where=lambda row: not row.random)
def test_two_devices_are_one(row, two_devices):
    """A leaf that is sharded and one that is not; what is reported is the same on each device."""
    assert max(two_devices[row.name].values()) < 1e-5, two_devices[row.name]


def test_whatever_looks_at_several_elements_takes_an_axis_name():
    looking = {row.algorithm for row in ROWS + BLOCKS if row.acts_on in ("array", "tree")}
    assert looking <= {row.algorithm for row in NAMED}


@each(ROWS + BLOCKS)
def test_a_loop_keeps_its_types_where_devices_go_their_own_ways(row):
    """Without a name everything is what this device holds, and the state says so from the start."""

    def body(params, grads):
        return run(row, row.descending(), params, grads)[0]

    specs = {"w": SHARD, "b": SHARD}
    local = sharded(body, 1, specs=specs, out=specs)
    found = jax.eval_shape(local, in_float32(START), together(GRADS))
    assert jax.tree.structure(found) == jax.tree.structure(START)


@each(NAMED)
def test_a_loop_keeps_its_types_with_a_state_from_outside(row):
    """With a name, what is learnt does not vary: a state may be made before `shard_map`."""
    tx, start = row.descending(axis_name="d"), in_float32(START)
    if "init_step" in row.kwargs:  # the heuristic asks all devices for the norm of parameters
        tx = row.descending(axis_name="d", init_step=("distance", 1e-3))
    state = row.descending().init(start)
    specs = jax.tree.map(lambda x: SHARD if x.shape[:1] == (4,) else COPY, state)
    mesh = Mesh(np.array(jax.devices()[:1]), ("d",))
    by_step = {"w": PartitionSpec(None, "d"), "b": COPY}
    mapped = jax.shard_map(
        lambda params, grads, state: run(row, tx, params, grads, state)[0],
        mesh=mesh,
        in_specs=(SPECS, by_step, specs),
        out_specs=SPECS,
    )
    jax.eval_shape(mapped, start, together(GRADS), state)


def by_row(function: Any, *rows: Any) -> Any:
    """Each row on a device of its own, whose types tell nothing."""
    return jax.vmap(function, axis_name="d")(*map(jnp.asarray, rows))


def first_update(tx, g):
    return tx.update(g, tx.init(g))[0]


def test_shards_have_noise_of_their_own():
    here, everywhere = (funcopt.add_noise(1.0, 0.5, axis_name=name) for name in (None, "d"))
    for tx, alike in ((here, True), (everywhere, False)):
        noise = by_row(functools.partial(first_update, tx), np.zeros((2, 5), np.float32))
        assert np.array_equal(noise[0], noise[1]) is alike


def test_a_copy_has_the_same_noise_on_all_devices():
    tx = funcopt.add_noise(1.0, 0.5, axis_name="d")

    def body(params, grads):
        del grads  # the noise is what is looked at
        return tx.update(params, tx.init(params))[0], {}

    jax.eval_shape(sharded(body, 1), in_float32(START), together(GRADS))


@pytest.mark.parametrize("norms", [[3.0, 4.0], [3e30, 4e30], [3e-30, 4e-30]])
def test_the_global_norm_of_shards(norms):
    rows = np.array(norms, np.float32)[:, None]
    found = by_row(lambda x: funcopt.global_norm({"a": x, "b": x[:0]}, axis_name="d"), rows)
    np.testing.assert_allclose(found, np.full(2, np.hypot(*norms)), rtol=1e-6)


def test_the_angle_of_sharded_steps():
    points = np.array([[[1.0], [2.0]], [[1.0], [0.0]], [[0.0], [0.0]]], np.float32)
    found = by_row(functools.partial(funcopt.angular_velocity, axis_name="d"), *points)
    np.testing.assert_allclose(found, [90.0, 90.0])


def test_several_axes_have_one_norm():
    x = jnp.arange(6.0).reshape(3, 2)
    inner = jax.vmap(lambda x: funcopt.global_norm(x, axis_name=("a", "b")), axis_name="b")
    np.testing.assert_allclose(
        jax.vmap(inner, axis_name="a")(x), np.full((3, 2), np.sqrt(55.0)), rtol=1e-6
    )


@pytest.mark.parametrize("name", [3, ("d", 4)])
def test_an_axis_name_is_a_name(name):
    with pytest.raises(TypeError, match="axis_name must be the name of a mapped axis"):
        funcopt.clip_by_norm(1.0, axis_name=name)


if __name__ == "__main__":
    print(json.dumps({row.name: differences(row) for row in NAMED}))
