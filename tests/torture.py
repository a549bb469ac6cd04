"""Training under faults. What goes wrong at each step is data, so one compilation serves them all.

A `Course` has a batch and a fault for every step. `trained(tx, course)` is everything that was
there after each step, by one program for all courses. Which steps should have been refused is
decided here a second time, in float64 and Python. Then the same program runs the course without
them, with no guard that minds spikes, and not one bit may differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import funcopt

STEPS = 32
FEATURES, OUTPUTS, BATCH = 3, 2, 8

NONE = "none"
KINDS = (
    NONE,
    "nan leaf",  # F1
    "inf element",  # F2
    "nan everywhere",
    "spike",  # F5
    "spike of a leaf",
    "inf loss",  # F9
    "nan loss",
    "zero",  # F10, in half precision
    "tiny",  # F12
    "huge",  # F13
    "nan batch",
)
NOT_FINITE = frozenset(KINDS) - {NONE, "spike", "spike of a leaf", "zero", "tiny"}
SPIKES = frozenset({"spike", "spike of a leaf"})


class Fault(NamedTuple):
    """What happens to the step `at`: of which kind, to which leaf, by which factor."""

    at: int
    kind: str
    leaf: int = 0
    size: float = 1e3


class Course(NamedTuple):
    """One row for each step."""

    x: np.ndarray
    y: np.ndarray
    kind: np.ndarray
    leaf: np.ndarray
    size: np.ndarray

    def rows(self, steps: Sequence[int]) -> Course:
        """These steps only, and after them healthy ones until there are as many as before."""
        short = Course(*(x[np.asarray(steps, int)] for x in self))
        rest = course([], len(self.x) - len(steps), seed=1)
        return Course(*(np.concatenate([a, b]) for a, b in zip(short, rest, strict=True)))


def course(faults: Sequence[Fault], steps: int = STEPS, seed: int = 0) -> Course:
    """Noisy linear regression, and what goes wrong."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((steps, BATCH, FEATURES)).astype(np.float32)
    noise = random.standard_normal((steps, BATCH, OUTPUTS)).astype(np.float32)
    y = x @ TEACHER + 0.5 * noise
    kind = np.zeros(steps, np.int32)
    leaf = np.zeros(steps, np.int32)
    size = np.ones(steps, np.float32)
    for fault in faults:
        kind[fault.at] = KINDS.index(fault.kind)
        leaf[fault.at] = fault.leaf
        size[fault.at] = fault.size
    x[kind == KINDS.index("nan batch")] = np.nan
    return Course(x, y, kind, leaf, size)


TEACHER = np.array([[1.0, -2.0], [0.5, 1.5], [-1.0, 0.25]], np.float32)


def parameters(dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    """Three leaves; `gain` is a number, of which no fault can be hidden by its neighbours."""
    start = np.random.default_rng(5).standard_normal((FEATURES, OUTPUTS))
    return {
        "bias": jnp.array([0.25, -0.0], dtype),
        "gain": jnp.array(0.75, dtype),
        "kernel": jnp.array(0.5 * start, dtype),
    }


LEAVES = len(parameters())


def loss_of(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    dtype = params["kernel"].dtype
    guess = params["gain"] * (x.astype(dtype) @ params["kernel"]) + params["bias"]
    return jnp.mean((guess - y.astype(dtype)).astype(jnp.float32) ** 2)


def struck(row: Course, loss: jax.Array, grads: Any) -> tuple[jax.Array, Any]:
    """Loss and gradients with the fault of one step."""

    def means(kind: str) -> jax.Array:
        return row.kind == KINDS.index(kind)

    def leaf(i: int, g: jax.Array) -> jax.Array:
        hit = row.leaf == i
        times = jnp.where(means("spike") | (means("spike of a leaf") & hit), row.size, 1.0)
        first = jnp.arange(g.size).reshape(g.shape) == 0
        g = g.astype(jnp.float32) * times
        g = jnp.where(means("zero"), 0.0, g)
        g = jnp.where(means("tiny"), jnp.copysign(jnp.float32(1e-30), g), g)
        g = jnp.where(means("huge"), jnp.copysign(jnp.float32(1e25), g), g)
        g = jnp.where((means("nan leaf") & hit) | means("nan everywhere"), jnp.nan, g)
        return jnp.where(means("inf element") & hit & first, jnp.inf, g)

    leaves, structure = jax.tree.flatten(grads)
    hurt = [leaf(i, g).astype(g.dtype) for i, g in enumerate(leaves)]
    loss = jnp.where(means("inf loss"), jnp.inf, jnp.where(means("nan loss"), jnp.nan, loss))
    return loss, jax.tree.unflatten(structure, hurt)


class History(NamedTuple):
    """What was there before the first step and after each; what each step brought."""

    params: Any
    state: Any
    finite: np.ndarray
    norm: np.ndarray
    grads: Any
    loss: np.ndarray
    metrics: dict[str, np.ndarray]


def trained(tx: Any, course: Course, dtype: Any = jnp.float32) -> History:
    """Training with `tx`; what differs from an earlier call in numbers only is not compiled."""
    return History(*jax.tree.map(np.asarray, _run(tx, parameters(dtype), course)))


@jax.jit
def _run(tx: Any, params: Any, course: Course) -> Any:
    start = params, tx.init(params)
    scaled = _has_loss_scale(start[1])

    def step(carry: Any, row: Course) -> tuple[Any, Any]:
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, row.x, row.y)
        value, grads = struck(row, loss, grads)
        all_of_them = jnp.concatenate(
            [g.astype(jnp.float32).ravel() for g in jax.tree.leaves(grads)]
        )
        told = grads
        finite = jnp.isfinite(jnp.sum(all_of_them**2)) & jnp.isfinite(value)
        largest = jnp.maximum(jnp.max(jnp.abs(all_of_them)), jnp.finfo(jnp.float32).tiny)
        norm = largest * jnp.sqrt(jnp.sum((all_of_them / largest) ** 2))
        if scaled:
            scale = funcopt.current_loss_scale(state)
            grads = jax.tree.map(lambda g: (g.astype(jnp.float32) * scale).astype(g.dtype), grads)
        carry = funcopt.step(tx, grads, state, params, value=value)
        said = funcopt.metrics(carry[1])
        return carry, (*carry, finite, norm, told, loss, said)

    _, (*after, finite, norm, told, loss, said) = jax.lax.scan(step, start, course)
    whole = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, tuple(after))
    return (*whole, finite, norm, told, loss, said)


