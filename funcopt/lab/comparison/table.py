"""The ranking of a comparison, for the terminal and the page."""

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text

from ..drawing.sheet import Sheet
from ..drawing.words import BLOCKS, digits
from ..training.train import Sweep
from .verdict import Spread, Verdict, best_index, valley

if TYPE_CHECKING:
    from .comparison import Comparison

NARROW = "\N{NO-BREAK SPACE}"


def ranking(comparison: "Comparison") -> Sheet:
    """One row for each optimizer, the best first."""
    heads = header(comparison)
    left = {"optimizer", "loss by rate"}
    return Sheet(
        heads=[name if name in left else name.replace(" ", "\n", 1) for name in heads],
        rows=[row(comparison, v, place) for place, v in enumerate(comparison.verdicts, start=1)],
        styles=["bold", *[None] * len(comparison.verdicts[1:])],
        left=frozenset(left),
        key="optimizer",
        title=comparison.headline(),
        notes=footnotes(comparison),
    )


def header(comparison: "Comparison") -> list[str]:
    """The names of the ranking's columns."""
    return [
        "",
        "optimizer",
        "best rate",
        f"{comparison.task.scored.replace(' ', NARROW)} (min–max)",
        *(["accuracy (min–max)"] if comparison.has_accuracy else []),
        "loss by rate",
        "decades within 2x",
        *steps_head(comparison),
        "state B/param",
        "compile s",
        "run s",
    ]


def row(comparison: "Comparison", verdict: Verdict, place: int) -> list[str | Text]:
    accuracy = [percent(verdict.accuracy)] if comparison.has_accuracy else []
    reached = "never" if verdict.steps_to_target is None else f"{verdict.steps_to_target:.0f}"
    steps = [reached] if steps_head(comparison) else []
    return [
        str(place),
        verdict.label,
        rate(verdict),
        number(verdict.loss),
        *accuracy,
        sparkline(comparison, comparison.sweep(verdict.label)),
        f"{verdict.decades:.1f}",
        *steps,
        f"{verdict.state_bytes:.1f}",
        f"{verdict.compile_seconds:.1f}",
        f"{verdict.run_seconds:.1f}",
    ]


def steps_head(comparison: "Comparison") -> list[str]:
    """The head of the column of steps, where there is a target."""
    target = comparison.task.target
    return [] if target is None else [f"steps to {target:.3g}"]


def rate(verdict: Verdict) -> str:
    if verdict.best_rate is None:
        return "none"
    return f"{verdict.best_rate:.2g}" + ("!" if verdict.on_edge else "")


def number(spread: Spread) -> str:
    if not math.isfinite(spread.median):
        return "diverged"
    if not math.isfinite(spread.high):
        ends = f"{digits(spread.low, 2)}–diverged"
    else:
        count = 2 if digits(spread.low, 2) != digits(spread.high, 2) else 3
        ends = f"{digits(spread.low, count)}–{digits(spread.high, count)}"
    return f"{digits(spread.median, 3)} ({ends})"


def percent(spread: Spread) -> str:
    if not math.isfinite(spread.median):
        return "-"
    if not (math.isfinite(spread.low) and math.isfinite(spread.high)):
        return f"{100 * spread.median:.1f}%"
    return f"{100 * spread.median:.1f}% ({100 * spread.low:.1f}–{100 * spread.high:.1f})"


def sparkline(comparison: "Comparison", sweep: Sweep) -> Text:
    """The loss at each learning rate, low blocks are good, `×` has diverged, the best is green."""
    cap = comparison.cap
    floor = min((v.loss.median for v in comparison.verdicts), default=cap)
    losses, best = valley(sweep), best_index(sweep)
    depth = math.log(cap / floor) if 0 < floor < cap else 1.0
    text = Text()
    for index, loss in enumerate(losses):
        if math.isfinite(loss):
            within = max(min(loss, cap), floor)
            height = (
                1 + math.log(max(within, 1e-30) / cap) / depth
                if cap > 0 and floor > 0
                else (within - floor) / ((cap - floor) or 1.0)
            )
            block = BLOCKS[int(np.clip(round(height * 7), 0, 7))]
        else:
            block = "×"
        text.append(block, style="bold green" if index == best else "")
    return text


def footnotes(comparison: "Comparison") -> list[str]:
    """What a reader has to know about the rows above."""
    notes = []
    if comparison.rivals():
        names = ", ".join(verdict.label for verdict in comparison.rivals())
        notes.append(f"Within the winner's spread over seeds, so not clearly worse: {names}.")
    if any(verdict.on_edge for verdict in comparison.verdicts):
        notes.append("! The best rate is the first or last of the grid: widen --lrs to be sure.")
    lost = sum(verdict.diverged for verdict in comparison.verdicts)
    if lost:
        runs = sum(verdict.runs for verdict in comparison.verdicts)
        notes.append(f"{lost} of {runs} runs diverged (×); they count as infinitely bad.")
    for sweep in comparison.sweeps:
        if comparison.partial(sweep):
            notes.append(
                f"{sweep.label} was stopped at step {sweep.steps} of {comparison.plan.steps}."
            )
    return notes
