"""Search for the best hyperparameters by full, short trainings, all of them in one program."""

import csv
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optax

import funcopt

from ..comparison.verdict import cap, middle
from ..drawing.told import told
from ..drawing.words import plural
from ..names import look_up, unknown
from ..problems.ready import ready
from ..problems.task import Task
from ..training.candidates import (
    EXPECTED,
    SCHEDULES,
    Candidate,
    constant,
    factory,
    optimizers,
    split_call,
)
from ..training.candidates import name as name_of
from ..training.grid import parse_seeds
from ..training.progress import Event, Watcher
from ..training.train import Sweep, bench, prepare, train

Values = str | Sequence[float]
POINTS = 50  # how often progress is told


@told
@dataclass(frozen=True, eq=False)
class Axis:
    """One hyperparameter: the values of a grid, or both ends of the range to draw from."""

    name: str
    values: np.ndarray
    drawn: bool = False

    def headline(self) -> str:
        """The values in one line."""
        low, high = self.values[0], self.values[-1]
        return f"{self.name}: {plural(len(self.values), 'value')} from {low:.3g} to {high:.3g}"

    def beyond(self, end: str) -> "Axis | None":
        """As many values again, or as wide a range, beyond this end; None where zero is in the way.

        >>> Axis("learning_rate", np.array([0.1, 1.0])).beyond("highest").values.tolist()
        [10.0, 100.0]
        """
        values = self.values
        if len(values) < 2 or values[0] <= 0:
            return None
        gaps = len(values) - 1
        away = (values[-1] / values[0]) ** (1.0 if self.drawn else (gaps + 1) / gaps)
        return replace(self, values=values * away if end == "highest" else values / away)

    def draw(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Numbers between both ends whose logarithms are uniform."""
        low, high = np.log(self.values)
        return np.exp(generator.uniform(low, high, count))


@told
@dataclass(frozen=True, eq=False)
class Swept:
    """The result of a grid search or random search: one optimizer at every point.

    `points[point, name]` are the settings, `loss[seed, point]`, `accuracy` and `diverged` the
    task's verdict after `steps` updates. `rounds` counts the grids: one, and one for each time it
    was widened. `kept` says of each hyperparameter that was not widened why.
    """

    label: str
    names: tuple[str, ...]
    points: np.ndarray
    seeds: np.ndarray
    steps: int
    loss: np.ndarray
    accuracy: np.ndarray
    diverged: np.ndarray
    random: bool
    rounds: int
    kept: dict[str, str]
    scored: str
    chance: float | None
    compile_seconds: float
    run_seconds: float

    @cached_property
    def losses(self) -> np.ndarray:
        """The final loss at each point: the median over seeds, infinite where it diverged."""
        return middle(np.where(self.diverged, np.inf, self.loss.astype(np.float64)))

    @cached_property
    def order(self) -> np.ndarray:
        """The points from best to worst."""
        return np.argsort(self.losses, kind="stable")

    @property
    def best(self) -> dict[str, float] | None:
        """The settings with the smallest loss; None when every run diverged."""
        if not np.isfinite(self.losses).any():
            return None
        return dict(zip(self.names, self.points[self.order[0]].tolist(), strict=True))

    @property
    def cap(self) -> float:
        """The loss above which losses are drawn as if they were there."""
        return cap(self.chance, self.losses)

    @property
    def best_loss(self) -> float:
        return float(self.losses[self.order[0]])

    @property
    def edges(self) -> dict[str, str]:
        """The hyperparameters whose best value is the `lowest` or the `highest` one tried.

        In a random search, where it lies in the outer tenth of the range, by its logarithm. A
        better value may lie outside.
        """
        if self.best is None:
            return {}
        found = {}
        for name, column in zip(self.names, self.points.T, strict=True):
            low, high, best = column.min(), column.max(), self.best[name]
            if low == high:
                continue
            room = (high / low) ** 0.1 if self.random else 1.0
            if best <= low * room:
                found[name] = "lowest"
            elif best >= high / room:
                found[name] = "highest"
        return found

    def headline(self) -> str:
        """The answer in one sentence."""
        if self.best is None:
            return f"{self.label}: every run diverged; try smaller learning rates."
        settings = ", ".join(f"{name}={value:.2g}" for name, value in self.best.items())
        text = f"{self.label} is best at {settings}: {self.scored} {self.best_loss:.3g}"
        if self.edges:
            where = " and ".join(f"the {end} {name}" for name, end in self.edges.items())
            text += f"; {where} tried, so a better value may lie outside"
        return text

    def table(self):
        """The best settings as a `rich.table.Table`."""
        from .table import swept

        return swept(self)

    def plot(self, ax=None):
        """Loss against the first hyperparameter, or in colours against the first two."""
        from ..drawing.figures import on
        from .plot import swept

        return on(ax, swept, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each run."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*self.names, "seed", "final_loss", "accuracy", "diverged"])
            for p, point in enumerate(self.points.tolist()):
                for s, seed in enumerate(self.seeds.tolist()):
                    verdict = f"{self.loss[s, p]:.8g}", f"{self.accuracy[s, p]:.8g}"
                    lost = "yes" if self.diverged[s, p] else "no"
                    writer.writerow([*(f"{x:.8g}" for x in point), seed, *verdict, lost])
        return path


def sweep(
    optimizer: str | Callable[..., Any] | optax.GradientTransformation,
    over: Mapping[str, Values] | Values = "1e-4:1:17",
    *,
    task: str | Task = "digits",
    seeds: int | Sequence[int] = 1,
    steps: int = 300,
    schedule: str | None = None,
    samples: int | None = None,
    draw: int = 0,
    widen: int = 0,
    progress: Watcher | None = None,
) -> Swept:
    """Train one optimizer at many settings at once, each to the end, and find the best.

    All settings and seeds are one compiled program, also where it is widened. Every setting of a
    seed starts from the same parameters and sees the same batches.

    - `optimizer`: a name or a call (`"adamw"`, `"sgd(momentum=0.9)"`), a transformation of
      funcopt, or a function of what is swept, by keywords, that returns a transformation.
    - `over`: what is swept, `{"learning_rate": "1e-4:1:17", "weight_decay": [1e-4, 1e-2]}`: every
      combination of `low:high:count` (evenly spaced logarithms), comma lists or sequences.
      Without names it is the learning rate.
    - `samples`: draw this many settings at random instead, each from its `"low:high"` (or a pair),
      uniformly in the logarithm, by the seed `draw`.
    - `task`, `seeds`, `steps`, `schedule`: as in `compare`.
    - `widen`: how often the grid may go on beyond its edge where the best value lies on it.
    - `progress`: called with an `Event` now and then; each grid counts as one of several.

    Raises `ValueError` for names and settings that do not exist.

    >>> found = sweep("sgd", {"learning_rate": "1e-2:1:3"}, task="linear_regression", steps=50)
    >>> sorted(found.best), found.points.shape
    (['learning_rate'], (3, 1))
    """
    if steps < 1 or widen < 0 or (samples is not None and samples < 1):
        raise ValueError(
            f"steps {steps}, samples {samples}, widen {widen}: expected at least 1, 1 and 0."
        )
    label, build = builder(optimizer)
    given = over if isinstance(over, Mapping) else {"learning_rate": over}
    axes = [parse_axis(name, values, samples is not None) for name, values in given.items()]
    if not axes:
        raise ValueError("over: nothing given; name at least one, such as learning_rate.")
    names = tuple(axis.name for axis in axes)
    shape = look_up("schedule", schedule or "constant", SCHEDULES)
    for end in (0, -1):
        build(**{axis.name: float(axis.values[end]) for axis in axes})

    def make(row):
        chosen = {name: row[place] for place, name in enumerate(names)}
        if "learning_rate" in chosen:
            chosen["learning_rate"] = shape(chosen["learning_rate"], steps)
        return build(**chosen)

    generator = np.random.default_rng(draw)
    task = ready(task)
    shared = bench(task, settle(axes, samples, generator), parse_seeds(seeds), steps)
    done, kept = [], {}

    def report(step: int | None, record: Sweep | None = None) -> None:
        if progress is not None:
            at = len(done)
            progress(Event(label, at, max(at, widen) + 1, step, steps, record, task.target))

    report(None)
    prepared = prepare(Candidate(label, make), shared, constant)
    points = 1 if progress is None else POINTS
    while True:
        record, complete = train(prepared, shared, points=points, report=report)
        if not complete:
            raise KeyboardInterrupt
        done.append(record)
        found = gather(done, names, task, random=samples is not None, kept=kept)
        if found.rounds > widen:
            return found
        axes, moved = moved_on(axes, found.edges, build, kept)
        if not moved:
            return found
        shared = replace(shared, rates=settle(axes, samples, generator))


def builder(
    optimizer: str | Callable[..., Any] | optax.GradientTransformation,
) -> tuple[str, Callable[..., Any]]:
    """A label, and a function of keywords that makes the transformation and checks their names."""
    if isinstance(optimizer, optax.GradientTransformation):
        return name_of(optimizer), rebuilder(optimizer)
    if isinstance(optimizer, str):
        name, settings = split_call(optimizer)
        factory = look_up("optimizer", name, optimizers())
        label = optimizer.replace(" ", "")
    elif not callable(optimizer):
        raise TypeError(f"optimizer: {optimizer!r} given, expected {EXPECTED}.")
    else:
        factory, settings = optimizer, {}
        label = getattr(optimizer, "__name__", type(optimizer).__name__)
    parameters = inspect.signature(factory).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def build(**chosen):
        for argument in {**settings, **chosen}:
            if argument not in parameters and not open_ended:
                raise unknown(f"{label.split('(')[0]} argument", argument, parameters)
        missing = [
            p.name
            for p in parameters.values()
            if p.default is p.empty
            and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
            and p.name not in {**settings, **chosen}
        ]
        if missing:
            raise ValueError(f"over: {', '.join(missing)} missing, which {label} must be given.")
        return factory(**{**settings, **chosen})

    return label, build


def rebuilder(tx: optax.GradientTransformation) -> Callable[..., Any]:
    """A function of keywords that changes them in `tx`, its learning rate wherever it is."""
    make = factory("optimizer", tx)
    assert isinstance(tx, funcopt.GradientTransformation)
    parameters = [*tx.arguments, "learning_rate"]

    def build(**chosen: Any) -> Any:
        for argument in chosen:
            if argument not in parameters:
                raise unknown(f"{tx.factory.__name__} argument", argument, parameters)
        own = {name: x for name, x in chosen.items() if name != "learning_rate"}
        changed = make(chosen["learning_rate"]) if "learning_rate" in chosen else tx
        return changed.replace(**own) if own else changed

    return build


def parse_axis(name: str, given: Values, random: bool) -> Axis:
    """The values of one hyperparameter, ascending; two of them where they are the ends of a range.

    >>> parse_axis("b1", "0.8,0.9", False).values.tolist()
    [0.8, 0.9]
    >>> parse_axis("learning_rate", "1e-3:1", True).values.tolist()
    [0.001, 1.0]
    """
    form = "low:high, both positive" if random else "low:high:count or a list such as 0.01,0.1"
    try:
        if not isinstance(given, str):
            values = np.asarray([float(value) for value in given])
        elif ":" in given and not random:
            low, high, count = given.split(":")
            values = np.geomspace(float(low), float(high), int(count))
        else:
            values = np.asarray([float(word) for word in given.split(":" if random else ",")])
    except (ValueError, TypeError):
        raise ValueError(f"over: cannot read {name}={given!r}; expected {form}.") from None
    values = np.unique(values)
    fits = len(values) == 2 and values[0] > 0 if random else len(values) > 0
    if not fits or not all(map(math.isfinite, values)):
        raise ValueError(f"over: {name}={given!r} given, expected {form}.")
    return Axis(name, values, random)


def settle(axes: list[Axis], samples: int | None, generator: np.random.Generator) -> np.ndarray:
    """The settings to train, `[point, axis]`: all combinations, or `samples` drawn at random."""
    if samples is not None:
        return np.stack([axis.draw(generator, samples) for axis in axes], axis=1)
    grid = np.meshgrid(*(axis.values for axis in axes), indexing="ij")
    return np.stack([values.ravel() for values in grid], axis=1)


def moved_on(
    axes: list[Axis], edges: dict[str, str], build: Callable[..., Any], kept: dict[str, str]
) -> tuple[list[Axis], bool]:
    """The axes, moved beyond their edges where the optimizer allows it; `kept` takes why not."""
    following, moved = [], False
    for axis in axes:
        end = edges.get(axis.name)
        beyond = axis.beyond(end) if end else None
        if end and beyond is None:
            kept[axis.name] = "its values have no ratio to go on by"
        if beyond is not None:
            try:
                for value in (beyond.values[0], beyond.values[-1]):
                    others = {other.name: float(other.values[0]) for other in axes}
                    build(**{**others, axis.name: float(value)})
                moved = True
            except ValueError as error:
                kept[axis.name], beyond = str(error), None
        following.append(axis if beyond is None else beyond)
    return following, moved


def gather(
    done: list[Sweep], names: tuple[str, ...], task: Task, *, random: bool, kept: dict[str, str]
) -> Swept:
    """One record of all rounds."""
    first = done[0]
    return Swept(
        label=first.label,
        names=names,
        points=np.concatenate([record.rates for record in done]),
        seeds=first.seeds,
        steps=first.steps,
        loss=np.concatenate([record.loss for record in done], axis=1),
        accuracy=np.concatenate([record.accuracy for record in done], axis=1),
        diverged=np.concatenate([record.diverged for record in done], axis=1),
        random=random,
        rounds=len(done),
        kept=kept,
        scored=task.scored,
        chance=task.chance,
        compile_seconds=first.compile_seconds,
        run_seconds=sum(record.run_seconds for record in done),
    )
