"""Whatever goes wrong at a step, training goes on as if that step had not been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import hypothesis
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests import torture
from tests.torture import STEPS, Fault

pytestmark = pytest.mark.default_promotion

NEVER = float("inf")
SEQUENCES = 60
"""For each composition."""


@dataclass(frozen=True)
class Composition:
    """A way to put wrappers together, of which the guard has `spike` as its threshold."""

    name: str
    make: Callable[[float], Any]
    dtype: Any = jnp.float32
    spike: float = 6.0
    wrapper: str = "GuardState"
    judge: dict = field(default_factory=dict)

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


def part_frozen() -> Any:
    groups = {"trained": funcopt.adam(0.05), "frozen": optax.set_to_zero()}
    return optax.partition(groups, FROZEN)


HALF, BRAIN = jnp.float16, jnp.bfloat16
GUARDED = (
    Composition("guard(adamw)", lambda z: funcopt.guard(funcopt.adamw(SCHEDULE), spike=z)),
    Composition("guard(clip, adamw)", lambda z: funcopt.guard(clipped_adamw(), spike=z)),
    Composition(
        "guard(adamw), updates checked",
        lambda z: funcopt.guard(funcopt.adamw(SCHEDULE), spike=z, check_updates=True),
    ),
    Composition(
        "guard, impatient",
        lambda z: funcopt.guard(funcopt.adam(0.05), spike=z, patience=2, decay=0.9),
        judge={"patience": 2, "decay": 0.9},
    ),
    Composition(
        "skip_nonfinite(momentum)",
        lambda _: funcopt.skip_nonfinite(funcopt.sgd(0.02, momentum=0.9, nesterov=True)),
        spike=NEVER,
    ),
    Composition(
        "skip_nonfinite(prodigy)",
        lambda _: funcopt.skip_nonfinite(funcopt.prodigy()),
        spike=NEVER,
    ),
    Composition("guard(lion), bf16", lambda z: funcopt.guard(funcopt.lion(0.02), spike=z), BRAIN),
    Composition("guard(adam), f16", lambda z: funcopt.guard(funcopt.adam(0.05), spike=z), HALF),
    Composition(
        "guard(rmsprop)",
        lambda z: funcopt.guard(funcopt.rmsprop(0.02, centered=True, momentum=0.5), spike=z),
    ),
    Composition(
        "guard(plateau)",
        lambda z: funcopt.guard(funcopt.adam(0.1 * funcopt.on_plateau(0.5, 3)), spike=z),
    ),
    Composition("guard(stable_spam)", lambda z: funcopt.guard(funcopt.stable_spam(0.05), spike=z)),
    Composition(
        "guard(schedule_free)",
        lambda z: funcopt.guard(funcopt.schedule_free_adamw(0.1), spike=z),
    ),
    Composition("guard(part frozen)", lambda z: funcopt.guard(part_frozen(), spike=z)),
    Composition(
        "guard(optax)",
        lambda z: funcopt.guard(
            optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.05)), spike=z
        ),
    ),
    Composition(
        "guard(optax.adafactor)", lambda z: funcopt.guard(optax.adafactor(0.05), spike=z)
    ),
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
    ),
)
"""All of these refuse whole steps."""


def each(compositions: tuple[Composition, ...]) -> Any:
    """Parametrise by composition; what shares a compiled program runs in one process."""
    return pytest.mark.parametrize(
        "it",
        [
            pytest.param(it, id=it.name, marks=pytest.mark.xdist_group(f"torture {it.name}"))
            for it in compositions
        ],
    )


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
    @hypothesis.settings(max_examples=SEQUENCES, database=None)
    @hypothesis.given(torture.faults())
    def no_trace(faults: list[Fault]) -> None:
        seen.add(tuple(faults))
        course = torture.course(faults)
        history = it.train(course)
        as_if_they_had_not_been(it, course, history, it.refused(history))

    no_trace()
    print(f"{len(seen)} different sequences of faults")
    assert len(seen) > 0.8 * SEQUENCES


def test_enough_sequences():
    assert 0.8 * SEQUENCES * len(GUARDED) > 500
