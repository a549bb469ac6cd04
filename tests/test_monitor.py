"""What a monitor measures is right, and it changes nothing."""

from __future__ import annotations

import functools
import itertools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

import funcopt
from funcopt.monitoring.columns import COLUMNS, EDGES, absent, largest
from funcopt.monitoring.events import FIRST_EVENTS, KINDS, LAST_EVENTS
from funcopt.monitoring.layers import rows_of
from funcopt.monitoring.measurement import lengths_of
from funcopt.monitoring.readings import find, read
from funcopt.monitoring.recorder import LAST_STEPS, SCALARS, add_record, no_run
from funcopt.monitoring.sample import stride, thinned
from funcopt.monitoring.state import MonitorState
from funcopt.safety.baseline import Baseline
from tests.catalog import ALL, Row, each

RATE, B2, EPS = 0.01, 0.9, 1e-3
STEPS = 12


def numbers(seed: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * 10 ** random.uniform(-4, 1, shape)
    if np.issubdtype(np.dtype(dtype) if dtype != jnp.bfloat16 else np.float32, np.complexfloating):
        x = x + 1j * random.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def tree(seed: int, wide: bool) -> dict[str, Any]:
    shapes = {
        "matrix": ((5, 4), np.float32),
        "twin": ((5, 4), np.float32),
        "bf16": ((40,), jnp.bfloat16),
        "f16": ((6, 7), np.float16),
        "scalar": ((), np.float32),
        "empty": ((0, 3), np.float32),
        "stacked": ((3, 4, 2), np.float32),
        "complex": ((6,), np.complex64),
    }
    if wide:
        shapes |= {"f64": ((5,), np.float64), "c128": ((2, 3), np.complex128)}
    made: dict[str, Any] = {
        name: numbers(seed + i, *each) for i, (name, each) in enumerate(shapes.items())
    }
    made["matrix"][:2] = 0 if seed else 1  # gradients that are zero on every step
    return {**made, "none": None}


def measured(tx: Any, params: Any, grads: list[Any], **extra: Any) -> Any:
    """The state, and parameters, updates and inner states of all steps, in one program."""

    @jax.jit
    def loop(params, grads):
        def body(carry, grads):
            params, state = carry
            updates, new = tx.update(grads, state, params, **extra)
            told = (params, updates, new.inner)
            return (funcopt.apply_updates(params, updates), new), told

        return jax.lax.scan(body, (params, tx.init(params)), grads)

    (_, state), told = loop(params, jax.tree.map(lambda *xs: np.stack(xs), *grads))
    return state, jax.tree.map(np.asarray, told)


def magnitude(x: Any) -> np.ndarray:
    return np.abs(np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64))


def expected(g: Any, u: Any, p: Any, nu: list[np.ndarray], t: int) -> dict[str, float]:
    """The columns in NumPy float64. `nu` are second moments before and after step `t`."""
    g_, u_, p_ = map(magnitude, (g, u, p))
    old, new = (x / (1 - B2**k) if k else x for x, k in zip(nu, (t - 1, t), strict=True))
    rms = np.sqrt(np.mean(g_**2)) if g_.size else 0
    moving = (g_ > 0) & (new > 0)
    # As documented: less than that is rounding of the second moment.
    eps = jnp.finfo(jnp.promote_types(p.dtype, jnp.float32)).eps
    seen = np.maximum(g_, np.sqrt(2.0 * float(eps) * nu[1] / (1 - B2)))
    columns = {
        "grad_norm": np.sqrt(np.sum(g_**2)),
        "update_norm": np.sqrt(np.sum(u_**2)),
        "param_norm": np.sqrt(np.sum(p_**2)),
        "zero": np.sum(g_ == 0) / max(g_.size, 1),
        "negligible": np.sum((g_ > 0) & (g_ < 1e-3 * rms)) / max(g_.size, 1),
        "nonfinite": np.sum(~np.isfinite(g_)) / max(g_.size, 1),
        "eps_dominated": np.sum(moving & (new < EPS**2)) / max(moving.sum(), 1),
        "v_lag": np.sum(np.log(seen[moving] ** 2 / new[moving])) / max(moving.sum(), 1),
        "rms": np.sqrt(np.sum(g_**2 / np.maximum(new, EPS**2)) / max(g_.size, 1)),
        "spike": np.max(g_[old > 0] ** 2 / old[old > 0], initial=0),
    }
    wide = jnp.promote_types(p.dtype, jnp.float32)
    size = np.abs(p.astype(wide))
    total = (size + np.abs(u.astype(wide))).astype(np.abs(p).dtype)
    columns["lost"] = np.sum((total.astype(size.dtype) == size) & (u_ != 0)) / max(p.size, 1)
    return columns


