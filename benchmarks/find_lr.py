"""How well the rates of the range test train, against the best of a fine sweep.

    python benchmarks/find_lr.py [--steps 300] [--sweep-seeds 3] [--find-seeds 8]

For the tasks of the lab, SGD with momentum, Adam and Lion, and each convention of the range test:
the final loss of a full training with its suggestion, as the peak of a cosine and divided by
`CONSTANT` as a constant rate, divided by the best final loss over eight rates a decade. The loss is
what the sweep ranks by, the median over seeds of the task's verdict. Takes some minutes and writes
results/find_lr.json, of which `python docs/fill_numbers.py` makes the table.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

import funcopt
from funcopt.lab import find_lr, get_task, sweep
from funcopt.lab.problems.tasks import TASKS
from funcopt.lab.problems.traps import cliff, spike
from funcopt.lab.range_test.range_test import CONSTANT, CONVENTIONS

OUT = Path(__file__).resolve().parent / "results" / "find_lr.json"
GRID = np.geomspace(1e-5, 10, 49).tolist()
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda rate: funcopt.sgd(rate, momentum=0.9),
    "Adam": funcopt.adam,
    "Lion": funcopt.lion,
}
# Ratios of losses say nothing on a wall, nor where they are the rounding of zero.
TRAPS = (cliff, spike)
SCHEDULES = {"cosine": 0.0, "constant": 1.0}  # where the cosine ends, as a share of its peak


def measure(name: str, optimizer: str, options: argparse.Namespace) -> dict:
    """One row: the suggestions, and for each schedule the best rate, its loss and the ratios."""
    task, make = get_task(name), OPTIMIZERS[optimizer]
    found = find_lr(task.loss, task.init, task.sample, make, seeds=options.find_seeds)
    peaks = list(found.by_convention.values())

    def scheduled(learning_rate, alpha):
        return make(funcopt.cosine_decay_schedule(learning_rate, options.steps, alpha))

    own = [*peaks, *(peak / CONSTANT for peak in peaks)]
    over = {"learning_rate": [*GRID, *own], "alpha": list(SCHEDULES.values())}
    trained = sweep(scheduled, over, task=task, seeds=options.sweep_seeds, steps=options.steps)
    loss = {tuple(p): x for p, x in zip(trained.points.tolist(), trained.losses, strict=True)}
    row = {
        "task": name,
        "optimizer": optimizer,
        "suggestions": found.by_convention,
        "reason": found.reason,
        "chance": task.chance,
    }
    for schedule, alpha in SCHEDULES.items():
        best = min(GRID, key=lambda rate: loss[rate, alpha])
        share = 1.0 if schedule == "cosine" else CONSTANT
        row[schedule] = {
            "best_rate": best,
            "best_loss": loss[best, alpha],
            "good": [rate for rate in GRID if loss[rate, alpha] <= 1.5 * loss[best, alpha]],
            "ratios": {
                convention: loss[peak / share, alpha] / loss[best, alpha]
                for convention, peak in found.by_convention.items()
            },
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sweep-seeds", type=int, default=3)
    parser.add_argument("--find-seeds", type=int, default=8)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    rows = []
    for name in [name for name, make in TASKS.items() if make not in TRAPS]:
        for optimizer in OPTIMIZERS:
            rows.append(measure(name, optimizer, options))
            print(name, optimizer, rows[-1]["suggestions"], flush=True)
    versions = {name: importlib.metadata.version(name) for name in ("funcopt", "jax")}
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions | {"python": platform.python_version()},
        "steps": options.steps,
        "sweep_seeds": options.sweep_seeds,
        "find_seeds": options.find_seeds,
        "constant": CONSTANT,
        "conventions": list(CONVENTIONS),
        "rows": rows,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {options.out.name}")


if __name__ == "__main__":
    main()
