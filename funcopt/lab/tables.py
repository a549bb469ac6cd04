"""Tables for the terminal. Together with `watch.py` the only place that knows rich."""

import math

import numpy as np
from rich.table import Table
from rich.text import Text

from funcopt.lab.comparison import Comparison
from funcopt.lab.sweep import Sweep
from funcopt.lab.verdict import Spread, Verdict, best_index, valley

BLOCKS = "▁▂▃▄▅▆▇█"


def ranking(comparison: Comparison) -> Table:
    """One row for each optimizer, the best first."""
    table = Table(title=comparison.headline(), title_justify="left", title_style="bold", box=None)
    for name in header(comparison):
        left = name in ("optimizer", "loss by rate")
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    for place, verdict in enumerate(comparison.verdicts, start=1):
        table.add_row(*row(comparison, verdict, place), style="bold" if place == 1 else None)
    if notes := footnotes(comparison):
        table.caption, table.caption_justify = Text("\n".join(notes)), "left"
    return table


def header(comparison: Comparison) -> list[str]:
    """The names of the ranking's columns."""
    return [
        "",
        "optimizer",
        "best rate",
        f"{comparison.task.scored} (min–max)",
        *(["accuracy (min–max)"] if comparison.has_accuracy else []),
        "loss by rate",
        "decades within 2x",
        f"steps to {comparison.task.target:.3g}",
        "state B/param",
        "compile s",
        "run s",
    ]


def row(comparison: Comparison, verdict: Verdict, place: int) -> list[str | Text]:
    accuracy = [percent(verdict.accuracy)] if comparison.has_accuracy else []
    steps = "never" if verdict.steps_to_target is None else f"{verdict.steps_to_target:.0f}"
    return [
        str(place),
        verdict.label,
        rate(verdict),
        number(verdict.loss),
        *accuracy,
        sparkline(comparison, comparison.sweep(verdict.label)),
        f"{verdict.decades:.1f}",
        steps,
        f"{verdict.state_bytes:.1f}",
        f"{verdict.compile_seconds:.1f}",
        f"{verdict.run_seconds:.1f}",
    ]


def rate(verdict: Verdict) -> str:
    if verdict.best_rate is None:
        return "none"
    return f"{verdict.best_rate:.2g}" + ("!" if verdict.on_edge else "")


def number(spread: Spread) -> str:
    if not math.isfinite(spread.median):
        return "diverged"
    high = f"{spread.high:.2g}" if math.isfinite(spread.high) else "diverged"
    return f"{spread.median:.3g} ({spread.low:.2g}–{high})"


def percent(spread: Spread) -> str:
    if not math.isfinite(spread.median):
        return "-"
    if not (math.isfinite(spread.low) and math.isfinite(spread.high)):
        return f"{100 * spread.median:.1f} %"
    return f"{100 * spread.median:.1f} % ({100 * spread.low:.1f}–{100 * spread.high:.1f})"


def sparkline(comparison: Comparison, sweep: Sweep) -> Text:
    """The loss at each learning rate, low blocks are good, `×` has diverged, the best is green."""
    cap = comparison.task.chance
    floor = min((v.loss.median for v in comparison.verdicts), default=cap)
    losses, best = valley(sweep), best_index(sweep)
    depth = math.log(cap / floor) if 0 < floor < cap else 1.0
    text = Text()
    for index, loss in enumerate(losses):
        if math.isfinite(loss):
            height = 1 + math.log(max(min(loss, cap), floor, 1e-30) / cap) / depth
            block = BLOCKS[int(np.clip(round(height * 7), 0, 7))]
        else:
            block = "×"
        text.append(block, style="bold green" if index == best else "")
    return text


def footnotes(comparison: Comparison) -> list[str]:
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
            notes.append(f"{sweep.label} was stopped at step {sweep.steps} of {comparison.steps}.")
    return notes
