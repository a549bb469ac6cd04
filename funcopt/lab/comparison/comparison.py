"""The record of a comparison: what was asked, what every optimizer did, and who won."""

import csv
import dataclasses
import functools
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing.told import told
from ..drawing.words import digits, finite, plural
from ..problems.tasks import TASKS, Task
from ..training.candidates import Candidate
from ..training.train import Sweep
from .verdict import Verdict, best_index, cap, judge, steps_to, valley

COLUMNS = [
    "optimizer",
    "learning_rate",
    "seed",
    "steps",
    "train_loss",
    "final_loss",
    "accuracy",
    "diverged",
    "steps_to_target",
]


@told
@dataclass(frozen=True, eq=False)
class ComparisonPlan:
    """What a comparison is asked to do, checked: see `funcopt.lab.compare`."""

    task: Task
    candidates: tuple[Candidate, ...]
    rates: np.ndarray
    seeds: np.ndarray
    steps: int
    schedule: str

    def headline(self) -> str:
        """The plan in one line."""
        return self.description()

    @property
    def labels(self) -> list[str]:
        return [candidate.label for candidate in self.candidates]

    def description(self) -> str:
        """The plan in one line."""
        low, high = self.rates[0], self.rates[-1]
        parts = [
            plural(len(self.candidates), "optimizer"),
            plural(len(self.rates), "learning rate") + f" ({low:.2g} to {high:.2g})",
            plural(len(self.seeds), "seed"),
            plural(self.steps, "step"),
        ]
        shape = "" if self.schedule == "constant" else f", {self.schedule} schedule"
        return f"{self.task.name}: {' x '.join(parts)}{shape}"

    def command(self) -> str:
        """The command that does it again; for what only Python can give, the call in Python."""
        if self.task.name not in TASKS or not all(candidate.named for candidate in self.candidates):
            names = ", ".join(map(repr, self.labels))
            return (
                f"funcopt.lab.compare({{{names}: ...}}, task={self.task.name!r}, "
                f"lrs={written_rates(self.rates)!r}, seeds={self.seeds.tolist()}, "
                f"steps={self.steps}, schedule={self.schedule!r})"
            )
        words = ["funcopt", "compare", *self.labels, "--task", self.task.name]
        words += ["--lrs", written_rates(self.rates), "--seeds", str(len(self.seeds))]
        words += ["--seed", str(self.seeds[0])] if self.seeds[0] else []
        words += ["--steps", str(self.steps)]
        words += ["--schedule", self.schedule] if self.schedule != "constant" else []
        return shlex.join(words)


