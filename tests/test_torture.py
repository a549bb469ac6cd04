"""Whatever goes wrong at a step, training goes on as if that step had not been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.safety.baseline import judge, no_baseline
from tests import torture
from tests.compiling import devices
from tests.torture import STEPS, Fault

pytestmark = pytest.mark.default_promotion

NEVER = float("inf")
EXAMPLES, SEQUENCES = 70, 30
"""For each composition, how many hypothesis makes, and how many at least are not alike."""


@dataclass(frozen=True)
class Composition:
    """A way to put wrappers together, of which the guard has `spike` as its threshold."""

    name: str
    make: Callable[[float], Any]
    dtype: Any = jnp.float32
    spike: float = 6.0
    wrapper: str = "GuardState"
    judge: dict = field(default_factory=dict)
    kinds: tuple[str, ...] = torture.KINDS[1:]

    def train(self, course: torture.Course, spike: float | None = None) -> torture.History:
        tx = _made(self.make, self.spike if spike is None else spike)
        return torture.trained(tx, course, self.dtype)

    def refused(self, history: torture.History) -> list[bool]:
        return torture.refused_by_guard(history, **{"spike": self.spike, **self.judge})


@cache
def _made(make: Callable[[float], Any], spike: float) -> Any:
    """One value for all calls: two that hold transformations of optax are never equal."""
    return make(spike)


SCHEDULE = funcopt.warmup_cosine_decay_schedule(0.0, 0.1, 4, 60)
FROZEN = {"bias": "frozen", "gain": "frozen", "kernel": "trained"}


def clipped_adamw(rate: Any = SCHEDULE) -> Any:
    return funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(rate, weight_decay=0.01))


# Once each: what is made of another transformation of optax is another program.
PART_FROZEN = optax.partition(
    {"trained": funcopt.adam(0.05), "frozen": optax.set_to_zero()}, FROZEN
)
CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.05))
ADAFACTOR = optax.adafactor(0.05)
BRAIN_ADAM = optax.adam(0.05)

HALF, BRAIN = jnp.float16, jnp.bfloat16
PHASES = tuple(hypothesis.Phase)
GUARDED = (
    Composition("guard(adamw)", lambda z: funcopt.guard(funcopt.adamw(SCHEDULE), spike=z)),
    Composition("guard(clip, adamw)", lambda z: funcopt.guard(clipped_adamw(), spike=z)),
    Composition(
        "guard(adamw), updates checked",
        lambda z: funcopt.guard(funcopt.adamw(SCHEDULE), spike=z, check_updates=True),
    ),
    Composition(
        "guard, impatient",
        lambda z: funcopt.guard(funcopt.adam(0.05), spike=z, patience=2, decay=0.98),
        judge={"patience": 2, "decay": 0.98},
    ),
    Composition(
        "skip_nonfinite(momentum)",
        lambda _: funcopt.skip_nonfinite(funcopt.sgd(0.02, momentum=0.9, nesterov=True)),
        spike=NEVER,
    ),
    Composition(
        "skip_nonfinite(dowg)",
        lambda _: funcopt.skip_nonfinite(funcopt.dowg(1.0)),
        spike=NEVER,
    ),
    Composition("guard(lion), bf16", lambda z: funcopt.guard(funcopt.lion(0.02), spike=z), BRAIN),
    Composition("guard(adam), f16", lambda z: funcopt.guard(funcopt.adam(0.05), spike=z), HALF),
    Composition(
        "guard(plateau)",
        lambda z: funcopt.guard(funcopt.adam(0.1 * funcopt.on_plateau(0.5, 3)), spike=z),
    ),
    Composition("guard(stable_spam)", lambda z: funcopt.guard(funcopt.stable_spam(0.05), spike=z)),
    Composition(
        "guard(schedule_free)",
        lambda z: funcopt.guard(funcopt.schedule_free_adamw(0.1), spike=z),
    ),
    Composition("guard(part frozen)", lambda z: funcopt.guard(PART_FROZEN, spike=z)),
    Composition("guard(optax)", lambda z: funcopt.guard(CLIPPED, spike=z)),
    Composition("guard(optax.adafactor)", lambda z: funcopt.guard(ADAFACTOR, spike=z)),
    Composition(
        "guard(accumulate)",
        lambda z: funcopt.guard(funcopt.accumulate(funcopt.adam(0.1), 3), spike=z),
    ),
    Composition(
        "accumulate(guard), of one",
        lambda z: funcopt.accumulate(funcopt.guard(funcopt.adam(0.05), spike=z), 1),
    ),
    Composition(
        "monitor(guard)",
        lambda z: funcopt.monitor(funcopt.guard(clipped_adamw(0.05), spike=z), every=3),
    ),
    Composition(
        "rollback(guard), patient",
        lambda z: funcopt.rollback(funcopt.guard(funcopt.adam(0.05), spike=z), patience=99),
    ),
    Composition(
        "loss_scale(guard)",
        lambda z: funcopt.loss_scale(
            funcopt.guard(funcopt.adam(0.05), spike=z), init_scale=8.0, growth_interval=5
        ),
    ),
    Composition(
        "loss_scale(adam)",
        lambda _: funcopt.loss_scale(funcopt.adam(0.05), init_scale=8.0, hysteresis=2),
        spike=NEVER,
        wrapper="LossScaleState",
        # It looks at gradients only, as PyTorch's GradScaler does.
        kinds=tuple(kind for kind in torture.KINDS[1:] if not kind.endswith("loss")),
    ),
)
"""All of these refuse whole steps."""


def each(compositions: tuple[Composition, ...]) -> Any:
    """Parametrise by composition."""
    return pytest.mark.parametrize("it", [pytest.param(it, id=it.name) for it in compositions])


def as_if_they_had_not_been(
    it: Composition, course: torture.Course, history: torture.History, refused: list[bool]
) -> None:
    """The run is, bit for bit, one that never saw the refused steps."""
    kept = [step for step in range(STEPS) if not refused[step]]
    clean = it.train(course.rows(kept), spike=NEVER)
    path = np.concatenate([[0], np.cumsum(~np.array(refused))])
    there = torture.at((clean.params, clean.state), path)
    params, state = history.params, history.state
    assert torture.bits(params) == torture.bits(there[0])
    assert torture.bits(torture.inside(state, it.wrapper)) == torture.bits(
        torture.inside(there[1], it.wrapper)
    )
    assert torture.is_finite(params)
    # The best loss so far of a schedule begins as infinity.
    for ours, theirs in zip(*map(torture.finite_parts, (state, there[1])), strict=True):
        assert (ours == theirs).all()


@each(GUARDED)
def test_fault_sequences(it):
    """Hypothesis looks for a sequence of faults that leaves a trace."""
    seen = set()

    @hypothesis.seed(GUARDED.index(it))
    @hypothesis.settings(max_examples=EXAMPLES, database=None, phases=PHASES)
    @hypothesis.given(torture.faults(it.kinds))
    def no_trace(faults: list[Fault]) -> None:
        seen.add(tuple(faults))
        course = torture.course(faults)
        history = it.train(course)
        as_if_they_had_not_been(it, course, history, it.refused(history))

    no_trace()
    print(f"{len(seen)} different sequences of faults")
    assert len(seen) >= SEQUENCES


def test_enough_sequences():
    assert SEQUENCES * len(GUARDED) > 500


BURST = tuple(range(10, 16))
NAMED: dict[str, tuple[list[Fault], set[int]]] = {
    "F1 a leaf of NaN": ([Fault(9, "nan leaf", 1)], {9}),
    "F2 an infinite element": ([Fault(9, "inf element", 2)], {9}),
    "F3 NaN at the first step": ([Fault(0, "nan everywhere")], {0}),
    "F4 NaN for some steps": ([Fault(at, "nan everywhere") for at in BURST], set(BURST)),
    "F5 a spike of 1000": ([Fault(12, "spike", size=1e3)], {12}),
    "F5 at the second step": ([Fault(1, "spike", size=1e3)], {1}),
    "F6 two spikes 10 steps apart": (
        [Fault(8, "spike", size=1e3), Fault(18, "spike", size=5e2)],
        {8, 18},
    ),
    "F9 infinite loss": ([Fault(9, "inf loss")], {9}),
    "F9 loss of NaN": ([Fault(9, "nan loss")], {9}),
    "F10 zero gradients": ([Fault(9, "zero"), Fault(10, "zero")], set()),
    "F12 gradients of 1e-30": ([Fault(9, "tiny"), Fault(10, "tiny")], set()),
    "F13 gradients of 1e25": ([Fault(9, "huge")], {9}),
    "a batch of NaN": ([Fault(9, "nan batch")], {9}),
    "NaN, spike, inf, one after the other": (
        [Fault(9, "nan leaf"), Fault(10, "spike", size=1e6), Fault(11, "inf element")],
        {9, 10, 11},
    ),
    "NaN and a spike before anything else": (
        [Fault(0, "nan leaf"), Fault(2, "spike", size=1e3), Fault(3, "spike", size=1e3)],
        {0, 2, 3},
    ),
}


@pytest.mark.parametrize("name", NAMED)
@each(GUARDED)
def test_named_fault(it, name):
    """Exactly the steps that should be are refused, nothing remembers them, and training works."""
    faults, bad = NAMED[name]
    if it.spike == NEVER:
        faults = [fault for fault in faults if fault.kind not in torture.SPIKES]
    bad = bad & {fault.at for fault in faults if fault.kind in it.kinds}
    course = torture.course(faults)
    history = it.train(course)
    refused = [step in bad for step in range(STEPS)]
    as_if_they_had_not_been(it, course, history, refused)
    loss = history.loss[np.isfinite(history.loss)]
    assert np.mean(loss[-8:]) < 0.6 * np.mean(loss[:3])


ROLLED_BACK = tuple(
    Composition(
        f"rollback(guard({name}))",
        lambda z, inner=inner: funcopt.rollback(funcopt.guard(inner, spike=z), every=4, patience=3),
        dtype,
    )
    for name, inner, dtype in (
        ("adam", funcopt.adam(0.05), jnp.float32),
        ("momentum), bf16", funcopt.sgd(0.02, momentum=0.9), BRAIN),
    )
)


@each(ROLLED_BACK)
def test_rollback_sequences(it):
    """After a return, the run is the one that never made the steps since the snapshot."""
    returns = []

    @hypothesis.seed(7)
    @hypothesis.settings(max_examples=EXAMPLES, database=None, phases=PHASES)
    @hypothesis.given(torture.faults(it.kinds, most=6))
    def returned(faults: list[Fault]) -> None:
        course = torture.course(faults)
        history = it.train(course)
        model = torture.Rollback(4, 3, torture.Judge())
        made, landed = [[]], [True]
        for step in range(STEPS):
            there = all(
                np.array_equal(a[step], b[step])
                for a, b in zip(
                    jax.tree.leaves(history.params),
                    jax.tree.leaves(history.state.snapshot_params),
                    strict=True,
                )
            )
            landed[-1] = landed[-1] and (model.landing == 0 or there)
            model.take(step, bool(history.finite[step]), float(history.norm[step]), there)
            made.append(list(model.steps))
            landed.append(True)
        landed[-1] = model.landing == 0
        returns.append(model.returns)
        assert int(history.state.rollbacks[-1]) == model.returns
        assert torture.is_finite(history.params)

        clean = it.train(course.rows(model.steps), spike=NEVER)
        same = [
            t for t, steps in enumerate(made) if landed[t] and steps == model.steps[: len(steps)]
        ]
        there = torture.at((clean.params, clean.state), [len(made[t]) for t in same])
        params, state = torture.at((history.params, history.state), same)
        for ours, theirs in zip(*map(jax.tree.leaves, (params, there[0])), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert torture.bits(torture.inside(state)) == torture.bits(torture.inside(there[1]))

    returned()
    assert np.mean(np.array(returns) > 0) > 0.2


ACCUMULATED = (
    Composition(
        "accumulate(guard(adamw))",
        lambda z: funcopt.accumulate(funcopt.guard(clipped_adamw(), spike=z), 2),
    ),
    Composition(
        "accumulate(guard(optax.adam)), bf16",
        lambda z: funcopt.accumulate(funcopt.guard(BRAIN_ADAM, spike=z), 2),
        BRAIN,
    ),
)


@each(ACCUMULATED)
def test_accumulation_sequences(it):
    """A micro-batch that is dropped leaves its round to the other one; F14."""
    dropped = []

    @hypothesis.seed(11)
    @hypothesis.settings(max_examples=EXAMPLES, database=None, phases=PHASES)
    @hypothesis.given(torture.faults(it.kinds))
    def no_trace(faults: list[Fault]) -> None:
        course = torture.course(faults)
        history = it.train(course)
        made = torture.rounds(history, 2, torture.Judge())
        kept = [good for good in made if good]
        # The mean of a gradient and itself is that gradient, to the last bit.
        clean = it.train(course.rows([s for good in kept for s in (good * 2)[:2]]), spike=NEVER)
        path = 2 * np.concatenate([[0], np.cumsum([good is not None for good in made])])
        dropped.append(int(history.state.dropped[-1]))
        assert dropped[-1] == int((~history.finite).sum())
        assert torture.is_finite((history.params, history.state.inner))
        for half in (0, 1):
            steps = np.arange(half, STEPS + half, 2)
            there = torture.at((clean.params, torture.inside(clean.state)), path[:-1])
            here = (history.params, torture.inside(history.state))
            assert torture.bits(torture.at(here, steps)) == torture.bits(there)
        assert (np.asarray(history.state.micro[1:]) == np.arange(1, STEPS + 1) % 2).all()

    no_trace()
    assert np.mean(np.array(dropped) > 0) > 0.5


def test_accumulation_is_the_mean_of_what_is_left():
    """With any number of good micro-batches, beside float64."""
    faults = [Fault(at, "nan leaf", 1) for at in (0, 5, 6, 12, 13, 14, 16, 17, 18, 19, 27)]
    tx = funcopt.accumulate(funcopt.sgd(funcopt.linear_schedule(0.1, 0.0, 10)), 4)
    history = torture.trained(tx, torture.course(faults))
    params = {name: p[0].astype(np.float64) for name, p in history.params.items()}
    count = 0
    for first in range(0, STEPS, 4):
        good = [at for at in range(first, first + 4) if history.finite[at]]
        if good:
            for name, g in history.grads.items():
                rate = 0.1 * (1 - count / 10)
                params[name] = params[name] - rate * np.mean(g[good].astype(np.float64), axis=0)
            count += 1
        for name, p in params.items():
            near = 2e-6 * np.abs(p).max()
            np.testing.assert_allclose(history.params[name][first + 4], p, rtol=0, atol=near)
    assert int(history.state.inner.count[-1]) == count == 7


def test_overflows_as_in_grad_scaler():
    """Scale, its count and the parameter, after every step of PyTorch's GradScaler."""
    frozen = json.loads((Path(__file__).parent / "golden" / "grad_scaler.json").read_text())
    slopes = np.array(frozen["slopes"], np.float32)
    bad = np.array(frozen["overflows"])

    def run(tx: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            params, state = carry
            slope, bad = row
            grad = jnp.where(bad, jnp.inf, slope * funcopt.current_loss_scale(state))
            params, state = funcopt.step(tx, grad[None], state, params)
            return (params, state), (params[0], state.scale, state.good_steps)

        start = jnp.ones(1)
        return jax.lax.scan(step, (start, tx.init(start)), (slopes, bad))[1]

    for case in frozen["cases"]:
        tx = funcopt.loss_scale(
            funcopt.sgd(0.1, momentum=0.5), max_scale=2.0**60, **case["settings"]
        )
        params, scale, good = jax.jit(run)(tx)
        np.testing.assert_allclose(scale, np.float32(case["scale"]), rtol=1e-6)
        np.testing.assert_array_equal(good, case["good_steps"])
        np.testing.assert_allclose(params, case["params"], rtol=1e-5)


@jax.jit
def judged(norms: Any) -> Any:
    """Which numbers of each row are outliers, which begin a new level, and the last baselines."""

    def step(baseline: Any, x: Any) -> Any:
        found = judge(baseline, x)
        return found.baseline, (found.outlier, found.rebased, found.z)

    def row(norms: Any) -> Any:
        baseline, seen = jax.lax.scan(step, no_baseline(), norms)
        return (*seen, baseline)

    return jax.vmap(row)(norms)


LONG = 10_000
WHERE = 5_000


def healthy() -> dict[str, np.ndarray]:
    """Norms of trainings in which nothing is wrong."""
    random = np.random.default_rng(12)
    t = np.arange(LONG)
    noise = random.standard_normal((4, LONG))
    few = np.sqrt(random.chisquare(3, LONG) / 3)
    return {
        "F8 falls by 1e4": 1e-4 ** (t / LONG) * np.exp(0.1 * noise[0]),
        "constant": np.exp(0.02 * noise[1]),
        "noisy": np.exp(0.5 * noise[2]),
        "of three numbers": few,
        "warm-up": 100 ** np.minimum(t / 500, 1) * np.exp(0.2 * noise[3]),
        "sparse": np.where(random.random(LONG) < 0.1, 0.0, few),
    }


def test_healthy_norms_raise_no_alarm_and_a_spike_among_them_does():
    runs = healthy()
    plain = np.stack(list(runs.values())).astype(np.float32)
    spiked = plain.copy()
    spiked[:, WHERE] = 1e3 * np.median(plain[:, WHERE - 50 : WHERE], axis=1)
    spiked[:, WHERE + 10] = spiked[:, WHERE]  # F6
    outliers, rebased = map(np.asarray, judged(np.concatenate([plain, spiked]))[:2])
    assert not outliers[: len(plain)].any()
    assert not rebased.any()
    for name, found in zip(runs, outliers[len(plain) :], strict=True):
        assert np.flatnonzero(found).tolist() == [WHERE, WHERE + 10], name


def test_new_levels_are_accepted_and_nothing_broken_is_remembered():
    random = np.random.default_rng(13)
    level = np.exp(0.1 * random.standard_normal(LONG))
    shifted = np.where(np.arange(LONG) < WHERE, 1.0, 10.0) * level  # F7
    fallen = np.where(np.arange(LONG) < WHERE, 1.0, 0.1) * level
    broken = level.copy()
    broken[0:9000:10] = np.nan
    broken[1:9000:10] = np.inf
    broken[2:9000:10] = 0.0
    outliers, rebased, z, baseline = jax.tree.map(
        np.asarray, judged(np.stack([shifted, fallen, broken, level]).astype(np.float32))
    )
    assert np.flatnonzero(outliers[0]).tolist() == list(range(WHERE, WHERE + 8))
    assert np.flatnonzero(rebased[0]).tolist() == [WHERE + 8]
    assert not outliers[1:].any()
    assert torture.is_finite((z, baseline))
    assert baseline.seen.tolist() == [LONG - (WHERE + 8), LONG, LONG - 3 * 900, LONG]
    assert np.isclose(baseline.mean[2], baseline.mean[3], atol=0.02)


def test_protected_from_the_second_step_on():
    """The first norm may be anything; the second must be within a factor of exp(6)."""
    norms = np.ones((3, 4), np.float32)
    norms[0, 1], norms[1, 1], norms[2, 0] = np.exp(6.01), np.exp(5.99), np.exp(50.0)
    refused = np.argwhere(np.asarray(judged(norms)[0]))
    assert refused.tolist() == [[0, 1]]


REPLICAS = 3
AGREED = {
    "guard": lambda axis: funcopt.guard(funcopt.adam(0.05), axis_name=axis),
    "guard, updates checked": lambda axis: funcopt.guard(
        funcopt.adam(0.05), check_updates=True, axis_name=axis
    ),
    "skip_nonfinite": lambda axis: funcopt.skip_nonfinite(funcopt.adam(0.05), axis_name=axis),
    "accumulate": lambda axis: funcopt.accumulate(funcopt.adam(0.05), 2, axis_name=axis),
    "rollback": lambda axis: funcopt.rollback(
        funcopt.adam(0.05), every=2, patience=2, axis_name=axis
    ),
    "loss_scale": lambda axis: funcopt.loss_scale(
        funcopt.guard(funcopt.adam(0.05), axis_name=axis), init_scale=1.0, axis_name=axis
    ),
}


@pytest.mark.parametrize("name", AGREED)
def test_replicas_decide_together(name):
    """F15: what is bad on one replica is refused on all, so that they never part."""
    random = np.random.default_rng(14)
    grads = random.standard_normal((12, 1, 4)).astype(np.float32).repeat(REPLICAS, axis=1)
    values = np.ones((12, REPLICAS), np.float32)
    if name == "loss_scale":
        grads[3, 0] = np.inf
    else:
        values[3, 0], values[6:9, 2] = np.nan, np.inf
    if name != "accumulate":
        values[10, 1] = np.nan

    def run(axis: str | None) -> np.ndarray:
        tx = AGREED[name](axis)

        def train(grads: Any, values: Any) -> Any:
            start = jnp.ones(4), tx.init(jnp.ones(4))

            def step(carry: Any, row: Any) -> Any:
                params, state = carry
                carry = funcopt.step(tx, row[0], state, params, value=row[1])
                return carry, carry[0]

            return jax.lax.scan(step, start, (grads, values))[1]

        mapped = jax.vmap(train, in_axes=1, axis_name="replica")
        return np.asarray(jax.jit(mapped)(grads, values))

    together, alone = run("replica"), run(None)
    assert np.isfinite(together).all()
    assert (together == together[:1]).all()
    assert (together[:, 3] == together[:, 2]).all() or name == "accumulate"
    assert not (alone == alone[:1]).all()


def trajectory(tx: Any, grads: np.ndarray, dtype: Any = jnp.float32) -> tuple[np.ndarray, Any]:
    """Parameters before and after each of the given gradients, and the last state."""
    start = jnp.ones(grads.shape[1:], dtype)

    def step(carry: Any, grad: Any) -> Any:
        params, state = carry
        carry = funcopt.step(tx, grad.astype(dtype), state, params)
        return carry, carry[0]

    @jax.jit
    def run(grads: Any) -> Any:
        (_, state), after = jax.lax.scan(step, (start, tx.init(start)), grads)
        return jnp.concatenate([start[None], after]), state

    return jax.tree.map(np.asarray, run(grads))


def normal(steps: int, size: int = 4) -> np.ndarray:
    return np.random.default_rng(15).standard_normal((steps, size)).astype(np.float32)


def test_nan_of_the_optimizer_itself():
    """F10: optax's eps is 0 in float16, so that a zero gradient gives 0/0."""
    grads = normal(6)
    grads[2:4] = 0.0
    grads[0, 1] = grads[1, 1] = 0.0
    broken, _ = trajectory(funcopt.guard(optax.adam(0.1)), grads, HALF)
    assert np.isnan(broken).any()
    tx = funcopt.guard(optax.adam(0.1), check_updates=True)
    params, state = trajectory(tx, grads, HALF)
    assert np.isfinite(params).all()
    assert torture.is_finite(state)
    assert (state.nonfinite, state.skipped) == (4, False)
    assert (params[-1] != params[0]).all()


def test_parameters_that_would_leave_their_range():
    grads = np.array([[1.0], [-9e4], [1.0]], np.float32)
    tx = funcopt.guard(funcopt.sgd(1.0), check_updates=True, spike=NEVER)
    start = jnp.array([6e4], HALF)

    def step(carry: Any, grad: Any) -> Any:
        carry = funcopt.step(tx, grad, carry[1], carry[0])
        return carry, carry[0]

    (_, state), params = jax.lax.scan(step, (start, tx.init(start)), grads)
    assert np.isfinite(params).all()
    assert int(state.nonfinite) == 1


def test_float16_norms_do_not_overflow():
    """F11: the squares of 300 do, in float16."""
    grads = np.full((4, 300), 300.0, np.float32)
    tx = funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(1.0)))
    params, state = trajectory(tx, grads, HALF)
    assert int(state.nonfinite) == 0
    np.testing.assert_allclose(state.grad_norm, 300 * np.sqrt(300), rtol=1e-6)
    np.testing.assert_allclose(params[1], 1 - 1 / np.sqrt(300), rtol=1e-3)