@pytest.mark.default_promotion  # Adam promotes beside complex numbers
@pytest.mark.parametrize("wide", [False, True], ids=["32", "64"])
def test_every_column_is_what_numpy_says(wide):
    with jax.enable_x64(wide):
        params = tree(0, wide)
        grads = [tree(100 + 50 * step, wide) for step in range(3)]
        tx = funcopt.monitor(funcopt.adam(RATE, b2=B2, eps=EPS), every=1, layer_axis={"stacked": 0})
        state, (held, updates, _) = measured(tx, params, grads)
        seen = read(state, params)
        assert set(seen.layers) == {
            *(set(params) - {"none", "stacked"}), "stacked[0]", "stacked[1]", "stacked[2]"
        }  # fmt: skip
        nu, checked = {name: np.zeros(()) for name in params}, 0
        for step in range(3):
            for name in set(params) - {"none"}:
                g = magnitude(grads[step][name])
                before = np.zeros(g.shape) if step == 0 else nu[name]
                nu[name] = B2 * before + (1 - B2) * g**2
                if step < 2:
                    continue
                whole = [grads[step][name], updates[name][step], held[name][step]]
                layers = range(3) if name == "stacked" else [slice(None)]
                for i in layers:
                    parts = [x[i] if x.ndim else x for x in whole]
                    moments = [x[i] if x.ndim else x for x in (before, nu[name])]
                    row = seen.layers.index(f"{name}[{i}]" if name == "stacked" else name)
                    for column, value in expected(*parts, moments, step + 1).items():
                        found = seen.latest[column][row]
                        # g² comes from a difference of second moments, of which some is rounded
                        # away; the smallest squares, which a logarithm sees, are inexact.
                        loose = {"v_lag": 0.1, "rms": 1e-4, "spike": 1e-3}.get(column, 2e-6)
                        assert found == pytest.approx(value, rel=loose, abs=loose), (name, column)
                        checked += 1
                    g = magnitude(parts[0])
                    shares = [np.sum(g >= edge) / max(g.size, 1) for edge in EDGES]
                    np.testing.assert_allclose(seen.above[row], shares, atol=5e-4)
        assert checked >= 10 * len(seen.layers)


def norms_of(tx: Any, grads: list[float], **extra: Any) -> MonitorState:
    params = {"w": jnp.ones(3)}
    state, _ = measured(tx, params, [{"w": np.float32(g) * np.ones(3, np.float32)} for g in grads],
                        **extra)  # fmt: skip
    return state


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1e25, 1e35])
def test_norms_of_leaves_are_right_at_any_scale(scale):
    """The first measurement finds the scale, where squares leave the range of float32."""
    seen = read(
        norms_of(funcopt.monitor(funcopt.sgd(1.0), every=1), [scale] * 3), {"w": np.ones(3)}
    )
    for name in ("grad_norm", "update_norm"):
        assert seen.latest[name][0] == pytest.approx(scale * 3**0.5, rel=1e-6)
    assert seen.latest["zero"][0] == seen.latest["nonfinite"][0] == 0
    whole = funcopt.metrics(norms_of(funcopt.monitor(funcopt.sgd(1.0)), [scale]))["grad_norm"]
    assert whole == pytest.approx(scale * 3**0.5, rel=1e-6)
    coming = norms_of(funcopt.monitor(funcopt.sgd(1.0), every=1), [0, 1, 0, 0, 2, 3, scale, scale])
    assert read(coming, {"w": np.ones(3)}).latest["grad_norm"][0] == pytest.approx(
        scale * 3**0.5, rel=1e-6
    )


def test_what_the_optimizer_divides_by_is_compared_with_what_it_saw():
    """Behind a clip, a scale or the mean of micro-batches; and for each rule that has a moment."""
    params = {"w": np.ones(64, np.float32)}
    random = np.random.default_rng(0)
    grads = [{"w": random.standard_normal(64).astype(np.float32)} for _ in range(8)]
    around = {
        "plain": funcopt.adam(RATE, b2=B2),
        "clipped": funcopt.chain(funcopt.clip_by_global_norm(0.01), funcopt.adam(RATE, b2=B2)),
        "scaled": funcopt.chain(funcopt.scale(1e3), funcopt.adam(RATE, b2=B2)),
        "guarded": funcopt.guard(funcopt.adamw(RATE, b2=B2)),
        "nadam": funcopt.nadam(RATE, b2=B2),
        "rmsprop": funcopt.rmsprop(RATE, decay=B2, bias_correction=True, eps=1e-8),
    }
    rms = {}
    for name, tx in around.items():
        state, _ = measured(funcopt.monitor(tx, every=1), params, grads)
        rms[name] = read(state, params).latest["rms"][0]
    nu = np.zeros(64)
    for g in grads:
        nu = B2 * nu + (1 - B2) * np.float64(g["w"]) ** 2
    plain = np.sqrt(np.mean(np.float64(grads[-1]["w"]) ** 2 / (nu / (1 - B2**8))))
    clips = [0.01 / np.linalg.norm(g["w"]) for g in grads]
    nu = np.zeros(64)
    for g, c in zip(grads, clips, strict=True):
        nu = B2 * nu + (1 - B2) * (c * np.float64(g["w"])) ** 2
    clipped = np.sqrt(np.mean((clips[-1] * np.float64(grads[-1]["w"])) ** 2 / (nu / (1 - B2**8))))
    for name in set(around) - {"clipped"}:
        assert rms[name] == pytest.approx(plain, rel=1e-4), name
    assert rms["clipped"] == pytest.approx(clipped, rel=1e-4)
    state, _ = measured(funcopt.monitor(funcopt.amsgrad(RATE, b2=B2), every=1), params, grads)
    assert 0.3 < read(state, params).latest["rms"][0] <= 1.2
    foreign, _ = measured(funcopt.monitor(optax.scale(-1.0), every=1), params, grads)
    assert np.isnan(read(foreign, params).latest["rms"][0])


