"""The table of a rescue: one row for each treatment, and what depth makes of each."""

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.text import Text

from ..comparison.verdict import middle
from ..drawing.sheet import Sheet

if TYPE_CHECKING:
    from .rescued import Depths, Rescue, Runs


def rescue(what: "Rescue") -> Group:
    """One row for each treatment, the untreated first; then depths, where there are any."""
    scored = any(np.isfinite(run.accuracy).any() for run in what.runs)
    accuracy = ["accu-\nracy"] if scored else []
    colours = {id(run): "red" for run in what.untreated}
    if what.rescued:
        colours[id(what.best)] = "bold green"
    table = Sheet(
        heads=["treatment", "rate", "success", what.step_name.replace(" ", "\n", 1),
               "median\nloss", "worst\nloss", *accuracy, "steps\nclipped", "steps\nskipped"],
        rows=[rescue_row(run, scored) for run in what.runs],
        styles=[colours.get(id(run)) for run in what.runs],
        left=frozenset({"treatment"}),
        key="treatment",
    )  # fmt: skip
    parts: list = [Text(what.headline(), style="bold"), Text(), table]
    if what.depths:
        parts += [Text(), by_depth(what.depths)]
    notes = [Text(note) for note in what.notes()]
    return Group(*parts, Text(), *notes)


def rescue_row(run: "Runs", scored: bool) -> list[str]:
    step = float(middle(run.step))
    losses = (float(middle(run.final)), float(run.final.max()))
    accuracy = [f"{100 * float(np.median(run.accuracy)):.0f}%"] if scored else []
    return [
        run.name,
        f"{run.rate:.2g}" + "!" * run.on_edge,
        run.score.replace(" of ", "/"),
        f"{step:.0f}" if math.isfinite(step) else "never",
        *(f"{loss:.2g}" if math.isfinite(loss) else "diverged" for loss in losses),
        *accuracy,
        *(percentage(flags) for flags in (run.clipped, run.skipped)),
    ]


def percentage(flags: np.ndarray) -> str:
    """The share of what is true: empty for none, and small shares as such."""
    share = float(np.mean(flags))
    return "" if share == 0 else f"{share:.0%}" if share >= 0.01 else "<1%"


def by_depth(depths: "tuple[Depths, ...]") -> Sheet:
    """Runs that succeed, and the median accuracy, at every depth."""
    key = "success (accuracy), layers:"
    return Sheet(
        heads=[key, *map(str, depths[0].depths)],
        rows=[
            [
                each.name,
                *(
                    f"{run.score.replace(' of ', '/')} ({100 * np.median(run.accuracy):.0f}%)"
                    for run in each.runs
                ),
            ]
            for each in depths
        ],
        styles=[None] * len(depths),
        left=frozenset({key}),
        key=key,
    )
