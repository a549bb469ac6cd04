"""How the benchmarks measure: interleaved pairs of steps on donated buffers, and circumstances."""

import datetime
import gc
import importlib.metadata
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from program import jitted_loop, jitted_step
from workloads import Shapes, arrays

Clock = Callable[[], float]
Timer = Callable[[int], float]
"""Runs so many steps and returns seconds per step."""


class Optimizer(NamedTuple):
    """A transformation, and the module whose `apply_updates` writes the parameters."""

    tx: Any
    library: Any


def step_timer(
    optimizer: Optimizer,
    shapes: Shapes,
    grads: Mapping[str, jax.Array],
    looped: bool = False,
    clock: Clock = time.perf_counter,
) -> Timer:
    """Runs some jitted steps, or one jitted loop of steps; already compiled and warm."""
    step = jitted_step(optimizer.library, optimizer.tx)
    loop = jitted_loop(optimizer.library, optimizer.tx)
    params = arrays(shapes, seed=0, scale=0.02)
    carry = params, optimizer.tx.init(params)

    def seconds_per_step(steps: int) -> float:
        nonlocal carry
        start = clock()
        if looped:
            carry = loop(*carry, grads, steps)
        else:
            for _ in range(steps):
                carry = step(*carry, grads)
        jax.block_until_ready(carry)
        return (clock() - start) / steps

    seconds_per_step(1)
    seconds_per_step(2)
    return seconds_per_step


def paired(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> list[tuple[float, float]]:
    """`pairs` measurements of both, one after the other, the order alternating."""
    measured = []
    for pair in range(pairs):
        gc.collect()
        if pair % 2 == 0:
            a = first()
            b = second()
        else:
            b = second()
            a = first()
        measured.append((a, b))
    return measured


def paired_steps(
    sides: tuple[Optimizer, Optimizer],
    shapes: Shapes,
    *,
    pairs: int,
    sample_seconds: float,
    multiple: int = 1,
    looped: bool = False,
    clock: Clock = time.perf_counter,
) -> tuple[list[tuple[float, float]], int]:
    """Step times of both sides in pairs, and how many steps there were in a sample.

    The pairs are taken in three groups with fresh buffers for each, built in alternating order,
    because where an allocation lands in memory favours one side for as long as it lives. The
    number of steps is a multiple of `multiple`, for optimizers that do something every so often.
    With `time.process_time` as its clock, what counts is the work of all cores.
    """
    grads = arrays(shapes, seed=1, scale=1e-3)
    groups = min(3, pairs)
    measured, steps = [], multiple
    for group in range(groups):
        order = (0, 1) if group % 2 == 0 else (1, 0)
        timers = {i: step_timer(sides[i], shapes, grads, looped, clock) for i in order}
        if group == 0:
            steps = multiple * max(1, math.ceil(sample_seconds / timers[1](multiple) / multiple))
        share = pairs // groups + (group < pairs % groups)
        runs = [partial(timers[i], steps) for i in (0, 1)]
        if group % 2 == 0:
            measured += paired(runs[0], runs[1], share)
        else:
            measured += [(a, b) for b, a in paired(runs[1], runs[0], share)]
        del timers, runs
        gc.collect()
    return measured, steps


def summary(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Median times of both sides and the median and extremes of the paired ratios."""
    ratios = [a / b for a, b in pairs]
    return {
        "subject_s": statistics.median(a for a, _ in pairs),
        "baseline_s": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "pairs": len(pairs),
    }


def scalars_only(temp_bytes: int, leaves: int) -> bool:
    """Whether the temporaries are no more than a few scalars a leaf."""
    return temp_bytes <= 4096 + 64 * leaves


def within(ratio: float, target: float) -> str:
    """The ratio with its target, coloured by whether it is met."""
    return f"[{'green' if ratio <= target else 'red'}]{ratio:.2f}[/] (≤{target:.2f})"


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def circumstances(*libraries: str) -> dict[str, Any]:
    """When, on what and with which versions; nothing that names the machine."""
    packages = {"jax", "jaxlib", "numpy", *libraries}
    versions = {name: importlib.metadata.version(name) for name in sorted(packages)}
    versions["python"] = platform.python_version()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions,
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "backend": jax.default_backend(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }
