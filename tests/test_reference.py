"""Every row against its NumPy float64 reference, over 50 steps and in every precision."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests.catalog import BLOCKS, ROWS, Row, each, each_kind, each_rule
from tests.runs import (
    STEPS,
    Path,
    Problem,
    deviation,
    problem,
    run,
    transcribed,
    worst,
)

PROVEN = ROWS + BLOCKS
REAL = problem()
COMPLEX = problem(complex_valued=True)
MANY = problem(shapes={"many": (800,)})


def tolerances(row: Row, double: bool) -> Mapping[str, float]:
    if double:
        slots = dict.fromkeys(row.slots, row.float64)
        return {"params": row.float64, "way": row.way_float64, **slots}
    slots = dict.fromkeys(row.slots, row.slots_float32)
    return {"params": row.float32, "way": row.way_float32, **slots}


def check(row: Row, ours: Path, theirs: Path, double: bool) -> None:
    assert max(np.ptp(path, axis=0).max() for path in theirs.params.values()) > 0, "nothing moved"
    allowed, found = tolerances(row, double), worst(ours, theirs)
    assert {name: x for name, x in found.items() if not x <= allowed[name]} == {}


@each(PROVEN)
def test_trajectory(row):
    along(row, leaves_for(row).astype("float64"))


# What numbers mean is told in float64; in which type a rule computes is the lift's.
@each_kind(PROVEN)
def test_trajectory_in_single_precision(row):
    along(row, few(row))


def few(row: Row) -> Problem:
    """Elements do not see each other (`test_scope.py`), nor then what shape they are in."""
    return REAL.only("scalar", "block") if row.acts_on == "element" else REAL


def leaves_for(row: Row) -> Problem:
    return MANY if row.signs else few(row)


def along(row: Row, given: Problem) -> None:
    dtype = next(iter(given.p0.values())).dtype
    double = dtype == "float64"
    with jax.enable_x64(double):
        ours = run(row.descending(), given, row.slots)
    assert all(path.dtype == dtype for path in ours.params.values())
    check(row, ours, transcribed(row, given), double)


@each(PROVEN, where=lambda row: row.evaluated)
def test_parameters_to_evaluate_with(row):
    """After every step they are those of the reference."""
    given, steps = leaves_for(row).astype("float64"), 12
    with jax.enable_x64(True):
        tx = row.descending()

        def step(carry, grads):
            params, state = funcopt.step(tx, grads, carry[1], carry[0])
            return (params, state), funcopt.eval_params(tx, state, params)

        first = jax.tree.map(jnp.asarray, given.p0)
        grads = {leaf: jnp.asarray(g[:steps]) for leaf, g in given.grads.items()}
        _, ours = jax.jit(lambda *told: jax.lax.scan(step, *told))((first, tx.init(first)), grads)
    assert row.reference is not None
    for leaf, p in given.p0.items():
        slots: dict[str, np.ndarray] = {}
        for index, g in enumerate(given.grads[leaf][:steps]):
            p, slots = row.reference(p, g, slots, index + 1, row.descent_rate, **row.transcribed())
            theirs = slots[row.evaluated]
            np.testing.assert_allclose(ours[leaf][index], theirs, rtol=1e-11, atol=1e-12)


FELT = 1e-3


@each(PROVEN)
def test_every_number_is_felt(row):
    """What the trajectories compare with is another where a number is off by a thousandth.

    Of the numbers that the row sets and of those that may be scheduled; some are too small to be
    seen beside what they are added to, which tests of their own look at.
    """
    given = leaves_for(row).astype("float64")
    hyper = {**defaults(row), **row.transcribed()}
    told = {*row.transcribed(), *row.scheduled}
    numbers = {name: x for name, x in hyper.items() if name in told and type(x) is float}
    right, unfelt = transcribed(row, given), set()
    for name, x in {"learning_rate": row.descent_rate, **numbers}.items():
        if name != "learning_rate" and (not np.isfinite(x) or abs(x) < 1e-12):
            continue
        off = x * (1 - FELT)
        if name == "learning_rate":
            wrong = transcribed(row, given, lr=off)
        else:
            wrong = transcribed(row, given, hyper={**row.transcribed(), name: off})
        if not differ(wrong, right, tolerances(row, double=True)):
            unfelt.add(name)
    assert unfelt == set(row.unfelt)


def defaults(row: Row) -> Mapping[str, Any]:
    """Of the reference's arguments."""
    assert row.reference is not None
    parameters = list(inspect.signature(row.reference).parameters.items())[5:]
    return {name: p.default for name, p in parameters if p.default is not p.empty}


