"""What a user waits for before the first step: trace, lower and compile, against optax's chain.

Each step is AdamW behind a clip by the global norm, under a warm-up and a cosine, and what is
asked to be around it:

- **plain**: `adamw` at a constant rate, against optax's;
- **clipped**: `chain(clip_by_global_norm, adamw(schedule))`, against optax's;
- **guarded**: that inside `guard`, against optax's clipped chain;
- **monitored**: that inside `monitor(..., every=10)`, against optax's clipped chain;
- **accumulated**: `accumulate(chain(...), 8)`, against `optax.MultiSteps`.

    python benchmarks/compile_time.py --pairs 5

Nothing is found in a cache, neither JAX's traces nor compiled programs. See README.md beside this
file for how it is measured. Writes results/compile_time.json.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import tyro
from guarded_step import clipped, guarded, multi_steps
from measure import Optimizer, circumstances, paired, summary, within
from program import describe, jitted_step
from rich.console import Console
from rich.table import Table
from workloads import WORKLOADS as STEPS
from workloads import Shapes, abstract, stacked_blocks

import funcopt

OUT = Path(__file__).resolve().parent / "results" / "compile_time.json"
WORKLOADS: Mapping[str, Shapes] = {
    "gpt2_small": STEPS["gpt2_small"],
    "1000_x_3500": STEPS["1000_x_3500"],
    "24_layers_in_12_leaves": stacked_blocks(24),
}


class Comparison(NamedTuple):
    subject: Callable[[], Any]
    baseline: Callable[[], Any]
    target: float | None


COMPARISONS: Mapping[str, Comparison] = {
    "plain": Comparison(lambda: funcopt.adamw(1e-3), lambda: optax.adamw(1e-3), 0.9),
    "clipped": Comparison(lambda: clipped(funcopt), lambda: clipped(optax), 1.0),
    "guarded": Comparison(guarded, lambda: clipped(optax), 1.3),
    "monitored": Comparison(
        lambda: funcopt.monitor(guarded(), every=10), lambda: clipped(optax), 2.0
    ),
    "accumulated": Comparison(lambda: funcopt.accumulate(clipped(funcopt), 8), multi_steps, None),
}
STAGES = ("trace", "lower", "compile")
Clock = Callable[[], float]


def waited(side: Optimizer, shapes: Shapes, clock: Clock) -> tuple[dict[str, float], Any]:
    """Seconds after each stage of a fresh step, and the size of what it came to."""
    params = abstract(shapes)
    state = jax.eval_shape(side.tx.init, params)
    jax.clear_caches()
    start = clock()
    traced = jitted_step(side.library, side.tx).trace(params, state, params)
    at = [clock() - start]
    lowered = traced.lower()
    at.append(clock() - start)
    compiled = lowered.compile()
    at.append(clock() - start)
    return dict(zip(STAGES, at, strict=True)), describe(traced, compiled)


def compared(comparison: Comparison, shapes: Shapes, pairs: int, clock: Clock) -> dict[str, Any]:
    """Both sides until the end of each stage, with their ratios, and the programs they came to."""
    sides = Optimizer(comparison.subject(), funcopt), Optimizer(comparison.baseline(), optax)
    runs: list[list[dict[str, float]]] = [[], []]
    programs: list[Any] = [None, None]

    def one(side: int) -> float:
        seconds, programs[side] = waited(sides[side], shapes, clock)
        runs[side].append(seconds)
        return seconds[STAGES[-1]]

    paired(lambda: one(0), lambda: one(1), pairs)
    row: dict[str, Any] = {"target": comparison.target}
    for stage in STAGES:
        row[stage] = summary([(a[stage], b[stage]) for a, b in zip(*runs, strict=True)])
    names = ("subject_program", "baseline_program")
    return row | {name: x._asdict() for name, x in zip(names, programs, strict=True)}


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    view = Table(title="medians of paired ratios (target)")
    for name in ("workload", "comparison", "s", *STAGES, "equations"):
        view.add_column(name, justify="left" if name in ("workload", "comparison") else "right")
    for row in rows:
        *before, last = (row[stage] for stage in STAGES)
        target = row["target"]
        sizes = (row[f"{side}_program"]["equations_inlined"] for side in ("subject", "baseline"))
        view.add_row(
            row["workload"],
            row["comparison"],
            f"{last['subject_s']:.2f} / {last['baseline_s']:.2f}",
            *(f"{each['ratio']:.2f}" for each in before),
            f"{last['ratio']:.2f}" if target is None else within(last["ratio"], target),
            " / ".join(map(str, sizes)),
        )
    return view


def main(
    workloads: Sequence[str] = tuple(WORKLOADS),
    comparisons: Sequence[str] = tuple(COMPARISONS),
    pairs: int = 5,
    cpu_time: bool = False,
    out: Path = OUT,
) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        workloads: which parameter trees, by name.
        comparisons: which comparisons, by name.
        pairs: interleaved pairs.
        cpu_time: count the seconds of the process on its processors, not those on the clock.
        out: where the JSON goes.
    """
    unknown = (set(workloads) - set(WORKLOADS)) | (set(comparisons) - set(COMPARISONS))
    if unknown:
        sys.exit(f"unknown: {sorted(unknown)}; there are {[*WORKLOADS]} and {[*COMPARISONS]}")
    jax.config.update("jax_enable_compilation_cache", False)
    report: dict[str, Any] = circumstances("funcopt", "optax")
    clock = time.process_time if cpu_time else time.perf_counter
    report |= {"cpu_time": cpu_time, "rows": []}
    for workload in workloads:
        for name in comparisons:
            row = compared(COMPARISONS[name], WORKLOADS[workload], pairs, clock)
            report["rows"].append({"workload": workload, "comparison": name, **row})
            out.write_text(json.dumps(report, indent=2) + "\n")
    Console(width=None if sys.stdout.isatty() else 120).print(table(report["rows"]))


if __name__ == "__main__":
    tyro.cli(main)
