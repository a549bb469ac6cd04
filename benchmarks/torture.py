"""What wrappers of funcopt and of optax make of steps that go wrong, for the table in docs/.

    python -m benchmarks.torture

Takes about a minute. `python docs/fill_numbers.py` makes the tables of what it writes. Everyone
trains the same regression with the same `optax.adam`, with the faults of tests/torture.py.
"""

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt
from funcopt.safety.baseline import judge, no_baseline
from tests import torture
from tests.torture import Fault

OUT = Path(__file__).resolve().parent / "results" / "torture.json"
PACKAGES = ("funcopt", "optax", "jax")
STEPS, FROM = 500, 230
RATE = 0.02

FAULTS: dict[str, list[Fault]] = {
    "one gradient is NaN": [Fault(FROM, "nan leaf")],
    "one element is infinite": [Fault(FROM, "inf element")],
    "one loss is infinite": [Fault(FROM, "inf loss")],
    "NaN at the first step": [Fault(0, "nan everywhere")],
    "NaN for 20 steps": [Fault(FROM + i, "nan everywhere") for i in range(20)],
    "gradients of 1e25": [Fault(FROM, "huge")],
    "a spike of 1000 at the second step": [Fault(1, "spike", size=1e3)],
    "a spike of 1000, 10 steps later one of 500": [
        Fault(FROM, "spike", size=1e3),
        Fault(FROM + 10, "spike", size=5e2),
    ],
}
SHIFT = "from there on all gradients are 10 times as large"


class Window(NamedTuple):
    """The last losses and norms of gradients, and how many came."""

    inner: Any
    seen: jax.Array
    last: jax.Array


@dataclass(frozen=True)
class WindowSkip:
    """A step counts unless loss or norm is beyond 6σ of the last 128 of them.

    In public code for training language models this comes in two forms: the decision multiplies
    updates and slots (as in OLMo-core), or selects them (as in MaxText). Both keep what they
    refused in the window. Written from their descriptions; it is not their code.
    """

    inner: Any
    multiplies: bool
    length: int = 128
    sigmas: float = 6.0
    least: int = 64

    def init(self, params: Any) -> Window:
        empty = jnp.zeros((self.length, 2), jnp.float32)
        return Window(self.inner.init(params), jnp.zeros([], jnp.int32), empty)

    def update(
        self, updates: Any, state: Window, params: Any = None, *, value: Any, **_: Any
    ) -> tuple[Any, Window]:
        now = jnp.stack([jnp.asarray(value, jnp.float32), optax.global_norm(updates)])
        there = (jnp.arange(self.length) < state.seen)[:, None]
        n = jnp.maximum(jnp.minimum(state.seen, self.length), 2)
        mean = jnp.sum(jnp.where(there, state.last, 0), 0) / n
        deviation = jnp.sqrt(jnp.sum(jnp.where(there, (state.last - mean) ** 2, 0), 0) / (n - 1))
        distance = now - mean
        if self.multiplies:
            distance = jnp.abs(distance)
        taken = (state.seen < self.least) | jnp.all(distance <= self.sigmas * deviation)
        if not self.multiplies:
            taken &= jnp.isfinite(now).all()

        def choose(new: Any, old: Any) -> Any:
            if not self.multiplies or not jnp.issubdtype(new.dtype, jnp.floating):
                return jnp.where(taken, new, old)
            return taken * new + (1 - taken) * old

        tried, new = self.inner.update(updates, state.inner, params)
        tried = jax.tree.map(lambda u: choose(u, jnp.zeros_like(u)), tried)
        last = state.last.at[state.seen % self.length].set(now)
        return tried, Window(jax.tree.map(choose, new, state.inner), state.seen + 1, last)


def window_skip(multiplies: bool) -> Any:
    body = WindowSkip(optax.adam(RATE), multiplies)
    return optax.GradientTransformationExtraArgs(body.init, body.update)


def multi_steps(inner: Any, **arguments: Any) -> Any:
    return optax.MultiSteps(inner, 2, **arguments).gradient_transformation()


SUBJECTS: dict[str, Callable[[], Any]] = {
    "adam": lambda: optax.adam(RATE),
    "optax.chain(clip_by_global_norm(1.0), adam)": lambda: optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(RATE)
    ),
    "optax.chain(zero_nans(), adam)": lambda: optax.chain(optax.zero_nans(), optax.adam(RATE)),
    "optax.apply_if_finite(adam, 5)": lambda: optax.apply_if_finite(optax.adam(RATE), 5),
    "6σ of a window, multiplied (OLMo-core style)": partial(window_skip, True),
    "6σ of a window, selected (MaxText style)": partial(window_skip, False),
    "funcopt.skip_nonfinite(adam)": lambda: funcopt.skip_nonfinite(optax.adam(RATE)),
    "funcopt.guard(adam)": lambda: funcopt.guard(optax.adam(RATE)),
    "funcopt.rollback(guard(adam))": lambda: funcopt.rollback(funcopt.guard(optax.adam(RATE))),
    "optax.MultiSteps(adam, 2)": lambda: multi_steps(optax.adam(RATE)),
    "optax.MultiSteps(apply_if_finite(adam, 5), 2)": lambda: multi_steps(
        optax.apply_if_finite(optax.adam(RATE), 5)
    ),
    "optax.MultiSteps(adam, 2, skip_not_finite)": lambda: multi_steps(
        optax.adam(RATE), should_skip_update_fn=optax.skip_not_finite
    ),
    "funcopt.accumulate(adam, 2)": lambda: funcopt.accumulate(optax.adam(RATE), 2),
    "funcopt.guard(accumulate(adam, 2))": lambda: funcopt.guard(
        funcopt.accumulate(optax.adam(RATE), 2)
    ),
}


def course(faults: list[Fault], seed: int = 0) -> torture.Course:
    return torture.course(faults, STEPS, seed)


def other(faults: list[Fault], plain: torture.Course) -> torture.Course:
    """The same course, but for what is in the bad steps: other batches, leaves and sizes."""
    changed = course([fault._replace(leaf=2, size=3 * fault.size) for fault in faults])
    bad = [fault.at for fault in faults]
    strange = course([], seed=9)
    for mine, theirs in ((changed.x, strange.x), (changed.y, strange.y)):
        mine[bad] = theirs[bad]
    assert (changed.kind == plain.kind).all()
    return changed


def distance(history: torture.History) -> np.ndarray:
    """How far from the truth the parameters are after each step."""
    p = {name: np.asarray(x, np.float64) for name, x in history.params.items()}
    kernel = p["gain"][:, None, None] * p["kernel"]
    return ((kernel - torture.TEACHER) ** 2).sum((1, 2)) + (p["bias"] ** 2).sum(1)


def updates_made(history: torture.History, steps: int) -> int:
    """How many updates the parameters after `steps` steps are made of.

    Of those that Adam counts, only such that moved parameters to something finite.
    """
    flat = np.concatenate([x.reshape(STEPS + 1, -1) for x in history.params.values()], axis=1)
    flat = flat[: steps + 1]
    moved = (np.diff(flat, axis=0) != 0).any(1) & np.isfinite(flat[1:]).all(1)
    states = jax.tree.leaves(history.state, is_leaf=is_adam)
    (counted,) = (state.count[steps] for state in states if is_adam(state))
    return min(int(counted), int(moved.sum()))


def is_adam(state: Any) -> bool:
    return isinstance(state, optax.ScaleByAdamState)


def without(bad: set[int]) -> tuple[list[int], list[int]]:
    """The steps that remain without the bad ones, and with their neighbours in their place."""
    kept = [step for step in range(STEPS) if step not in bad]
    paired = [step if step not in bad else step ^ 1 for step in range(STEPS)]
    whole = [s for i, s in enumerate(paired) if not {i, i ^ 1} <= bad]
    return kept, whole


def measured(tx: Any, faults: list[Fault]) -> dict:
    plain = course(faults)
    bad = {fault.at for fault in faults}
    history, clean = torture.trained(tx, plain), torture.trained(tx, course([]))
    again = torture.trained(tx, other(faults, plain))
    removed, last = [], torture.bits(torture.at(history.params, -1))
    same = False
    for steps in without(bad):
        removed.append(torture.trained(tx, plain.rows(steps)))
        same |= last == torture.bits(torture.at(removed[-1].params, len(steps)))
    lost = updates_made(removed[0], STEPS - len(bad)) - updates_made(history, STEPS)
    params_finite = torture.is_finite(torture.at(history.params, -1))
    state_finite = torture.is_finite(torture.at(history.state, -1))
    told = torture.bits(history.params) != torture.bits(again.params)

    first = min(bad)
    usual = np.maximum(3 * distance(clean)[-250:].max(), 1.5 * distance(clean))
    far = np.flatnonzero(~(distance(history) <= usual)[first + 1 :])
    away = int(far[-1]) + 1 if far.size else 0
    return {
        "params_finite": params_finite,
        "state_finite": state_finite,
        "let_through": told or not params_finite or not state_finite or (lost <= 0 and not same),
        "good_lost": max(lost, 0),
        "recovered_after": None if away >= STEPS - first else away,
    }


def measured_shift(tx: Any) -> dict:
    """Larger gradients are not bad: all that can go wrong is that steps are lost."""
    history, clean = torture.trained(tx, shifted()), torture.trained(tx, course([]))
    lost = updates_made(clean, STEPS) - updates_made(history, STEPS)
    return {
        "params_finite": torture.is_finite(torture.at(history.params, -1)),
        "state_finite": torture.is_finite(torture.at(history.state, -1)),
        "let_through": False,
        "good_lost": lost,
        "recovered_after": 0,
    }


def shifted() -> torture.Course:
    return course([Fault(at, "spike", size=10.0) for at in range(FROM, STEPS)])


def smallest_spikes() -> dict[str, float]:
    """By how much a norm must exceed a constant one to be a spike, after so many steps."""

    def after(steps: int) -> float:
        baseline = no_baseline()
        step = jax.jit(lambda baseline, x: judge(baseline, x))
        for _ in range(steps):
            baseline = step(baseline, jnp.float32(1.0)).baseline
        sizes = np.exp(np.linspace(0, 7, 7001)).astype(np.float32)
        outlier = jax.vmap(lambda x: judge(baseline, x).outlier)(sizes)
        return float(sizes[np.argmax(outlier)])

    return {str(steps): after(steps) for steps in (1, 10, 30, 100, 300, 1000)}


def main() -> None:
    results: dict[str, dict] = {}
    for name, make in SUBJECTS.items():
        tx = funcopt.chain(make())  # a value, which the harness takes
        rows = {what: measured(tx, faults) for what, faults in FAULTS.items()}
        rows[SHIFT] = measured_shift(tx)
        results[name] = rows
        print(name, flush=True)
        for what, row in rows.items():
            print("   ", what, row, flush=True)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions | {"python": platform.python_version()},
        "steps": STEPS,
        "from": FROM,
        "shift": SHIFT,
        "smallest_spikes": smallest_spikes(),
        "results": results,
    }
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {OUT.name}")


if __name__ == "__main__":
    main()