def differ(wrong: Path, right: Path, allowed: Mapping[str, float]) -> bool:
    """Whether they are further apart than is allowed, in parameters, ways or slots."""

    def apart(ours: Any, theirs: Any, tolerance: float) -> bool:
        return any(
            np.abs(ours[leaf] - x).max(initial=0) > tolerance * np.abs(x).max(initial=0)
            for leaf, x in theirs.items()
        )

    pairs = [("params", wrong.params, right.params), ("way", wrong.way, right.way)]
    pairs += [(name, wrong.slots[name], slot) for name, slot in right.slots.items()]
    return any(apart(ours, theirs, allowed[name]) for name, ours, theirs in pairs)


# A real number times a complex array is a conversion that rules leave to JAX.
@pytest.mark.default_promotion
@each_rule(ROWS, where=lambda row: row.complex)
def test_complex_trajectory(row):
    along_complex(row, "complex128")


# Which type an algorithm is in is chosen by the lift.
@pytest.mark.default_promotion
@each_kind(ROWS, where=lambda row: row.complex)
def test_complex_trajectory_in_single_precision(row):
    along_complex(row, "complex64")


def along_complex(row: Row, dtype: str) -> None:
    given = COMPLEX.only("matrix").astype(dtype)
    double = dtype == "complex128"
    with jax.enable_x64(double):
        ours = run(row.descending(), given, row.slots)
    assert ours.params["matrix"].dtype == dtype
    check(row, ours, transcribed(row, given), double)


def table(start: float, end: float, dtype: Any) -> np.ndarray:
    """A number for every step, as wide as the arithmetic."""
    return np.linspace(start, end, STEPS).astype(dtype)


def scheduled(numbers: np.ndarray) -> Any:
    """A plain callable is a schedule: the same number in NumPy and in JAX, to the last bit."""
    return lambda step: jnp.asarray(numbers)[step]


@each_rule(PROVEN, where=lambda row: row.scheduled)
def test_everything_scheduled(row):
    along_schedules(row, "float64")


@each_kind(PROVEN, where=lambda row: row.scheduled)
def test_everything_scheduled_in_single_precision(row):
    along_schedules(row, "float32")


def along_schedules(row: Row, dtype: str) -> None:
    double = dtype == "float64"
    last = 1.0 if row.fixed_rate else 0.2
    rates = table(row.descent_rate, last * row.descent_rate, dtype)
    tables = {name: table(*ends, dtype) for name, ends in row.scheduled.items()}
    hyper = {name: [float(x) for x in numbers].__getitem__ for name, numbers in tables.items()}
    given = REAL.only("vector").astype(dtype)
    with jax.enable_x64(double):
        changes = {name: scheduled(numbers) for name, numbers in tables.items()}
        rate = row.rate if row.fixed_rate else scheduled(rates)
        ours = run(row.descending(rate, **changes), given, row.slots)
    lr = [float(x) for x in rates].__getitem__
    check(row, ours, transcribed(row, given, lr, {**row.transcribed(), **hyper}), double)


@each_kind(ROWS, where=lambda row: not row.fixed_rate)
def test_schedule_of_the_rate(row):
    """Step 0 of a schedule is the first update."""
    given = REAL.only("vector")
    ours = run(row.make(funcopt.linear_schedule(row.rate, 0.0, STEPS)), given, row.slots)
    theirs = transcribed(row, given, lambda index: row.rate * (1 - index / STEPS))
    check(row, ours, theirs, double=False)


def rounded(x: np.ndarray, dtype: Any) -> np.ndarray:
    return x.astype(np.float32).astype(dtype)


@each_rule(PROVEN, where=lambda row: row.acts_on == "element")
def test_half_precision_rounds_each_update_once(row):
    """Slots are float32, and each update is the reference's at these parameters, rounded once."""
    along_half(row, "bfloat16")