def test_codes_tell_no_gradient_by_itself():
    """They are further apart than a gradient moves a slow mean; the mean of many is about right."""
    params = jnp.ones((64, 64))

    def latest(storage):
        tx = funcopt.monitor(funcopt.adam(1e-3, storage=storage), every=1)

        def body(carry, key):
            grads = jax.random.normal(key, params.shape)
            return funcopt.step(tx, grads, carry[1], carry[0]), None

        keys = jax.random.split(jax.random.key(0), 200)
        state = jax.jit(lambda: jax.lax.scan(body, (params, tx.init(params)), keys)[0][1])()
        return {name: x[0] for name, x in read(state, params).latest.items()}

    in_codes, whole = latest({"nu": "log8"}), latest(None)
    assert -1.5 < whole["v_lag"] < -1
    assert 0.9 < whole["rms"] < 1.1
    assert whole["spike"] < 30
    assert np.isnan([in_codes["v_lag"], in_codes["spike"]]).all()
    assert 0.8 < in_codes["rms"] < 1.4


def test_the_loss_scale_is_taken_out():
    tx = funcopt.monitor(funcopt.loss_scale(funcopt.sgd(1.0), init_scale=1024.0), every=1)
    seen = read(norms_of(tx, [1024.0, 2048.0]), {"w": np.ones(3)})
    assert seen.latest["grad_norm"][0] == pytest.approx(2 * 3**0.5, rel=1e-6)
    assert seen.last.scalars["grad_norm"] == pytest.approx([3**0.5, 2 * 3**0.5], rel=1e-6)
    assert seen.above[0][EDGES.index(1.0)] == 1
    assert seen.above[0][EDGES.index(16.0)] == 0


def test_a_large_leaf_is_sampled_and_its_gradient_norm_is_exact():
    params = {"w": jnp.ones((64, 512), jnp.float32)}
    g = numbers(0, (64, 512), np.float32)
    tx = funcopt.monitor(funcopt.sgd(1.0), every=1, sample=4096)
    seen = read(measured(tx, params, [{"w": g}])[0], params)
    assert seen.latest["grad_norm"][0] == pytest.approx(np.linalg.norm(np.float64(g)), rel=1e-5)
    assert seen.latest["update_norm"][0] == pytest.approx(np.linalg.norm(g), rel=0.2)
    assert seen.latest["param_norm"][0] == pytest.approx(np.sqrt(g.size), rel=1e-6)


@pytest.mark.parametrize(
    "shape", [(2, 5000), (1, 64, 512), (1, 4096, 8), (3, 3, 3, 64, 96), (1, 1)]
)
@pytest.mark.parametrize("limit", [1, 7, 4096])
def test_a_sample_is_spread_over_every_axis(shape, limit):
    x = jnp.arange(math.prod(shape), dtype=jnp.int32).reshape(shape)
    taken = np.asarray(thinned(x, limit))
    assert math.prod(taken.shape[1:]) <= max(limit, 1)
    assert math.prod(taken.shape[1:]) * 2 ** (x.ndim - 1) >= min(limit, x[0].size)
    allowed = [[k for k in map(stride, range(14)) if math.ceil(n / k) == m] for n, m in zip(
        shape, taken.shape, strict=True)]  # fmt: skip
    assert any(
        np.array_equal(taken, x[tuple(slice(None, None, k) for k in strides)])
        for strides in itertools.product(*allowed)
    )


def test_few_rows_have_no_table_of_their_own():
    def lengths(*sizes: int) -> list[int]:
        leaves = [jnp.zeros(n) for n in sizes]
        return lengths_of(rows_of([f"{i}" for i in range(len(sizes))], leaves, None), 4096)

    assert lengths(5000, 10) == [4096, 4096]
    assert lengths(5000, 10, 9, 8, 7) == [4096, 16, 16, 16, 16]
    assert lengths(10, 9) == [16, 16]
    assert lengths(5000, 200, 100, 50, 3) == [4096, 256, 256, 256, 256]
    assert lengths() == []


@pytest.mark.parametrize("large", ["float32", "float64"])
@pytest.mark.parametrize("tiny", [[1e-30], [1e-30] * 3, [1.2e-19, 1e-20]])
def test_a_tiny_leaf_beside_a_large_one_has_its_exact_norm(large, tiny):
    """Some of its squares are 0, which the sum of all does not show, of whatever type that is."""
    with jax.enable_x64(large == "float64"):
        grads = {"large": jnp.full(3, 1e3, large), "tiny": jnp.array(tiny, jnp.float32)}
        tx = funcopt.monitor(funcopt.sgd(1.0))
        state = jax.jit(lambda grads: tx.update(grads, tx.init(grads), grads)[1])(grads)
        np.testing.assert_allclose(
            read(state, grads).latest["grad_norm"],
            [np.linalg.norm(np.full(3, 1e3)), np.linalg.norm(tiny)],
            rtol=1e-6,
        )


def test_a_monitor_changes_no_derivative():
    """The norm that it lends to a clip is one that derivatives pass through."""
    inner = funcopt.guard(funcopt.clip_by_global_norm(1.0))
    params = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([12.0])}

    def derivative(tx: Any) -> Any:
        def first(grads: Any) -> Any:
            return tx.update(grads, tx.init(params), params)[0]["a"][0]

        return jax.grad(first)(params)

    # Of x / norm: (norm² - x²) / norm³ by x itself, -x y / norm³ by another.
    np.testing.assert_allclose(derivative(inner)["a"], np.array([160, -12]) / 13**3, rtol=1e-5)
    assert_same(derivative(inner), derivative(funcopt.monitor(inner)))


@pytest.mark.every_row  # that there is one is a law (test_laws.py)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_a_rate_has_its_derivative_through_monitored_steps(compiled):
    """What is recorded of a rate is a record: no derivative goes through the log."""

    def last(lr: Any, around: Any) -> Any:
        tx = around(funcopt.guard(funcopt.adam(lr)))
        params = {"a": jnp.array([1.0, 2.0])}

        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            grads = jax.tree.map(lambda x: 2 * x, params)
            return funcopt.step(tx, grads, state, params, value=1.0), None

        carry = params, tx.init(params)
        if compiled:
            carry, _ = jax.lax.scan(step, carry, length=4)
        else:
            for _ in range(2):
                carry, _ = step(carry, None)
        return jnp.sum(carry[0]["a"] ** 2)

    derivatives = [
        jax.grad(last)(0.1, around) for around in (lambda tx: tx, lambda tx: funcopt.monitor(tx, 2))
    ]
    np.testing.assert_allclose(*derivatives, rtol=1e-5)
    assert derivatives[0] < -0.1


def test_around_a_guard_the_baseline_is_the_guard_s():
    grads = [1.0] * 30 + [1e5, 1.0]
    inner = funcopt.guard(funcopt.sgd(0.1))
    shared = norms_of(funcopt.monitor(inner), grads)
    own = norms_of(funcopt.monitor(funcopt.chain(inner)), grads)
    blind = norms_of(funcopt.monitor(funcopt.guard(funcopt.sgd(0.1), spike=float("inf"))), grads)
    assert shared.baseline == blind.baseline == ()
    assert isinstance(own.baseline, Baseline)
    for seen, spikes in ((shared, [30]), (own, [30]), (blind, [])):
        events = read(seen, {"w": np.ones(3)}).events
        assert [(e.step, e.kind) for e in events] == [(step, "spike") for step in spikes]
    np.testing.assert_array_equal(shared.memory.last, own.memory.last)


def test_a_monitored_guard_may_be_an_argument():
    """Its state has the same structure where its numbers are traced."""
    tx, params = funcopt.monitor(funcopt.guard(funcopt.sgd(0.1))), {"w": jnp.ones(3)}
    state = tx.init(params)
    _, after = jax.jit(lambda tx, state: tx.update(params, state, params))(tx, state)
    assert jax.tree.structure(state) == jax.tree.structure(after)


def test_running_means_leave_out_what_is_zero_or_not_finite():
    """The norms' means are geometric; a zero is no news to them, and gives way to the first."""
    tx = funcopt.monitor(funcopt.sgd(0.0), every=1)

    def mean(grads):
        return read(norms_of(tx, grads), {"w": np.ones(3)}).mean["grad_norm"][0] / 3**0.5

    assert mean([4, 1]) == pytest.approx(2)
    assert mean([4, 0, 1, np.nan, np.inf]) == pytest.approx(4 ** (2 / 3))
    assert mean([0, 0, 0, 4]) == pytest.approx(4)
    assert mean([0, 0]) == 0
    many = [2.0] * 40 + [8.0]
    assert mean(many) == pytest.approx(2 * 4**0.2, rel=1e-5)


# -- memory -----------------------------------------------------------------------------------


def test_the_flight_recorder_has_the_last_steps():
    steps = LAST_STEPS + 30
    tx = funcopt.monitor(funcopt.sgd(1.0), every=50)
    seen = read(norms_of(tx, list(range(1, steps + 1))), {"w": np.ones(3)})
    np.testing.assert_array_equal(seen.last.step, np.arange(30, steps))
    np.testing.assert_allclose(seen.last.scalars["grad_norm"], np.arange(31, steps + 1) * 3**0.5,
                               rtol=1e-6)  # fmt: skip
    assert np.isnan(seen.last.scalars["value"]).all()
    np.testing.assert_array_equal(seen.last.scalars["lr"], 1.0)
    np.testing.assert_array_equal(seen.run.step, [0, 50, 100, 150])


