"""A monitor on meshes, in `shard_map`, outside of `jit`, in float64, and resumed otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.monitoring import monitor as monitoring
from funcopt.monitoring.elements import gathered_elements
from funcopt.monitoring.layers import rows_of
from funcopt.monitoring.readings import read
from tests.catalog import ALL, Row, each_rule, spelled
from tests.compilations import of_eager_steps
from tests.compiling import devices

ON_EIGHT_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, funcopt
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from funcopt.monitoring.readings import read

random = np.random.default_rng(0)
params = {"w": random.standard_normal((8, 6)), "stack": random.standard_normal((4, 8, 2)),
          "b": random.standard_normal(8), "one": random.standard_normal(())}
params = jax.tree.map(np.float32, params)
spec = {"w": P("x", "y"), "stack": P(None, "x"), "b": P("x"), "one": P()}

def tx(**more):
    inner = funcopt.chain(funcopt.scale(1.0), funcopt.adam(0.1))
    return funcopt.monitor(inner, every=2, layer_axis={"stack": 0}, **more)

def steps(tx, params, state, n=4):
    def one(carry, i):
        params, state = carry
        grads = jax.tree.map(lambda p: p * (1 + 0.1 * i), params)
        return funcopt.step(tx, grads, state, params, value=jnp.float32(1.0)), None
    return jax.lax.scan(one, (params, state), jnp.arange(n, dtype=jnp.float32))[0]

def same(state, told):
    a, b = read(state, params), read(told, params)
    for name in a.latest:
        np.testing.assert_allclose(b.latest[name], a.latest[name], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(b.last.scalars["grad_norm"], a.last.scalars["grad_norm"], rtol=1e-5)
    np.testing.assert_allclose(b.grad, a.grad, atol=2e-2)
    return a

alone = jax.jit(lambda p: steps(tx(), p, tx().init(p)))(params)[1]
assert (same(alone, alone).latest["rms"] > 0.1).all()

mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
placed = jax.tree.map(lambda p, s: jax.device_put(p, NamedSharding(mesh, s)), params, spec)
same(alone, jax.jit(lambda p: steps(tx(), p, tx().init(p)))(placed)[1])
p, s = placed, tx().init(placed)
for i in range(4):
    p, s = funcopt.step(tx(), jax.tree.map(lambda p: p * (1 + 0.1 * i), p), s, p, value=1.0)
same(alone, s)

def loss(params, x):
    return jnp.mean(jax.nn.relu(x @ params) ** 2)
x = np.float32(random.standard_normal((16, 4)))
sharded = jax.device_put(x, NamedSharding(mesh, P("x")))
whole = jax.device_put(np.float32(random.standard_normal((4, 3))), NamedSharding(mesh, P()))
alone_there = funcopt.diagnose_init(loss, np.asarray(whole), x).readings.latest
there = funcopt.diagnose_init(loss, whole, sharded).readings.latest
for name in ("zero", "negligible", "grad_norm", "param_norm"):
    np.testing.assert_allclose(there[name], alone_there[name], rtol=1e-5, atol=1e-6)

mesh = jax.make_mesh((4,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
spec = {"w": P("x"), "stack": P(None, "x"), "b": P("x"), "one": P()}
named = tx(axis_name="x")
def whole_state(p):
    return steps(named, p, named.init(p))[1]._replace(inner=())
of_all = jax.shard_map(whole_state, mesh=mesh, in_specs=(spec,), out_specs=P())
same(alone, jax.jit(of_all)(params))

own = tx()
def local(p):
    return steps(own, p, own.init(p))[0]
jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(spec,), out_specs=spec))(params)
print("right")
"""


def test_on_explicit_meshes_and_in_shard_map():
    """The numbers of one device: with parameters and batches on a mesh, jitted and not; of whole
    parameters where the mapped axes are named, and without a change of type where they are not."""
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT_DEVICES],
        env=os.environ | devices(8) | {"PYTHONPATH": root},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["right"], done.stderr[-3000:]


PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.5, -0.5])}
EAGER = {
    "plain": funcopt.monitor(funcopt.adam(0.1), every=3),
    "guarded": funcopt.monitor(
        funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(0.1))), every=3
    ),
    "accumulated": funcopt.monitor(funcopt.accumulate(funcopt.sgd(0.1), 2), every=4),
    "stacked": funcopt.monitor(funcopt.stable_adamw(0.1), every=2, layer_axis={"w": 0}),
}


@pytest.mark.parametrize("name", EAGER)
def test_outside_of_jit_nothing_is_compiled_twice(name):
    assert of_eager_steps(EAGER[name], PARAMS, PARAMS, value=jnp.float32(1.0)) == 0