# A rule sees float32, whichever half precision its leaf is in.
@each_kind(PROVEN, where=lambda row: row.acts_on == "element")
def test_float16_rounds_each_update_once(row):
    along_half(row, "float16")


def along_half(row: Row, dtype: str) -> None:
    half = jnp.dtype(dtype)
    grads = REAL.grads["vector"].astype(half)[:12]
    tx, rate = row.make(), row.rate or -1.0  # a building block's update is the direction itself
    params = {"w": jnp.asarray(REAL.p0["vector"].astype(half))}
    state, old = tx.init(params), {}
    kept = [optax.tree.get(state, name)["w"] for name in row.slots]
    # Where a slot begins as the parameters, its own rounding is as large as theirs is in float32.
    copied = any(np.array_equal(x, np.asarray(params["w"], np.float32)) for x in kept)
    rounding = 2**-22 * np.abs(np.asarray(params["w"], np.float64)).max() if copied else 0.0
    for index, g in enumerate(grads):
        p = np.asarray(params["w"], np.float64)
        exact = g.astype(np.float64)
        given = {**row.transcribed(), **row.extra}
        new, old = row.reference(p, exact, old, index + 1, rate, **given)
        updates, state = tx.update({"w": jnp.asarray(g)}, state, params, **row.extra)
        u = np.asarray(updates["w"])
        assert u.dtype == half
        slack = row.slots_float32 * np.abs(new - p).max() + rounding
        assert np.all(u >= rounded(new - p - slack, half))
        assert np.all(u <= rounded(new - p + slack, half))
        params = funcopt.apply_updates(params, updates)
        assert params["w"].dtype == half
        np.testing.assert_array_equal(
            np.asarray(params["w"]), rounded(p + u.astype(np.float64), half)
        )
    for name in row.slots:
        slot = np.asarray(optax.tree.get(state, name)["w"])
        assert slot.dtype in (np.float32, np.int32)  # a count
        assert deviation(slot, old[name], np.abs(old[name]).max()) <= row.slots_float32


MASKS: Mapping[str, Any] = {
    "pattern": "vector|matrix",
    "excluding pattern": "!(scalar|block)$",
    "patterns": ["vector", "matrix"],
    "predicate": lambda path, leaf: path in ("vector", "matrix") and jnp.ndim(leaf) > 0,
    "function of the tree": lambda params: {k: k in ("vector", "matrix") for k in params},
    "tree": {"scalar": False, "vector": True, "matrix": True, "block": False},
}


@each_kind(PROVEN, where=lambda row: row.masked)
def test_masks(row):
    """Decay on some leaves is the reference with and without decay."""
    chosen = ("vector", "matrix")
    given = REAL.only("scalar", "vector") if row.acts_on == "element" else REAL
    hyper = {**row.transcribed(), "weight_decay": 0.3}
    decayed = transcribed(row, given, hyper=hyper)
    plain = transcribed(row, given, hyper={**hyper, "weight_decay": 0.0})
    theirs = {leaf: (decayed if leaf in chosen else plain).params[leaf] for leaf in given.p0}
    if row.acts_on == "tree":  # what decays in one leaf is felt in the others
        masked = {leaf: np.full(x.shape, 0.3 * (leaf in chosen)) for leaf, x in given.p0.items()}
        flat = np.concatenate([x.ravel() for x in masked.values()])
        theirs = transcribed(row, given, hyper={**hyper, "weight_decay": flat}).params
    decay: Any = row.kwargs.get("weight_decay")
    decay = replace(decay, weight_decay=0.3) if is_dataclass(decay) else 0.3
    ours = run(row.descending(mask="vector|matrix", weight_decay=decay), given)
    check(row, ours, decayed._replace(params=theirs, way=ours.way, slots={}), double=False)


@each_kind(PROVEN, where=lambda row: row.masked)
def test_every_form_of_mask_says_the_same(row):
    params = jax.tree.map(jnp.asarray, REAL.p0)
    grads = jax.tree.map(jnp.asarray, REAL.at(0))
    updates = []
    for mask in MASKS.values():
        tx = row.make(mask=mask, weight_decay=0.3)
        updates.append(tx.update(grads, tx.init(params), params, **row.extra)[0])
    for other in updates[1:]:
        jax.tree.map(np.testing.assert_array_equal, other, updates[0])