@pytest.mark.parametrize("history", [2, 7, 8])
def test_a_full_history_is_halved(history):
    """Records are evenly spaced over the run, at least half of the rows are used, none is old."""

    @jax.jit
    def loop(run, records):
        def body(run, number):
            latest = jnp.full((1, len(COLUMNS)), 2.0).at[0, 0].set(number.astype(jnp.float32) + 1)
            row = jnp.full(len(SCALARS), number, jnp.float32)
            run = add_record(run, number, 10 * number, latest, row)
            return run, run

        return jax.lax.scan(body, run, records)[1]

    runs = jax.tree.map(np.asarray, loop(no_run(history, 1, jnp.float32), jnp.arange(40)))
    for number in range(40):
        rows, stride = int(runs.rows[number]), int(runs.stride[number])
        kept = np.arange(0, number + 1, stride)
        assert rows == len(kept) <= history
        assert rows > (history - 1) // 2 or number < history
        np.testing.assert_array_equal(runs.step[number][:rows], 10 * kept)
        np.testing.assert_array_equal(runs.scalars[number][:rows, 0], kept)
        np.testing.assert_allclose(runs.grad[number][:rows, 0], np.log2(kept + 1), atol=2e-3)


def test_the_log_keeps_the_first_and_the_last_events():
    tx = funcopt.monitor(funcopt.guard(funcopt.sgd(0.0)), every=10)
    bad = FIRST_EVENTS + 2 * LAST_EVENTS + 3
    seen = read(norms_of(tx, [1.0, *[np.nan] * bad]), {"w": np.ones(3)})
    first = list(range(1, FIRST_EVENTS + 1))
    assert [event.step for event in seen.events] == [*first, *range(bad + 1 - LAST_EVENTS, bad + 1)]
    assert {(event.kind, event.layer, event.value) for event in seen.events} == {
        ("nonfinite", "w", 1.0)
    }
    assert seen.events_seen == bad
    assert seen.broken[0] == bad


def test_each_kind_of_event_names_its_layer():
    params = {"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}
    tx = funcopt.monitor(funcopt.guard(funcopt.sgd(0.0)), every=5)

    @jax.jit
    def step(state, grads, value):
        return tx.update(grads, state, params, value=value)[1]

    state = tx.init(params)
    ones = {"a": np.ones(3, np.float32), "b": 10 * np.ones(3, np.float32)}
    for number in range(1, 9):
        grads, value = dict(ones), 1.0
        if number == 4:
            grads["a"] = np.array([0, np.inf, np.nan], np.float32)
        if number == 5:
            grads["b"] = 1e25 * ones["b"]
        if number == 6:
            value = np.inf
        if number == 7:
            grads["a"] = 1e9 * ones["a"]
        state = step(state, grads, np.float32(value))
    told = [(e.step, e.kind, e.layer) for e in read(state, params).events]
    assert told == [
        (3, "nonfinite", "a"),
        (4, "overflow", "b"),
        (5, "loss", None),
        (6, "spike", "a"),
    ]
    seen = read(state, params)
    np.testing.assert_array_equal(seen.last.scalars["skipped"], [0, 0, 0, 1, 1, 1, 1, 0])
    assert np.isposinf(seen.last.scalars["value"][5])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state) if x.dtype != bool)


def test_a_stacked_layer_that_overflows_is_not_one_that_is_broken():
    """By more at once than the scale of its last norm can tell: it is as large as its leaf."""
    params = {"stack": np.ones((3, 4), np.float32), "other": np.ones(2, np.float32)}
    tx = funcopt.monitor(funcopt.sgd(0.0), every=1, layer_axis={"stack": 0})
    state = tx.init(params)
    for row in (np.ones(4), np.full(4, 1e25), [1.0, np.nan, 1.0, 1.0]):
        grads = jax.tree.map(np.ones_like, params)
        grads["stack"][1] = row
        _, state = tx.update(grads, state, params)
    seen = read(state, params)
    told = [(e.step, e.kind, e.layer, e.value) for e in seen.events]
    assert told[0][:3] == (1, "overflow", "stack[1]")
    assert told[0][3] == pytest.approx(2e25, rel=1e-6)
    assert told[1] == (2, "nonfinite", "stack[1]", 1.0)
    assert seen.broken.tolist() == [int(name == "stack[1]") for name in seen.layers]