@told
@dataclass(frozen=True, eq=False)
class Comparison:
    """Optimizers x learning rates x seeds on one task, and what came of it.

    `sweeps` holds the optimizers that ran, in the plan's order; when the comparison was
    interrupted some are missing and the last one may have fewer steps.
    """

    plan: ComparisonPlan
    sweeps: tuple[Sweep, ...]
    setup_seconds: float
    wall_seconds: float
    environment: dict[str, Any]

    @property
    def task(self) -> Task:
        return self.plan.task

    @property
    def interrupted(self) -> bool:
        return len(self.sweeps) < len(self.plan.labels) or any(map(self.partial, self.sweeps))

    def partial(self, sweep: Sweep | Verdict) -> bool:
        return sweep.steps < self.plan.steps

    @functools.cached_property
    def verdicts(self) -> list[Verdict]:
        """One verdict for each sweep, the smallest loss first, interrupted ones last."""
        verdicts = [judge(sweep, self.task.target, self.task.chance) for sweep in self.sweeps]
        return sorted(verdicts, key=lambda v: (self.partial(v), v.loss.median, v.label))

    def sweep(self, label: str) -> Sweep:
        return next(sweep for sweep in self.sweeps if sweep.label == label)

    def rivals(self) -> list[Verdict]:
        """Who cannot be told from the winner: their median is within the winner's range."""
        first, *others = self.verdicts
        return [v for v in others if v.steps == first.steps and v.loss.median <= first.loss.high]

    @functools.cached_property
    def cap(self) -> float:
        """The loss above which losses are drawn as if they were there."""
        found = [valley(sweep) for sweep in self.sweeps]
        return cap(self.task.chance, np.concatenate([np.zeros(0), *found]))

    @property
    def has_accuracy(self) -> bool:
        return any(np.isfinite(sweep.accuracy).any() for sweep in self.sweeps)

    def headline(self) -> str:
        """The answer in one sentence."""
        if not self.sweeps:
            return "Nothing was finished."
        first = self.verdicts[0]
        if first.best_rate is None:
            return "Every run diverged: try smaller learning rates."
        rivals = len(self.rivals())
        verb = "leads" if rivals else "wins" if len(self.verdicts) > 1 else "is best"
        text = f"{first.label} {verb} at {first.best_rate:.2g}: "
        text += f"{self.task.scored} {digits(first.loss.median, 3)}"
        if math.isfinite(first.accuracy.median):
            text += f", accuracy {first.accuracy.median:.1%}"
        if rivals:
            others = "1 other is" if rivals == 1 else f"{rivals} others are"
            text += f"; {others} within its spread over seeds"
        return text

    def table(self):
        """The ranking, for `rich.print`: narrower tables below each other on a narrow screen."""
        from .table import ranking

        return ranking(self)

    def plot(self, ax=None):
        """Loss against learning rate for every optimizer, drawn on `ax`; returns the axes.

        Without `ax` a figure is made, which `plot().figure` gives.
        """
        from ..drawing.figures import on
        from .plot import valleys

        return on(ax, valleys, self)

    def plot_curves(self, ax=None):
        """The learning curve of each optimizer at its best rate; returns the axes."""
        from ..drawing.figures import on
        from .plot import curves

        return on(ax, curves, self)

    def plot_forgiveness(self, ax=None):
        """How many decades of learning rate are good enough; returns the axes."""
        from ..drawing.figures import on
        from .plot import forgiveness

        return on(ax, forgiveness, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each run; the same seeds give the same bytes on one platform."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for sweep in self.sweeps:
                writer.writerows(self._rows(sweep))
        return path

    def _rows(self, sweep: Sweep):
        for r, rate in enumerate(sweep.rates.tolist()):
            for s, seed in enumerate(sweep.seeds.tolist()):
                curve = sweep.curves[s, r]
                reached = steps_to(self.task.target, sweep.at, curve[None])
                yield [
                    sweep.label,
                    f"{rate:.8g}",
                    seed,
                    sweep.steps,
                    f"{curve[-1]:.8g}",
                    f"{sweep.loss[s, r]:.8g}",
                    f"{sweep.accuracy[s, r]:.8g}",
                    "yes" if sweep.diverged[s, r] else "no",
                    "" if reached is None else f"{reached:g}",
                ]

    def config(self) -> dict[str, Any]:
        """What it takes to repeat this comparison, and how long it took."""
        return {
            "task": {"name": self.task.name, **self.task.settings},
            "optimizers": self.plan.labels,
            "learning_rates": [float(f"{rate:.8g}") for rate in self.plan.rates],
            "seeds": self.plan.seeds.tolist(),
            "steps": self.plan.steps,
            "schedule": self.plan.schedule,
            "interrupted": self.interrupted,
            "setup_seconds": round(self.setup_seconds, 3),
            "wall_seconds": round(self.wall_seconds, 3),
            **self.environment,
        }

    def summary(self) -> dict[str, Any]:
        """The verdicts as plain values for JSON; what is infinite or missing is null."""
        return finite(
            {
                "headline": self.headline(),
                "scored": self.task.scored,
                "ranking": [dataclasses.asdict(verdict) for verdict in self.verdicts],
                "config": self.config(),
            }
        )

    def best_curve(self, sweep: Sweep) -> np.ndarray | None:
        """The training loss at the best rate as `[seed, point]`."""
        best = best_index(sweep)
        return None if best is None else sweep.curves[:, best]

    def save(self, directory: str | Path) -> list[Path]:
        """Write the results, the configuration, the pictures and the report; returns the paths."""
        from ..drawing import figures
        from . import plot, report

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.json"
        config.write_text(json.dumps(self.config(), indent=2) + "\n", encoding="utf-8")
        answer = directory / "summary.json"
        answer.write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
        pictures = plot.draw_all(self)
        written = [self.to_csv(directory / "results.csv"), config, answer]
        for name, figure in pictures.items():
            for suffix in ("png", "svg"):
                written.append(directory / f"{name}.{suffix}")
                figures.write(figure, written[-1], self.headline())
        page = directory / "report.html"
        drawings = {name: (directory / f"{name}.svg").read_text("utf-8") for name in pictures}
        narrow = {name: figures.text(f) for name, f in plot.draw_all(self, figures.NARROW).items()}
        page.write_text(report.page(self, drawings, narrow), encoding="utf-8")
        return [page, *written]


def written_rates(rates: np.ndarray) -> str:
    """Learning rates as people write them: a range where they are one, else a list.

    >>> written_rates(np.geomspace(1e-4, 1, 17)), written_rates(np.array([0.1, 0.3]))
    ('0.0001:1:17', '0.1,0.3')
    """
    low, high, count = float(rates[0]), float(rates[-1]), len(rates)
    if count > 2 and np.allclose(rates, np.geomspace(low, high, count), rtol=1e-6, atol=0):
        return f"{low:.8g}:{high:.8g}:{count}"
    return ",".join(f"{rate:.8g}" for rate in rates)