WRAPPED = (
    lambda tx: funcopt.guard(tx),
    lambda tx: funcopt.guard(tx, check_updates=True),
    lambda tx: funcopt.accumulate(tx, 2),
    lambda tx: funcopt.rollback(tx, every=1, patience=1),
    lambda tx: funcopt.loss_scale(tx, init_scale=1.0),
)


@pytest.mark.parametrize("wrap", WRAPPED)
def test_odd_trees(wrap):
    """F16: nothing, None, numbers, empty arrays and complex ones; integers are refused by name."""
    tx = wrap(funcopt.sgd(0.5))
    for params in (
        {},
        {"a": None, "b": jnp.array(1.0), "c": jnp.zeros((0, 3)), "d": jnp.array([1.0 + 2.0j])},
    ):
        state = tx.init(params)
        bad = jax.tree.map(lambda x: x * jnp.nan, params)
        kept, state = funcopt.step(tx, bad, state, params)
        assert torture.bits(kept) == torture.bits(params)
        for _ in range(3):
            kept, state = funcopt.step(tx, params, state, kept)
        assert jax.tree.structure(kept) == jax.tree.structure(params)
        assert torture.is_finite(jax.tree.map(jnp.abs, kept))
        assert params == {} or kept["b"] < 1.0
    whole = {"layer": {"steps": jnp.array([1])}}
    with pytest.raises(TypeError, match=r"layer/steps.*int32"):
        tx.init(whole)