def test_an_infinite_gradient_outside_of_the_sample_is_not_a_finite_norm():
    params = {"w": np.ones((300, 300), np.float32)}
    tx = funcopt.monitor(funcopt.sgd(0.0), every=1)
    grads = {"w": np.ones((300, 300), np.float32)}
    grads["w"][299, 299] = np.inf
    seen = read(tx.update(grads, tx.init(params), params)[1], params)
    assert seen.latest["nonfinite"][0] == 0
    assert np.isposinf(seen.latest["grad_norm"][0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_memory_that_was_damaged_stops_no_training(dtype):
    """As by a cast of the whole state to half precision, or by NaN."""
    tx = funcopt.monitor(funcopt.guard(funcopt.sgd(0.1)), every=5)
    params = {"w": jnp.ones(3)}
    _, state = tx.update(params, tx.init(params), params)  # a measurement would mend it
    for damage in (lambda x: x.astype(dtype).astype(x.dtype), lambda x: x * np.float32("nan")):
        damaged = state._replace(kept=state.kept._replace(floats=damage(state.kept.floats)))
        for _ in range(2):
            updates, damaged = tx.update(params, damaged, params)
            np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)


def test_the_largest_sample_is_counted():
    params = {"w": np.ones(70_000, np.float32)}
    most = 2**16 - 1
    tx = funcopt.monitor(funcopt.adam(0.1), every=1, sample=most)
    grads = {"w": np.full(70_000, np.nan, np.float32)}
    grads["w"][: 2 * (most // 4)] = 0.0
    seen = read(tx.update(grads, tx.init(params), params)[1], params)
    assert seen.latest["zero"][0] + seen.latest["nonfinite"][0] == 1
    assert seen.latest["zero"][0] == pytest.approx(2 * (most // 4) / 70_000, abs=1e-4)
    with pytest.raises(ValueError, match="sample"):
        funcopt.monitor(funcopt.adam(0.1), sample=most + 1)


def test_the_memory_of_a_monitor_is_small():
    params = {f"layer{i}": jax.ShapeDtypeStruct((1000, 1000), jnp.float32) for i in range(200)}
    state = jax.eval_shape(funcopt.monitor(funcopt.sgd(0.1)).init, params)
    own = jax.tree.leaves(state._replace(inner=()))
    assert sum(x.size * x.dtype.itemsize for x in own) < 64_000


# -- nothing is changed -----------------------------------------------------------------------


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


START = {
    "kernel": np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32),
    "bias": np.array([0.5, -0.5, 2.0], np.float32),
}


def run_of(tx: Any) -> Any:
    random = np.random.default_rng(5)
    grads = jax.tree.map(lambda x: random.standard_normal((6, *x.shape)).astype(np.float32), START)

    @jax.jit
    def loop(params, grads):
        def body(carry, grads):
            params, state = carry
            params, state = funcopt.step(tx, grads, state, params, value=1.0)
            return (params, state), params

        return jax.lax.scan(body, (params, tx.init(params)), grads)

    return loop(START, grads)


EXACT = {"adamw", "amsgrad", "lion", "prodigy", "rolled-back", "accumulated", "noisy-sgd"}


@pytest.mark.default_promotion
@each(ALL, where=lambda row: row.name in EXACT)
def test_a_monitor_changes_no_bit(row: Row):
    """Neither parameters nor the state inside, in one compiled loop."""
    tx = row.descending()
    (plain, inner), path = run_of(tx)
    (watched, state), watched_path = run_of(funcopt.monitor(tx, every=2))
    assert_same((watched, state.inner, watched_path), (plain, inner, path))
    assert int(state.count) == 6
    assert int(state.memory.run.rows) == 3


@pytest.mark.default_promotion
@pytest.mark.parametrize(
    "tx",
    [
        funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(0.1))),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)),
    ],
    ids=["guard", "optax"],
)
def test_a_monitor_changes_no_bit_beside_a_norm(tx):
    """Outside of `jit`: compiled, the order of a sum may change with what XLA makes of it."""
    params = jax.tree.map(jnp.asarray, START)
    watched = funcopt.monitor(tx, every=2)
    plain, state = tx.init(params), watched.init(params)
    for scale in (1.0, 0.3):
        grads = jax.tree.map(lambda x, scale=scale: scale * x, params)
        ours, state = watched.update(grads, state, params)
        theirs, plain = tx.update(grads, plain, params)
        assert_same((ours, state.inner), (theirs, plain))
    (jitted, _), _ = run_of(tx)
    (watched, _), _ = run_of(watched)
    for a, b in zip(jax.tree.leaves(jitted), jax.tree.leaves(watched), strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-7)


@pytest.mark.default_promotion
def test_inside_of_optax():
    labels = {"kernel": "watched", "bias": "other"}
    parts = {"watched": funcopt.monitor(funcopt.adam(0.1), every=1), "other": optax.sgd(0.1)}
    (_, state), _ = run_of(optax.partition(parts, labels))
    seen = read(find(state), {"kernel": START["kernel"]})
    assert seen.layers == ("kernel",)
    assert np.isfinite(seen.latest["rms"]).all()

    both = optax.partition({"watched": funcopt.adam(0.1), "other": funcopt.sgd(0.1)}, labels)
    (_, state), _ = run_of(optax.chain(funcopt.monitor(both, every=1), optax.scale(1.0)))
    assert funcopt.health(state, START).readings.layers == ("bias", "kernel")


