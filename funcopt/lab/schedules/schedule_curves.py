"""Schedules over the steps of one run, side by side."""

import csv
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..drawing.told import told
from ..names import look_up, unknown
from ..overview.catalogue import schedules
from ..training.candidates import split_call

SHORT = {
    "constant": "constant_schedule",
    "linear": "linear_to_zero",
    "cosine": "cosine_decay_schedule",
    "warmup_cosine": "warmup_cosine_decay_schedule",
    "wsd": "warmup_stable_decay",
    "rex": "rex_schedule",
    "noam": "noam_schedule",
    "inverse_sqrt": "inverse_sqrt_schedule",
    "knee": "knee_schedule",
    "onecycle": "cosine_onecycle_schedule",
    "cyclic": "cyclic_schedule",
}


@told
@dataclass(frozen=True, eq=False)
class ScheduleCurves:
    """What each schedule gives at every step: `rates[label, step]` for the steps 0 to `steps`.

    The last update of a run is step `steps - 1`; step `steps` shows where the schedule arrives.
    """

    labels: tuple[str, ...]
    schedules: tuple[Any, ...]
    steps: int
    rates: np.ndarray

    def headline(self) -> str:
        """Which schedules, in one line."""
        return f"{', '.join(self.labels)} over {self.steps:,} steps"

    def at(self, share: float) -> np.ndarray:
        """The rate of each schedule after this share of the steps."""
        return self.rates[:, round(share * self.steps)]

    def table(self):
        """A sparkline and the rates after 0, 25, 50, 75 and 100 % as a `rich.table.Table`."""
        from .table import schedule_curves

        return schedule_curves(self)

    def plot(self, ax=None):
        """All schedules in one picture; returns the axes."""
        from ..drawing.figures import on
        from .plot import schedule_curves

        return on(ax, schedule_curves, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each step."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["step", *self.labels])
            for step, rates in enumerate(self.rates.T.tolist()):
                writer.writerow([step, *(f"{rate:.8g}" for rate in rates)])
        return path


def schedule_curves(
    given: str | Iterable[Any], *, steps: int = 10_000, peak: float = 1.0
) -> ScheduleCurves:
    """Evaluate schedules at every step of a run of `steps` updates.

    - `given`: schedules (any functions of the step), names such as `"cosine_decay_schedule"` (or
      `"wsd"` and other short ones), and calls such as `"knee_schedule(explore_steps=500)"`. What
      a call leaves out is chosen to fit the run: the highest value is `peak`, lengths are shares
      of `steps`.

    Raises `ValueError` for what does not exist, and for schedules that listen to a metric.

    >>> schedule_curves(["cosine", "linear"], steps=100).at(0.5).round(3).tolist()
    [0.5, 0.5]
    """
    if steps < 1 or not peak > 0:
        raise ValueError(f"steps {steps}, peak {peak}: expected at least one step, and above 0.")
    each: list[Any] = [given] if isinstance(given, str) or callable(given) else list(given)
    if not each:
        raise ValueError("schedules: none given; name at least one, such as cosine.")
    found = [parse(one, steps, peak) if isinstance(one, str) else one for one in each]
    for schedule in found:
        if getattr(schedule, "listens", False):
            raise ValueError(f"{schedule!r} follows a metric, so it has no curve over the steps.")
    at = jnp.arange(steps + 1)
    rates = np.stack([np.asarray(jax.jit(jax.vmap(schedule))(at)) for schedule in found])
    labels = [one.replace(" ", "") if isinstance(one, str) else repr(one) for one in each]
    return ScheduleCurves(tuple(labels), tuple(found), steps, rates)


def parse(call: str, steps: int, peak: float) -> Any:
    """The schedule that a call describes, with what it leaves out chosen for the run.

    >>> parse("linear_schedule(end_value=0.1)", 100, 1.0)
    linear_schedule(init_value=1.0, end_value=0.1, transition_steps=100)
    """
    name, settings = split_call(call)
    there = schedules()
    short = {short: there[name] for short, name in SHORT.items() if name in there}
    factory = look_up("schedule", name.removeprefix("schedules."), short | there)
    parameters = inspect.signature(factory).parameters
    for argument in settings:
        if argument not in parameters:
            raise unknown(f"{factory.__name__} argument", argument, parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        raise ValueError(
            f"schedule {name!r}: its schedules are missing, and only Python can give them: "
            "funcopt.lab.schedule_curves([...])."
        )
    chosen = fitting(steps, peak, rises="peak_value" in parameters)
    missing = [
        p.name for p in parameters.values() if p.default is p.empty and p.name not in settings
    ]
    unclear = [argument for argument in missing if argument not in chosen]
    if unclear:
        example = ", ".join(f"{argument}=..." for argument in unclear)
        raise ValueError(
            f"schedule {name!r}: {', '.join(unclear)} missing, expected a call such as "
            f'"{name}({example})".'
        )
    return factory(**{argument: chosen[argument] for argument in missing}, **settings)


def fitting(steps: int, peak: float, *, rises: bool) -> dict[str, Any]:
    """Arguments of schedules for a run of this length; one that `rises` begins at zero."""

    def share(part: float) -> int:
        return max(1, int(part * steps))

    return {
        "value": peak,
        "init_value": 0.0 if rises else peak,
        "peak_value": peak,
        "base_value": peak / 10,
        "min_value": peak / 10,
        "max_value": peak,
        "end_value": 0.0,
        "power": 2.0,
        "decay_rate": 0.1,
        "model_size": 512.0,
        "scale": peak,
        "interpolate_type": "cosine",
        "total_steps": steps,
        "transition_steps": steps,
        "decay_steps": steps,
        "warmup_steps": share(0.1),
        "cooldown_steps": share(0.2),
        "explore_steps": share(0.5),
        "first_steps": share(0.25),
        "half_period": share(0.25),
        "step_size": share(0.3),
        "cycle_steps": 8,
        "milestones": [share(0.5), share(0.75) + 1],
    }