def test_rollback_counts_only_what_a_guard_inside_has_looked_at():
    """One refused mean is one bad step, however long the guard waits for the next one."""
    tx = funcopt.rollback(
        funcopt.accumulate(funcopt.guard(funcopt.sgd(0.01)), 4), every=1, patience=2
    )
    grads = 1 + 0.1 * normal(64)
    grads[16:20] = 1e6
    params, state = trajectory(tx, grads)
    assert int(state.rollbacks) == 0
    assert int(state.inner.inner.spikes) == 1
    grads[20:24] = 1e6
    params, state = trajectory(tx, grads)
    assert int(state.rollbacks) == 1
    assert np.isfinite(params).all()
    assert np.abs(params).max() < 10


def test_rollback_does_not_hide_a_new_level_from_a_guard():
    """Going back once is enough; then the guard runs out of patience, and training goes on."""
    grads = np.where(np.arange(80) < 45, 1.0, 100.0)[:, None] * np.ones(4)
    tx = funcopt.rollback(funcopt.guard(funcopt.sgd(1e-4)), every=10, patience=5)
    params, state = trajectory(tx, grads.astype(np.float32))
    assert int(state.rollbacks) == 1
    moves = np.diff(params[:, 0])
    assert (moves[:45] < 0).all()
    assert (moves[45:50] == 0).all()
    assert params[51, 0] == params[40, 0]
    assert 0 < (moves[51:] == 0).sum() <= 8
    assert (moves[-20:] < -5e-3).all()