def test_accumulation_is_measured_where_it_makes_a_step():
    """Around it, whatever `every` is; inside it, a monitor sees the steps only."""
    outside = funcopt.monitor(funcopt.accumulate(funcopt.adam(0.1), every=4), every=2)
    grads = [{"w": np.float32([g, 1, 2])} for g in range(24)]
    params = {"w": np.ones(3, np.float32)}
    state, _ = measured(outside, params, grads)
    seen = read(state, params)
    np.testing.assert_array_equal(seen.run.step, [3, 7, 11, 15, 19, 23])
    assert seen.records == seen.possible_records == 6
    assert np.isfinite(seen.ratio).all()
    assert seen.now("noise_scale") == pytest.approx(
        float(funcopt.metrics(state)["noise_scale"]), rel=1e-6
    )
    rare = funcopt.monitor(funcopt.accumulate(funcopt.adam(0.1), every=4), every=10)
    np.testing.assert_array_equal(
        read(measured(rare, params, grads)[0], params).run.step, [3, 11, 23]
    )
    inside = funcopt.accumulate(funcopt.monitor(funcopt.adam(0.1), every=2), every=4)
    state, _ = measured(inside, params, grads)
    seen = read(find(state), params)
    np.testing.assert_array_equal(seen.run.step, [0, 2, 4])
    assert seen.steps == 6


def test_noise_scale_of_given_micro_norms():
    """McCandlish et al., appendix A.1, in NumPy: the ratio of the running means."""
    random = np.random.default_rng(0)
    micro = random.uniform(1, 3, (5, 4))
    means = random.uniform(0.5, 1, 5)
    tx = funcopt.monitor(funcopt.sgd(0.0), every=1)
    params = {"w": jnp.zeros(1)}

    @jax.jit
    def loop(means, micro):
        def body(state, given):
            mean, norms = given
            return tx.update({"w": mean[None]}, state, params, micro_norms=norms)[1], None

        return jax.lax.scan(body, tx.init(params), (means, micro))[0]

    state = loop(np.float32(means), np.float32(micro))
    signal = variance = 0.0
    for mean, norms in zip(means, micro, strict=True):
        m = np.mean(norms**2)
        signal = 0.9 * signal + 0.1 * (4 * mean**2 - m) / 3
        variance = 0.9 * variance + 0.1 * (m - mean**2) / (1 - 1 / 4)
    expected_scale = variance / signal if signal > 0 else 0.0
    assert read(state, params).now("noise_scale") == pytest.approx(expected_scale, rel=1e-5)
    with pytest.raises(ValueError, match="micro_norms must be the norms of at least two"):
        tx.update({"w": jnp.ones(1)}, state, params, micro_norms=jnp.ones(1))


# -- the state --------------------------------------------------------------------------------


def shapes(state: Any) -> Any:
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x), x.weak_type), state)


WATCHED = functools.partial(funcopt.monitor, every=2, history=4)


@pytest.mark.default_promotion
def test_the_state_is_the_same_tree_for_ever(tmp_path):
    """Before and after updates, compiled once, donated, through a checkpoint and vmap."""
    tx = WATCHED(funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(0.1))))
    params = jax.tree.map(jnp.asarray, START)
    traces = []

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        traces.append(1)
        return funcopt.step(tx, grads, state, params, value=jnp.float32(1.0))

    state = tx.init(params)
    kinds = shapes(state)
    assert kinds == shapes(jax.eval_shape(tx.init, params))
    for scale in (1.0, 2.0, np.nan, 0.0, 1e9):
        grads = jax.tree.map(lambda x, scale=scale: np.float32(scale) * x, START)
        params, state = step(params, state, grads)
        assert shapes(state) == kinds
    assert len(traces) == 1

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "checkpoint", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "checkpoint", jax.eval_shape(tx.init, params))
    assert_same(restored, state)
    assert str(funcopt.health(restored, params)) == str(funcopt.health(state, params))

    closed, after = tx.update(START, state, params, gate=jnp.zeros([], bool))
    assert_same(after, state)
    assert_same(funcopt.apply_updates(params, closed), params)

    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), (params, START))
    states = jax.vmap(tx.init)(batch[0])
    _, states = jax.vmap(tx.update)(batch[1], states, batch[0])
    second = jax.tree.map(lambda x: x[1], states)
    _, expected_state = tx.update(
        jax.tree.map(lambda x: x[1], batch[1]),
        tx.init(params),
        jax.tree.map(lambda x: x[1], batch[0]),
    )
    np.testing.assert_allclose(second.memory.latest, expected_state.memory.latest, rtol=1e-6)
    np.testing.assert_array_equal(second.memory.above, expected_state.memory.above)


