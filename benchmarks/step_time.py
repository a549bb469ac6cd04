"""funcopt against optax, and against PyTorch: step, trace, compile and eager time, program size.

Every number that is compared comes from interleaved pairs (A B, B A, A B, ...) in one process, and
what is reported is the median of the per-pair ratios, so a slow minute of the machine hits both
sides. See README.md beside this file.

    python benchmarks/step_time.py --pairs 9 --torch-python path/to/python-with-torch
"""

import gc
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from answering import Answering
from measure import (
    Optimizer,
    circumstances,
    paired,
    paired_steps,
    scalars_only,
    step_timer,
    summary,
    within,
)
from program import describe, jitted_step
from rich.console import Console
from rich.table import Table
from workloads import WORKLOADS, Shapes, abstract, arrays, elements

HERE = Path(__file__).resolve().parent
EAGER_WORKLOAD = "1000_x_3500"
TORCH_VARIANTS = ("single", "foreach", "fused")
TORCH_ALGORITHMS = ("adam", "adamw")
TARGETS = {"step": 1.00, "clipped_step": 0.60, "trace": 0.25, "eager": 0.20}


def clipped_adamw(library: Any) -> Any:
    schedule = library.warmup_cosine_decay_schedule(0.0, 1e-3, warmup_steps=100, decay_steps=10_000)
    return library.chain(library.clip_by_global_norm(1.0), library.adamw(schedule))


ALGORITHMS: Mapping[str, Callable[[Any], Any]] = {
    "adam": lambda library: library.adam(1e-3),
    "adamw": lambda library: library.adamw(1e-3),
    "clip_adamw_cosine": clipped_adamw,
}


class Side(NamedTuple):
    """One of the two libraries compared: the name it was imported by, and the module."""

    name: str
    library: Any


class Torch(Answering):
    """A PyTorch process that runs steps when asked."""

    def __init__(self, python: Path) -> None:
        super().__init__(python, HERE / "torch_steps.py")
        self.version = self.ask(do="version")["torch"]

    def load(self, shapes: Shapes, algorithm: str, variant: str) -> None:
        self.ask(do="load", shapes=list(shapes.values()), algorithm=algorithm, variant=variant)

    def seconds_per_step(self, steps: int) -> float:
        return self.ask(do="run", steps=steps)["seconds"] / steps


def compare_steps(
    sides: tuple[Side, Side],
    algorithm: str,
    shapes: Shapes,
    torch: Torch | None,
    pairs: int,
    sample_seconds: float,
) -> dict[str, Any]:
    """Paired step times of the two libraries, then of the first against each PyTorch variant."""
    ours, theirs = (Optimizer(ALGORITHMS[algorithm](side.library), side.library) for side in sides)
    measured, steps = paired_steps(
        (ours, theirs), shapes, pairs=pairs, sample_seconds=sample_seconds
    )
    result = {"step": summary(measured), "steps_per_sample": steps}
    if torch is not None and algorithm in TORCH_ALGORITHMS:
        timer = step_timer(ours, shapes, arrays(shapes, seed=1, scale=1e-3))
        for variant in TORCH_VARIANTS:
            torch.load(shapes, algorithm, variant)
            torch.seconds_per_step(2)
            result[f"step_vs_torch_{variant}"] = summary(
                paired(partial(timer, steps), partial(torch.seconds_per_step, steps), pairs)
            )
        torch.load({"nothing": (1,)}, algorithm, "single")
    return result


def compare_builds(
    sides: tuple[Side, Side], algorithm: str, shapes: Shapes, pairs: int, compilations: int
) -> dict[str, Any]:
    """Paired trace, lowering and compile times, jax's caches cleared before each, and sizes."""
    params = abstract(shapes)
    times: dict[str, list[list[float]]] = {
        "trace": [[], []],
        "lower": [[], []],
        "compile": [[], []],
    }
    programs: list[Any] = [None, None]

    def build(i: int, compile_too: bool) -> None:
        library = sides[i].library
        tx = ALGORITHMS[algorithm](library)
        state = jax.eval_shape(tx.init, params)
        step = jitted_step(library, tx)
        jax.clear_caches()
        gc.collect()
        start = time.perf_counter()
        traced = step.trace(params, state, params)
        times["trace"][i].append(time.perf_counter() - start)
        if compile_too:
            start = time.perf_counter()
            lowered = traced.lower()
            middle = time.perf_counter()
            compiled = lowered.compile()
            times["lower"][i].append(middle - start)
            times["compile"][i].append(time.perf_counter() - middle)
            programs[i] = describe(traced, compiled)

    for pair in range(max(pairs, compilations)):
        for i in (0, 1) if pair % 2 == 0 else (1, 0):
            build(i, compile_too=pair < compilations)
    result: dict[str, Any] = {
        name: summary(list(zip(*both, strict=True))) for name, both in times.items()
    }
    for role, program in zip(("subject", "baseline"), programs, strict=True):
        result[f"{role}_program"] = program._asdict() | {
            "equations_per_leaf": program.equations / len(shapes),
            "equations_inlined_per_leaf": program.equations_inlined / len(shapes),
        }
    return result


