"""Compare optimizers over learning rates and seeds, fairly and in one go."""

import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import funcopt
from funcopt.lab.candidates import SCHEDULES, candidates
from funcopt.lab.comparison import Comparison
from funcopt.lab.names import look_up
from funcopt.lab.sweep import bench, sweep
from funcopt.lab.tasks import Task, get_task
from funcopt.lab.watch import Event, Watcher

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
    optimizers: Iterable[str] | Mapping[str, Callable[[Any], Any]],
    *,
    task: str | Task = "digits",
    lrs: str | Sequence[float] = "1e-4:1:17",
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

    - `optimizers`: names and calls (`"adam"`, `"sgd(momentum=0.9)"`), or a mapping of labels to
      functions `learning_rate -> transformation`, where the rate may be a schedule.
    - `task`: a name in `funcopt.lab.TASKS`, or a `Task`.
    - `lrs`: `"low:high:count"` (evenly spaced logarithms), `"0.1,0.2"`, or a sequence; positive.
    - `seeds`: how many, counted from 0, or the seeds themselves.
    - `schedule`: how the rate moves over the steps: `"constant"` (as None), `"linear"`,
      `"cosine"`, `"warmup_cosine"`; `lrs` are then the peaks.
    - `points`: how many points a learning curve has; the numbers of a run do not depend on it.
    - `progress`: called with an `Event` now and then.

    A `KeyboardInterrupt` ends the comparison early; the record holds what was done until then
    and its `interrupted` is true. Raises `ValueError` for names that do not exist.

    >>> found = compare(["sgd", "adam"], task="linear_regression", lrs="0.01:1:5", steps=100)
    >>> [verdict.label for verdict in found.verdicts]
    ['sgd', 'adam']
    """
    began = time.perf_counter()
    task = get_task(task) if isinstance(task, str) else task
    rates, numbers = parse_rates(lrs), parse_seeds(seeds)
    shape_name = schedule or "constant"
    shape = look_up("schedule", shape_name, SCHEDULES)
    if steps < 1:
        raise ValueError(f"steps: {steps} given, expected at least 1.")
    chosen = candidates(optimizers)
    sweeps, setup = [], 0.0
    try:
        shared = bench(task, rates, numbers, steps)
        setup = time.perf_counter() - began
        for index, candidate in enumerate(chosen):

            def report(step, done=None, index=index, label=candidate.label):
                if progress is not None:
                    event = Event(label, index, len(chosen), step, steps, done, task.target)
                    progress(event)

            report(None)
            done, complete = sweep(candidate, shared, shape, points=points, report=report)
            sweeps.append(done)
            if not complete:
                break
            report(steps, done)
    except KeyboardInterrupt:
        pass
    return Comparison(
        task=task,
        rates=rates,
        seeds=numbers,
        steps=steps,
        schedule=shape_name,
        planned=tuple(candidate.label for candidate in chosen),
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
    progress: Watcher | None = None,
) -> Comparison:
    """Eight well-known optimizers x 17 learning rates x 3 seeds on handwritten digits.

    `quick` tries half as many rates for a third of the steps.
    """
    return compare(
        DEMO,
        lrs="1e-4:1:9" if quick else "1e-4:1:17",
        seeds=seeds,
        steps=steps or (100 if quick else 300),
        progress=progress,
    )


def parse_rates(given: str | Sequence[float]) -> np.ndarray:
    """Learning rates from `low:high:count`, from a list with commas, or from numbers; ascending.

    >>> parse_rates("1e-2:1:3").tolist()
    [0.01, 0.1, 1.0]
    """
    expected = "expected low:high:count such as 1e-4:1:12, or a list such as 0.01,0.1"
    try:
        if isinstance(given, str) and ":" in given:
            low, high, count = given.split(":")
            rates = np.geomspace(float(low), float(high), int(count))
        else:
            words = given.split(",") if isinstance(given, str) else given
            rates = np.asarray([float(word) for word in words])
    except ValueError as error:
        raise ValueError(f"lrs: cannot read {given!r} ({error}); {expected}.") from None
    if not rates.size or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"lrs: {given!r} has no or not only positive finite rates; {expected}.")
    return np.unique(rates)


def parse_seeds(given: int | Sequence[int]) -> np.ndarray:
    """Seeds from their number, or themselves.

    >>> parse_seeds(3).tolist()
    [0, 1, 2]
    """
    seeds = np.arange(given) if isinstance(given, int) else np.asarray(list(given))
    if not seeds.size or seeds.dtype.kind not in "iu" or seeds.min() < 0:
        raise ValueError(f"seeds: {given!r} given, expected a positive count or whole numbers.")
    return seeds


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