def test_a_rate_and_a_weight_decay_may_be_traced():
    """A monitored transformation is a value: two that differ in numbers compile once."""
    traces = []

    @jax.jit
    def norm(tx):
        traces.append(1)
        _, state = tx.update(START, tx.init(START), START)
        return state.memory.latest

    first = norm(funcopt.monitor(funcopt.adam(0.1)))
    second = norm(funcopt.monitor(funcopt.adam(0.2)))
    assert len(traces) == 1
    np.testing.assert_allclose(2 * first[:, 1], second[:, 1], rtol=1e-6)
    assert eval(repr(WATCHED(funcopt.adam(0.1))), vars(funcopt)) == WATCHED(funcopt.adam(0.1))


LEAF = (256, 256)


def program(tx: Any) -> Any:
    params = {f"w{i}": jax.ShapeDtypeStruct(LEAF, jnp.float32) for i in range(3)}
    state = jax.eval_shape(tx.init, params)

    def step(params, state, grads):
        return funcopt.step(tx, grads, state, params)

    return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()


def reductions(compiled: Any) -> int:
    """How many passes over an array of parameters, outside of branches, end in a single number."""
    text = compiled.as_text()
    entry = text[text.index("\nENTRY ") :]
    shape = "f32[256,256]"
    kinds = dict(line.strip().lstrip("%").split(" = ", 1) for line in entry.splitlines()
                 if " = " in line and not line.strip().startswith("ROOT"))  # fmt: skip
    arrays = {name for name, line in kinds.items() if line.startswith(shape)}

    def reads(line: str) -> bool:
        operands = line[line.index("(") :].split("), ")[0]
        return any(f"%{name}" in operands.replace(")", ",").split(", ") or f"%{name}," in operands
                   or f"(%{name})" in operands for name in arrays)  # fmt: skip

    return sum(
        1
        for line in kinds.values()
        if line.startswith("f32[]") and (" reduce(" in line or " fusion(" in line) and reads(line)
    )


def test_a_step_that_is_not_measured_is_the_step_of_a_guard():
    """The sum of squares is shared, and nothing of the parameters' size is kept."""
    inner = funcopt.guard(
        funcopt.chain(
            funcopt.clip_by_global_norm(1.0), funcopt.adamw(funcopt.linear_schedule(0.1, 0.0, 9))
        )
    )
    plain, watched = program(inner), program(funcopt.monitor(inner))
    assert reductions(plain) > 0
    assert reductions(watched) == reductions(plain)
    leaf = 4 * 256 * 256
    assert plain.memory_analysis().temp_size_in_bytes < leaf / 4
    # Of each leaf 1024 elements of the gradient, the update, the parameter, two moments, and of up
    # to three arrays that are computed of them.
    samples = 3 * 8 * 1024 * 4
    assert watched.memory_analysis().temp_size_in_bytes < samples + leaf / 16


def reducers(compiled: Any) -> int:
    """How many numbers go into the functions by which arrays are reduced, in all branches."""
    text = compiled.as_text()
    names = re.findall(r"to_apply=%([^\s,]+)", text)
    return sum(
        re.search(rf"^%{re.escape(name)} \((.*?)\) ->", text, re.MULTILINE).group(1).count(":")  # pyright: ignore[reportOptionalMemberAccess]
        for name in names
    )


def test_a_call_pays_for_few_arrays_and_reductions():
    """Every one costs each call on a CPU, even in a branch that is not taken: an array of the state
    many times what a number does that a reduction takes."""
    inner = funcopt.guard(funcopt.adamw(0.1))
    assert reducers(program(funcopt.monitor(inner))) <= 56
    params = [jnp.zeros(3)] * 4
    state = funcopt.monitor(inner).init(params)
    assert len(jax.tree.leaves(state._replace(inner=()))) == 4
    assert len(jax.tree.leaves(state.inner._replace(inner=()))) == 2


def test_a_measurement_sums_no_squares_again():
    """The update that it computes takes the norm that is there."""
    inner = funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.1)))
    params = {"a": jnp.ones(3), "empty": jnp.ones((0, 2)), "b": jnp.ones(5)}

    def sums(jaxpr: Any) -> int:
        inside = [
            getattr(x, "jaxpr", x)
            for equation in jaxpr.eqns
            for x in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns"))
            if hasattr(x, "eqns")
        ]
        here = sum(equation.params.get("name") == "_square_sum" for equation in jaxpr.eqns)
        return here + sum(map(sums, inside))

    def sums_of(tx: Any) -> int:
        return sums(jax.make_jaxpr(tx.update)(params, tx.init(params), params).jaxpr)

    # Of each leaf, and again where they are not exact.
    assert sums_of(funcopt.monitor(inner)) == 3 + 3


def test_constants_that_a_state_stands_on():
    """They are in saved states: who changes them counts `version` up."""
    assert int(funcopt.monitor(funcopt.sgd(0.1)).init(START).memory.version) == 5
    assert KINDS == ("none", "nonfinite", "overflow", "loss", "spike", "skipped")
    assert (absent("float32"), largest("float32")) == (-3e38, 3e38)
    assert len(COLUMNS) == 11