def _has_loss_scale(state: Any) -> bool:
    return any(name.endswith("loss_scale") for name in funcopt.metrics(state))


def inside(state: Any, wrapper: str = "GuardState") -> Any:
    """What is inside of the wrapper with this state, with all wrappers around it taken off."""
    while type(state).__name__ != wrapper:
        state = state.inner if hasattr(state, "inner") else state[0]
    return state.inner


def at(tree: Any, step: int | slice | Sequence[int]) -> Any:
    return jax.tree.map(lambda x: x[step], tree)


def bits(tree: Any) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


def is_finite(tree: Any) -> bool:
    return all(np.isfinite(np.asarray(x, np.float64)).all() for x in jax.tree.leaves(tree))


class Judge:
    """The baseline of `guard`, in float64, as its docstring tells it."""

    def __init__(self, spike: float = 6.0, patience: int = 8, decay: float = 0.99):
        self.spike, self.patience, self.decay = spike, patience, decay
        self.mean, self.variance, self.seen, self.streak = 0.0, 1.0, 0, 0

    def refuses(self, finite: bool, norm: float) -> bool:
        """Whether the step with this norm is refused; the baseline learns from it."""
        if not finite:
            return True
        if norm == 0:
            return False
        y = math.log(norm)
        sigma = max(math.sqrt(self.variance), 0.05)
        residual = y - self.mean
        above = self.seen > 0 and residual / sigma > self.spike
        if self.seen == 0 or (above and self.streak >= self.patience):
            self.mean, self.variance, self.seen, self.streak = y, 1.0, 1, 0
            return False
        self.streak = self.streak + 1 if above else 0
        near = min(max(residual, -3 * sigma), 3 * sigma)
        least = 1 - self.decay
        young, old = (least, least) if above else (1 / (self.seen + 1), 1 / (self.seen + 20))
        self.mean += max(least, young) * near
        self.variance += max(least, old) * (near**2 - self.variance)
        self.seen += 1
        return above


def refused_by_guard(history: History, **arguments: Any) -> list[bool]:
    judge = Judge(**arguments)
    norms = history.norm.astype(np.float64)
    return [judge.refuses(bool(f), float(n)) for f, n in zip(history.finite, norms, strict=True)]


def faults(
    kinds: Sequence[str] = KINDS[1:], steps: int = STEPS, most: int = 12
) -> st.SearchStrategy[list[Fault]]:
    """Sequences of faults, alone and in bursts. They shrink to few, early and plain ones."""
    burst = st.tuples(
        st.integers(0, steps - 1),
        st.integers(1, 6),
        st.sampled_from(kinds),
        st.integers(0, LEAVES - 1),
        st.sampled_from([1e4, 1e9, 1e2, 3.0]),
    )

    def spread(bursts: list[tuple]) -> list[Fault]:
        found = {
            at: Fault(at, kind, leaf, size)
            for first, length, kind, leaf, size in bursts
            for at in range(first, min(first + length, steps))
        }
        return [found[at] for at in sorted(found)]

    return st.lists(burst, min_size=1, max_size=most).map(spread)


def finite_parts(tree: Any) -> list[np.ndarray]:
    return [np.isfinite(np.asarray(x, np.float64)) for x in jax.tree.leaves(tree)]


class Rollback:
    """Which steps the parameters of `rollback(guard(...))` are made of, as its docstring tells."""

    def __init__(self, every: int, patience: int, judge: Judge):
        self.every, self.patience = every, patience
        self.steps: list[int] = []
        self.judge = judge
        self.snapshot = [], deepcopy(judge)
        self.age = self.bad = self.landing = self.returns = 0

    def take(self, step: int, finite: bool, norm: float, there: bool) -> None:
        """One step; `there` says whether the parameters are those of the snapshot."""
        returning = self.bad >= self.patience and self.age > 0
        missed = self.landing > 0 and not there
        self.landing = 3 if returning else self.landing - 1 if missed else 0
        self.returns += returning
        if returning or missed:
            self.steps, self.judge = list(self.snapshot[0]), deepcopy(self.snapshot[1])
            self.age = self.bad = 0
            return
        if self.age >= self.every and self.bad == 0:
            self.snapshot, self.age = (list(self.steps), deepcopy(self.judge)), 0
        if not finite or self.judge.refuses(True, norm):
            self.bad += 1
            return
        self.steps.append(step)
        self.age, self.bad = self.age + 1, 0


def rounds(history: History, every: int, judge: Judge) -> list[list[int] | None]:
    """For each round of micro-batches the good ones, or None where there is no update."""
    found: list[list[int] | None] = []
    for first in range(0, len(history.finite) - every + 1, every):
        good = [step for step in range(first, first + every) if history.finite[step]]
        mean = [
            np.mean([np.asarray(g[step], np.float64) for step in good], axis=0)
            for g in jax.tree.leaves(history.grads)
            if good
        ]
        norm = math.sqrt(sum(float(np.sum(x**2)) for x in mean))
        found.append(good if good and not judge.refuses(True, norm) else None)
    return found