def test_healthy_runs_are_optax_s():
    """MultiSteps where nothing is wrong, apply_if_finite while it has not given up."""
    grads = normal(48)
    schedule = funcopt.cosine_decay_schedule(0.1, 20)
    ours = trajectory(funcopt.accumulate(funcopt.adam(schedule), 3), grads)[0]
    theirs = trajectory(optax.MultiSteps(optax.adam(schedule), 3).gradient_transformation(), grads)
    np.testing.assert_allclose(ours, theirs[0], rtol=2e-5, atol=2e-6)
    grads[::5] = np.nan
    ours, state = trajectory(funcopt.skip_nonfinite(funcopt.adam(schedule)), grads)
    theirs, _ = trajectory(optax.apply_if_finite(optax.adam(schedule), 9), grads)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    assert int(state.nonfinite) == 10


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, funcopt
tx = funcopt.rollback(
    funcopt.accumulate(funcopt.guard(funcopt.adam(0.1), axis_name="data"), 2, axis_name="data"),
    every=2, patience=2, axis_name="data",
)

def train(values):
    params = jnp.ones(3)
    def step(carry, value):
        return funcopt.step(tx, carry[0], carry[1], carry[0], value=value[0]), None
    return jax.lax.scan(step, (params, tx.init(params)), values)[0][0][None]

values = np.ones((8, 4), np.float32)
values[3, 1] = np.nan
mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
by_device = jax.sharding.PartitionSpec("data")
mapped = jax.shard_map(
    train, mesh=mesh, in_specs=jax.sharding.PartitionSpec(None, "data"), out_specs=by_device
)
found = np.asarray(jax.jit(mapped)(values))
assert (found == found[0]).all() and (found < 1).all(), found
"""


def test_devices_decide_together():
    """F15 under shard_map, which also checks that no decision is that of one device."""
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        cwd=Path(__file__).parents[1],
        env=os.environ | devices(4),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
