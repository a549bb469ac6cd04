"""The table of a sweep: its best settings."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ..drawing.sheet import Sheet
from ..drawing.words import digits, plural

if TYPE_CHECKING:
    from .sweep import Swept


def swept(what: "Swept", most: int = 10) -> Sheet:
    """The best settings, one row each; `!` marks a value at the edge of what was tried."""
    rows = []
    for place, point in enumerate(what.order[:most], start=1):
        mark = what.edges if place == 1 else {}
        settings = (
            f"{value:.3g}" + "!" * (name in mark)
            for name, value in zip(what.names, what.points[point], strict=True)
        )
        loss = float(what.losses[point])
        shown = digits(loss, 3) if math.isfinite(loss) else "diverged"
        accuracy = float(np.median(what.accuracy[:, point]))
        score = f"{accuracy:.1%}" if math.isfinite(accuracy) else "-"
        rows.append([str(place), *settings, shown, score])
    return Sheet(
        heads=["#", *what.names, what.scored, "accuracy"],
        rows=rows,
        styles=["bold", *[None] * len(rows[1:])],
        left=frozenset(),
        key="#",
        title=what.headline(),
        notes=swept_notes(what),
    )


def swept_notes(what: "Swept") -> list[str]:
    """What a reader has to know about a sweep."""
    size = f"{plural(len(what.points), 'setting')} x {plural(len(what.seeds), 'seed')}"
    notes = [f"{size}, {plural(what.steps, 'step')} each; compiled in {what.compile_seconds:.1f} s"
             f", ran in {what.run_seconds:.1f} s."]  # fmt: skip
    if what.rounds > 1:
        notes.append(f"Widened {plural(what.rounds - 1, 'time')}.")
    if what.edges:
        notes.append("! At the edge of what was tried: widen to be sure.")
    notes += [f"{name} was not widened: {why}." for name, why in what.kept.items()]
    if what.diverged.any():
        notes.append(f"{int(what.diverged.sum())} of {what.diverged.size} runs diverged.")
    return notes