def compare_eager(
    sides: tuple[Side, Side], algorithm: str, shapes: Shapes, pairs: int
) -> dict[str, Any]:
    """Paired times of one `tx.update` that is not jitted, after two of them."""
    params = arrays(shapes, seed=0, scale=0.02)
    grads = arrays(shapes, seed=1, scale=1e-3)

    def timer(side: Side) -> Callable[[], float]:
        tx = ALGORITHMS[algorithm](side.library)
        state = tx.init(params)

        def seconds() -> float:
            nonlocal state
            start = time.perf_counter()
            updates, state = tx.update(grads, state, params)
            jax.block_until_ready((updates, state))
            return time.perf_counter() - start

        for _ in range(2):
            seconds()
        return seconds

    first, second = map(timer, sides)
    return summary(paired(first, second, pairs))


def table(rows: Sequence[Mapping[str, Any]], subject: str, baseline: str) -> Table:
    """The medians of the paired ratios beside their targets."""
    view = Table(title=f"{subject} / {baseline}: medians of paired ratios (target)")
    for name in (
        "workload",
        "algorithm",
        "step ms",
        "step",
        "trace",
        "compile",
        "eqns/leaf",
        "inlined",
        "fusions",
        "temp MiB",
        "eager update",
        "torch single/foreach/fused",
    ):
        view.add_column(name, justify="left" if name in ("workload", "algorithm") else "right")
    for row in rows:
        sizes = row["subject_program"], row["baseline_program"]

        def both(key: str, form: str, sizes: Any = sizes, divide: float = 1) -> str:
            return " / ".join(format(size[key] / divide, form) for size in sizes)

        clipped = row["algorithm"] == "clip_adamw_cosine"
        trace = row["trace"]["ratio"]
        temporaries = both("temp_bytes", ".1f", divide=2**20)
        if clipped:
            free = scalars_only(sizes[0]["temp_bytes"], row["leaves"])
            temporaries = f"[{'green' if free else 'red'}]{temporaries}[/]"
        step = row["step"]
        view.add_row(
            row["workload"],
            row["algorithm"],
            f"{1e3 * step['subject_s']:.3g} / {1e3 * step['baseline_s']:.3g}",
            within(step["ratio"], TARGETS["clipped_step" if clipped else "step"]),
            within(trace, TARGETS["trace"]) if row["leaves"] >= 1000 else f"{trace:.2f}",
            f"{row['compile']['ratio']:.2f}",
            both("equations_per_leaf", ".1f"),
            both("equations_inlined_per_leaf", ".1f"),
            both("fusions", ".0f"),
            temporaries,
            within(row["eager"]["ratio"], TARGETS["eager"]) if "eager" in row else "",
            " ".join(
                f"{row[key]['ratio']:.2f}"
                for key in (f"step_vs_torch_{variant}" for variant in TORCH_VARIANTS)
                if key in row
            ),
        )
    return view


def torch_process(python: Path | None) -> Torch | None:
    """PyTorch from the given interpreter, else from this one, else not at all."""
    if python is None and importlib.util.find_spec("torch") is None:
        return None
    return Torch(Path(sys.executable) if python is None else python)


def main(
    workloads: tuple[str, ...] = tuple(WORKLOADS),
    algorithms: tuple[str, ...] = tuple(ALGORITHMS),
    pairs: int = 9,
    compilations: int = 3,
    sample_seconds: float = 0.3,
    subject: str = "funcopt",
    baseline: str = "optax",
    torch_python: Path | None = None,
    out: Path = HERE / "results" / "step_time.json",
) -> None:
    """Measure, print a table and write a JSON file.

    Args:
        workloads: which parameter trees, by name.
        algorithms: which optimizers, by name.
        pairs: interleaved pairs for step, trace and eager times.
        compilations: interleaved pairs for lowering and compile times.
        sample_seconds: a sample repeats a short step until it has taken about this long.
        subject: the library measured; `optax` against `optax` shows how fair the harness is.
        baseline: the library it is compared with.
        torch_python: an interpreter that can import torch; this one is tried when not given.
        out: where the JSON goes.
    """
    unknown = (set(workloads) - set(WORKLOADS)) | (set(algorithms) - set(ALGORITHMS))
    if unknown:
        sys.exit(f"unknown: {sorted(unknown)}; there are {[*WORKLOADS]} and {[*ALGORITHMS]}")
    console = Console(width=None if sys.stdout.isatty() else 200)
    sides = (
        Side(subject, importlib.import_module(subject)),
        Side(baseline, importlib.import_module(baseline)),
    )
    torch = torch_process(torch_python)
    report = circumstances(subject, baseline)
    report |= {"subject": subject, "baseline": baseline, "targets": TARGETS, "rows": []}
    if torch is not None:
        report["versions"]["torch"] = torch.version
    compare_builds(sides, "adam", WORKLOADS["mlp"], pairs=1, compilations=1)
    for workload in workloads:
        shapes = WORKLOADS[workload]
        for algorithm in algorithms:
            row: dict[str, Any] = {
                "workload": workload,
                "algorithm": algorithm,
                "leaves": len(shapes),
                "elements": elements(shapes),
            }
            row |= compare_steps(sides, algorithm, shapes, torch, pairs, sample_seconds)
            row |= compare_builds(sides, algorithm, shapes, pairs, compilations)
            if workload == EAGER_WORKLOAD:
                row["eager"] = compare_eager(sides, algorithm, shapes, pairs)
            report["rows"].append(row)
            console.print(f"{workload} {algorithm}: step ratio {row['step']['ratio']:.3f}")
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(report, indent=1) + "\n")
    if torch is not None:
        torch.close()
    console.print(table(report["rows"], subject, baseline))
    console.print(f"wrote {out.name}")


if __name__ == "__main__":
    tyro.cli(main)