def test_outside_of_jit_the_numbers_are_those_of_a_program():
    """A spike, a step that is not finite and one without: each of the three branches."""
    tx = EAGER["guarded"]
    step = jax.jit(lambda grads, state: funcopt.step(tx, grads, state, PARAMS, value=1.0)[1])
    eager = jitted = tx.init(PARAMS)
    for scale in (1.0, 1.1, 1e7, jnp.nan, 0.9, 1.0, 1.0):
        grads = jax.tree.map(lambda x, scale=scale: scale * x, PARAMS)
        _, eager = funcopt.step(tx, grads, eager, PARAMS, value=1.0)
        jitted = step(grads, jitted)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# -- float64 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_in_float64_everything_is_float64(scale):
    """Norms, losses and their logarithms over time, at scales that float32 has not."""
    with jax.enable_x64(True):
        params = {"w": jnp.full((2, 2), 3 * scale), "stack": jnp.full((3, 2), scale)}
        tx = funcopt.monitor(funcopt.sgd(0.5), every=1, layer_axis={"stack": 0})

        @jax.jit
        def loop(state):
            def body(state, value):
                return tx.update(params, state, params, value=value)[1], None

            return jax.lax.scan(body, state, scale * (1 + 1e-12 * jnp.arange(3.0)))[0]

        state = loop(tx.init(params))
        assert {x.dtype.name for x in jax.tree.leaves(state.kept)} == {
            "int32", "float64", "float32"
        }  # fmt: skip
        seen = read(state, params)
        norms = np.array([2**0.5] * 3 + [6.0]) * scale
        np.testing.assert_allclose(seen.latest["grad_norm"], norms, rtol=1e-14)
        np.testing.assert_allclose(seen.latest["update_norm"], norms / 2, rtol=1e-14)
        np.testing.assert_allclose(seen.mean["grad_norm"], norms, rtol=1e-10)
        np.testing.assert_allclose(seen.grad[-1], np.log10(norms), atol=1e-5)
        values = seen.last.scalars["value"] / scale
        np.testing.assert_allclose(values, 1 + 1e-12 * np.arange(3), rtol=1e-15)
        assert seen.last.scalars["grad_norm"][-1] == pytest.approx(42**0.5 * scale, rel=1e-14)
        assert not seen.events


# -- resumed otherwise ------------------------------------------------------------------------


def after(tx: Any, state: Any, steps: int) -> Any:
    step = jax.jit(lambda state: tx.update(PARAMS, state, PARAMS)[1])
    for _ in range(steps):
        state = step(state)
    return state


def test_another_every_history_or_sample_goes_on():
    first = funcopt.monitor(funcopt.adam(0.1), every=10, history=8)
    state = after(first, first.init(PARAMS), 11)
    again = funcopt.monitor(funcopt.adam(0.1), every=2, history=16, sample=2)
    seen = read(after(again, state, 6), PARAMS)
    np.testing.assert_array_equal(seen.run.step, [0, 10, 12, 14, 16])
    assert seen.records == 5


def test_an_accumulation_made_shorter_is_measured():
    def tx(every: int) -> Any:
        return funcopt.monitor(funcopt.accumulate(funcopt.sgd(0.1), every), every=1)

    state = after(tx(8), tx(8).init(PARAMS), 5)
    assert read(after(tx(4), state, 4), PARAMS).records == 1


def test_a_state_that_was_cast():
    tx = funcopt.monitor(funcopt.sgd(0.1), every=1)
    state = tx.init(PARAMS)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16) if x.dtype.kind == "f" else x, state)
    assert after(tx, half, 1).kept.floats.dtype == jnp.float32
    integers = state._replace(
        kept=state.kept._replace(integers=state.kept.integers.astype("float32"))
    )
    with pytest.raises(ValueError, match="Restore it in the types that it was saved with"):
        tx.update(PARAMS, integers, PARAMS)
    other = funcopt.monitor(funcopt.guard(funcopt.sgd(0.1)))
    with pytest.raises(ValueError, match="of a monitor not around a guard"):
        other.update(PARAMS, state._replace(inner=other.init(PARAMS).inner), PARAMS)


def test_counts_stay_at_their_largest_number():
    """After 2³¹ − 1 steps, measurements and events a run goes on, and nothing begins anew."""
    tx = funcopt.monitor(funcopt.guard(funcopt.sgd(0.1)), every=1)
    state = after(tx, tx.init(PARAMS), 1)
    most = jnp.int32(2**31 - 1)
    memory = state.kept.memory()
    memory = memory._replace(
        means=most, broken=jnp.full_like(memory.broken, most),
        events=memory.events._replace(seen=most), surges=memory.surges._replace(seen=most),
    )  # fmt: skip
    state = state._replace(count=most, kept=memory.kept())
    nan = jax.tree.map(lambda x: x * jnp.nan, PARAMS)
    for grads in (PARAMS, nan):
        _, state = tx.update(grads, state, PARAMS)
    memory = state.memory
    counts = [state.count, memory.means, *memory.broken, memory.events.seen, memory.surges.seen]
    assert {int(x) for x in counts} == {int(most)}


def test_a_metric_is_handed_on_and_not_judged():
    """A metric that is not known yet is no news, while a loss that is not finite is an event."""
    rate = 0.1 * funcopt.on_plateau(factor=0.5, patience=1)
    tx = funcopt.monitor(funcopt.sgd(rate), every=1)
    state = tx.init(PARAMS)
    for metric in (1.0, jnp.nan, 1.0, 1.0, 1.0):
        _, state = tx.update(PARAMS, state, PARAMS, value=1.0, metric=metric)
    seen = read(state, PARAMS)
    assert not seen.events
    assert seen.now("lr") < 0.1
    _, state = tx.update(PARAMS, state, PARAMS, value=jnp.nan, metric=1.0)
    assert [event.kind for event in read(state, PARAMS).events] == ["loss"]


# -- second moments ---------------------------------------------------------------------------

MOMENTS = {"nu", "e_g", "sum_of_squares", "v"}
OTHERS = {"clip_spikes", "sophia", "scale_by_sophia"}
"""They keep a mean square and divide by nothing, or a mean of curvatures."""


@pytest.mark.default_promotion
@each_rule(ALL, where=lambda row: MOMENTS & set(row.slots) and row.algorithm.__name__ not in OTHERS)
def test_every_second_moment_is_seen(row: Row):
    """A monitor reads what each algorithm of the catalogue says that it divides by."""
    tx = row.descending()
    # A matrix is divided by its singular values; what goes otherwise is looked at.
    given = {k: x for k, x in PARAMS.items() if row.acts_on != "matrix" or jnp.ndim(x) != 2}
    watched = funcopt.monitor(tx, every=1)
    state = watched.init(given)
    for _ in range(2):
        _, state = watched.update(given, state, given, value=jnp.float32(1.0))
    seen = read(state, given)
    for column in ("eps_dominated", "v_lag", "rms", "spike"):
        assert np.isfinite(seen.latest[column]).all(), (column, seen.latest[column])


def test_elements_gathered_first_have_the_step_of_their_leaves(monkeypatch):
    """Of leaves that are treated alike the step is computed once, with the numbers of each."""
    random = np.random.default_rng(0)
    shapes = {"w": (40, 50), "a/bias": (7,), "b/bias": (7,), "c": (7,), "layers": (3, 20, 9)}
    params = {
        name: jnp.asarray(random.standard_normal(x), jnp.float32) for name, x in shapes.items()
    }
    params["half"] = jnp.asarray(random.standard_normal(30), jnp.bfloat16)
    grads = jax.tree.map(lambda x: jnp.cos(9 * x), params)
    rate = funcopt.cosine_decay_schedule(0.1, 10)
    inner = funcopt.guard(
        funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(rate, mask="!bias$"))
    )
    tx = funcopt.monitor(inner, every=1, layer_axis={"layers": 0}, sample=64)

    def tables():
        @jax.jit
        def step(state):
            return tx.update(grads, state, params)[1]

        return step(step(tx.init(params))).memory

    together = tables()
    seen = []
    monkeypatch.setattr(monitoring, "gathered_elements", lambda *args: seen.append(args))
    by_leaf = tables()
    assert seen
    np.testing.assert_allclose(together.latest, by_leaf.latest, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(together.above, by_leaf.above)
    np.testing.assert_array_equal(together.shrinks, by_leaf.shrinks)


@pytest.mark.parametrize(
    ("tx", "gathers"),
    [
        (funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(0.1))), True),
        (funcopt.lion(0.1), True),
        (funcopt.guard(funcopt.adam(0.1), check_updates=True), False),
        (funcopt.chain(funcopt.adam(0.1), funcopt.clip_by_global_norm(1.0)), False),
        (funcopt.adamw(0.1, mask=lambda path, x: x.ndim > 1), False),
        (funcopt.adam(0.1, storage="bfloat16"), False),
        (funcopt.lamb(0.1), False),
        (funcopt.chain(optax.adam(0.1)), False),
    ],
    ids=spelled,
)
def test_which_elements_have_a_step_of_their_own(tx, gathers):
    params = {"w": jnp.ones((3, 4))}
    rows = rows_of(["w"], [params["w"]], None)
    found = gathered_elements(tx, rows, [params["w"]], tx.init(params), 8, [8])
    assert (found is not None) == gathers
