"""The record of a rescue: how each treatment did, and what the monitor said of none."""

import csv
import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import funcopt

from ..comparison.verdict import middle, spread
from ..drawing.told import told
from ..drawing.words import digits, finite, plural
from ..problems.task import Task
from .treatments import NONE

SAME_RATE = "none, clip's rate"
POINTS = 100


@told
@dataclass(frozen=True, eq=False)
class Runs:
    """One treatment at the rate that it chose, a row for each seed.

    `final` is the mean loss of the last twentieth of the steps, infinite where one was not finite;
    `step` is infinite where what it counts to did not happen. `losses`, `norms`, `clipped` and
    `skipped` are `[seed, step]`. `rates` are those it chose from, `choosing_losses` the median
    final loss of each.
    """

    name: str
    rate: float
    solved: np.ndarray
    step: np.ndarray
    final: np.ndarray
    accuracy: np.ndarray
    losses: np.ndarray
    norms: np.ndarray
    clipped: np.ndarray
    skipped: np.ndarray
    seconds: float
    rates: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    choosing_losses: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def headline(self) -> str:
        """How it did, in one line."""
        return self.line()

    def choosing(self, rates: np.ndarray, losses: np.ndarray) -> "Runs":
        return dataclasses.replace(self, rates=rates, choosing_losses=losses)

    @property
    def on_edge(self) -> bool:
        """Whether the rate is the first or last of those it chose from."""
        return len(self.rates) > 1 and self.rate in (self.rates[0], self.rates[-1])

    @property
    def score(self) -> str:
        return f"{int(self.solved.sum())} of {len(self.solved)}"

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better: runs solved, then the median final loss."""
        return -float(self.solved.sum()), float(middle(self.final))

    def line(self) -> str:
        loss = float(middle(self.final))
        text = digits(loss, 3) if math.isfinite(loss) else "diverged"
        return f"{self.name}: {self.score} succeed at {self.rate:.2g}, final loss {text}"

    def summary(self) -> dict[str, Any]:
        """Every number but the curves."""
        step = float(middle(self.step))
        return {
            "name": self.name,
            "rate": self.rate,
            "on_edge": self.on_edge,
            "solved": int(self.solved.sum()),
            "runs": len(self.solved),
            "median_step": step,
            "steps": self.step.tolist(),
            "final_loss": dataclasses.asdict(spread(self.final)),
            "final_losses": self.final.tolist(),
            "accuracy": float(np.median(self.accuracy)),
            "accuracies": self.accuracy.astype(float).tolist(),
            "clipped": float(self.clipped.mean()),
            "skipped": float(self.skipped.mean()),
            "largest_loss": float(np.nan_to_num(self.losses, nan=np.inf).max()),
            "rates": self.rates.tolist(),
            "choosing_losses": self.choosing_losses.tolist(),
        }


@told
@dataclass(frozen=True, eq=False)
class Depths:
    """One treatment at several depths."""

    name: str
    depths: tuple[int, ...]
    runs: tuple[Runs, ...]

    def headline(self) -> str:
        """How it did at each depth, in one line."""
        scores = zip(self.depths, self.runs, strict=True)
        told = ", ".join(f"{runs.score} at {depth}" for depth, runs in scores)
        return f"{self.name}: {told} layers"


@told
@dataclass(frozen=True, eq=False)
class Watch:
    """The untreated run of one seed under a monitor.

    `first` has the step of the look at which each verdict was said first, `before` what the first
    backward pass said before training; `lag` is the mean of log g²/v over elements at the looks
    `at`, NaN where there is no second moment.
    """

    rate: float
    seed: int
    before: str
    health: "funcopt.Health"
    first: dict[str, int]
    at: np.ndarray
    lag: np.ndarray

    def headline(self) -> str:
        """What it said, and when, in one line."""
        return f"seed {self.seed} at {self.rate:.2g}: {self.line()}"

    def line(self) -> str:
        """What it said, and when, in one line."""
        if not self.first:
            return self.health.verdict
        return ", ".join(f"{name} (step {step})" for name, step in self.first.items())


@told
@dataclass(frozen=True, eq=False)
class Rescue:
    """A task on which training fails, untreated and treated. `funcopt.lab.rescue` makes one."""

    task: Task
    optimizer: str
    treatments: str
    criterion: str
    step_name: str
    seeds: np.ndarray
    steps: int
    runs: tuple[Runs, ...]
    watched: Watch | None
    paths: dict[str, np.ndarray]
    depths: tuple[Depths, ...]
    interrupted: bool
    seconds: float
    environment: dict[str, Any]
    planned: int = 0

    @property
    def untreated(self) -> tuple[Runs, ...]:
        """At its own best rate, and at the clip's where that is another."""
        return tuple(run for run in self.runs if run.name in (NONE, SAME_RATE))

    @property
    def best(self) -> Runs:
        return min(self.runs, key=lambda run: run.rank)

    @property
    def rescued(self) -> bool:
        """Whether a treatment succeeds on more seeds than none does."""
        return bool(self.runs) and self.best.solved.sum() > self.untreated[0].solved.sum()

    def headline(self) -> str:
        """The answer in one sentence."""
        if not self.runs:
            return "Nothing was finished."
        plain, best = self.untreated[0], self.best
        alone = f"{self.optimizer} alone succeeds on {plain.score} seeds"
        tried = sum(run.name != SAME_RATE for run in self.runs)
        if self.rescued:
            return f"{alone}, with {best.name} on {best.score}"
        if tried < self.planned:
            treatments = plural(self.planned, "treatment")
            return f"{alone}; interrupted after {tried} of {treatments}, so nothing is known yet"
        return f"{alone}; nothing that was tried does better"

    def description(self) -> str:
        """What was done, in one line."""
        return f"{self.task.name}: {plural(len(self.seeds), 'seed')} x {plural(self.steps, 'step')}"

    def notes(self) -> list[str]:
        """What a reader has to know about the table."""
        notes = [f"Success: {self.criterion}.", f"{self.treatments}."]
        if any(len(run.rates) for run in self.runs):
            notes.append("Each treatment chose its rate on other seeds.")
        if any(run.on_edge for run in self.runs):
            notes.append("! The rate is the first or last of those tried.")
        if self.watched is not None:
            watched = self.watched
            notes.append(
                f"Seed {watched.seed}, untreated: before training, diagnose_init says "
                f"{watched.before}; at a rate of {watched.rate:.2g}, the monitor says "
                f"{watched.line()}."
            )
        if self.interrupted:
            notes.append("Interrupted: what is missing was not tried.")
        return notes

    def table(self):
        """One row for each treatment, as a `rich` renderable of at most 80 columns."""
        from .table import rescue

        return rescue(self)

    def plot(self):
        """Loss and gradient norm under every treatment, and the untreated run layer by layer.

        Returns the figure.
        """
        from .picture import draw

        return draw(self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each run."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["treatment", "learning_rate", "seed", "solved", "step", "final_loss",
                             "accuracy", "clipped", "skipped"])  # fmt: skip
            for run in self.runs:
                for i, seed in enumerate(self.seeds.tolist()):
                    numbers = (run.final[i], run.accuracy[i], run.clipped[i].mean(),
                               run.skipped[i].mean())  # fmt: skip
                    step = f"{run.step[i]:.0f}" if np.isfinite(run.step[i]) else ""
                    solved = "yes" if run.solved[i] else "no"
                    writer.writerow([run.name, f"{run.rate:.8g}", seed, solved, step,
                                     *(f"{number:.8g}" for number in numbers)])  # fmt: skip
        return path

    def summary(self) -> dict[str, Any]:
        """Every number but the curves, as plain values for JSON; what is infinite is null."""
        watched = self.watched
        return finite(
            {
                "task": {"name": self.task.name, **self.task.settings},
                "optimizer": self.optimizer,
                "headline": self.headline(),
                "where": self.treatments,
                "criterion": self.criterion,
                "step_name": self.step_name,
                "seeds": self.seeds.tolist(),
                "steps": self.steps,
                "treatments": [run.summary() for run in self.runs],
                "depths": [
                    {"name": each.name, "depth": depth, **run.summary()}
                    for each in self.depths
                    for depth, run in zip(each.depths, each.runs, strict=True)
                ],
                "untreated": None
                if watched is None
                else {
                    "rate": watched.rate,
                    "seed": watched.seed,
                    "before_training": watched.before,
                    "at_the_end": watched.health.verdict,
                    "first_said_at_step": watched.first,
                    "evidence": {v.name: v.evidence for v in watched.health.verdicts},
                },
                "interrupted": self.interrupted,
                "seconds": round(self.seconds, 1),
                **self.environment,
            }
        )

    def curves(self) -> dict[str, Any]:
        """About a hundred points of every run's loss and gradient norm, the largest of each gap."""
        at = np.unique(np.linspace(0, self.steps, min(POINTS, self.steps) + 1).astype(int))
        largest = lambda x: np.maximum.reduceat(x, at[:-1], axis=1).astype(float).tolist()  # noqa: E731
        return finite(
            {
                "step": at[1:].tolist(),
                "runs": {
                    run.name: {"loss": largest(run.losses), "grad_norm": largest(run.norms)}
                    for run in self.runs
                },
            }
        )

    def save(self, directory: str | Path) -> list[Path]:
        """Write the picture, the numbers and the runs; returns the paths, the picture first."""
        from ..drawing import figures

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"health_{self.task.name}"
        picture, numbers = directory / f"{stem}.png", directory / f"{stem}.json"
        figures.write(self.plot(), picture)
        everything = {**self.summary(), "curves": self.curves()}
        numbers.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
        return [picture, numbers, self.to_csv(directory / f"{stem}.csv")]
