"""Compare optimizers over learning rates and seeds, fairly and in one go."""

import platform
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import funcopt

from ..names import look_up
from ..problems.ready import ready
from ..problems.task import Task
from ..training.candidates import SCHEDULES, Given, candidates
from ..training.grid import parse_rates, parse_seeds
from ..training.progress import Event, Watcher
from ..training.train import bench, train_grid
from .comparison import Comparison, ComparisonPlan

LRS = "1e-4:1:17"  # quarter decades
DEMO = (
    "sgd",
    "sgd(momentum=0.9)",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "nadam",
    "lion",
)


def compare(
    optimizers: Given,
    *,
    task: str | Task = "digits",
    lrs: str | Sequence[float] = LRS,
    seeds: int | Sequence[int] = 3,
    steps: int = 300,
    schedule: str | None = None,
    points: int = 50,
    progress: Watcher | None = None,
) -> Comparison:
    """Train every optimizer at every learning rate with every seed, and rank them.

    Each optimizer is one compiled program, vectorised over learning rates x seeds; compiling and
    running are timed apart. Every learning rate of a seed starts from the same parameters and
    sees the same batches. A run has diverged when a loss is not finite, or when it ends twice as
    bad as both guessing and its own start; it counts as infinitely bad.

    - `optimizers`: names and calls (`"adam"`, `"sgd(momentum=0.9)"`), functions
      `learning_rate -> transformation` (`optax.adam`), where the rate may be a schedule, and
      funcopt's transformations, whose rate is replaced as by `funcopt.with_rate`; or a mapping of
      labels to any of these.
    - `task`: a name in `funcopt.lab.TASKS`, or a `Task`, which is checked first.
    - `lrs`: `"low:high:count"` (evenly spaced logarithms), `"0.1,0.2"`, or a sequence; positive.
    - `seeds`: how many, counted from 0, or the seeds themselves.
    - `schedule`: how the rate moves over the steps: `"constant"` (as None), `"linear"`,
      `"cosine"`, `"warmup_cosine"`; `lrs` are then the peaks.
    - `points`: how many points a learning curve has; the numbers of a run do not depend on it.
    - `progress`: called with an `Event` now and then.

    A `KeyboardInterrupt` ends the comparison early; the record holds what was done until then
    and its `interrupted` is true. Raises `ValueError` for names that do not exist, and `TypeError`
    for what is no optimizer, before anything is compiled.

    >>> found = compare(["sgd", "adam"], task="linear_regression", lrs="0.01,0.1", steps=100)
    >>> [verdict.label for verdict in found.verdicts]
    ['adam', 'sgd']
    """
    chosen = plan(optimizers, task=task, lrs=lrs, seeds=seeds, steps=steps, schedule=schedule)
    return execute(chosen, points=points, progress=progress)


def plan(
    optimizers: Given,
    *,
    task: str | Task = "digits",
    lrs: str | Sequence[float] = LRS,
    seeds: int | Sequence[int] = 3,
    steps: int = 300,
    schedule: str | None = None,
) -> ComparisonPlan:
    """Check everything that `compare` is asked to do, without doing it. Arguments as there."""
    if steps < 1:
        raise ValueError(f"steps: {steps} given, expected at least 1.")
    name = schedule or "constant"
    look_up("schedule", name, SCHEDULES)
    return ComparisonPlan(
        task=ready(task),
        candidates=tuple(candidates(optimizers)),
        rates=parse_rates(lrs),
        seeds=parse_seeds(seeds),
        steps=steps,
        schedule=name,
    )


def execute(
    plan: ComparisonPlan, *, points: int = 50, progress: Watcher | None = None
) -> Comparison:
    """Do what `plan` says. Arguments and interrupts as in `compare`."""
    began = time.perf_counter()
    sweeps, setup, total = [], 0.0, len(plan.candidates)
    try:
        shared = bench(plan.task, plan.rates, plan.seeds, plan.steps)
        setup = time.perf_counter() - began
        for index, candidate in enumerate(plan.candidates):

            def report(step, done=None, index=index, label=candidate.label):
                if progress is not None:
                    event = Event(label, index, total, step, plan.steps, done, plan.task.target)
                    progress(event)

            report(None)
            shape = SCHEDULES[plan.schedule]
            done, complete = train_grid(candidate, shared, shape, points=points, report=report)
            sweeps.append(done)
            if not complete:
                break
            report(plan.steps, done)
    except KeyboardInterrupt:
        pass  # what was done is in `sweeps`, and the record says that some are missing
    return Comparison(
        plan=plan,
        sweeps=tuple(sweeps),
        setup_seconds=setup,
        wall_seconds=time.perf_counter() - began,
        environment=environment(),
    )


def demo(
    *,
    seeds: int | Sequence[int] = 3,
    steps: int | None = None,
    quick: bool = False,
    points: int = 50,
    progress: Watcher | None = None,
) -> Comparison:
    """Eight well-known optimizers x 17 learning rates x 3 seeds on handwritten digits.

    `quick` tries half as many rates for a third of the steps. Everything else as in `compare`.
    """
    chosen = demo_plan(seeds=seeds, steps=steps, quick=quick)
    return execute(chosen, points=points, progress=progress)


def demo_plan(
    *, seeds: int | Sequence[int] = 3, steps: int | None = None, quick: bool = False
) -> ComparisonPlan:
    """What `demo` does."""
    length = (100 if quick else 300) if steps is None else steps
    return plan(DEMO, lrs="1e-4:1:9" if quick else LRS, seeds=seeds, steps=length)


def environment() -> dict[str, Any]:
    """The versions and the device that the numbers belong to."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else platform.machine(),
        "platform": device.platform,
        "versions": {
            "funcopt": getattr(funcopt, "__version__", "unknown"),
            "jax": jax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
