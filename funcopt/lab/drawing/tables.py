"""Tables for the terminal. With `sheet.py`, `told.py` and `watch.py` all that knows rich."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions, Group
from rich.jupyter import JupyterMixin
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..comparison.comparison import Comparison, digits, plural
from ..comparison.verdict import Spread, Verdict, best_index, middle, valley
from ..overview.catalogue import GROUPS, Catalogue, Entry
from ..overview.show import Shown
from ..range_test.range_test import RangeTest
from ..rescues.rescued import Depths, Rescue, Runs
from ..schedules.schedule_curves import ScheduleCurves
from ..search.sweep import Swept
from ..training.sweep import Sweep
from .prose import Prose
from .sheet import Sheet

NARROW = "\N{NO-BREAK SPACE}"
BLOCKS = "▁▂▃▄▅▆▇█"


def ranking(comparison: Comparison) -> Sheet:
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


def header(comparison: Comparison) -> list[str]:
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


def row(comparison: Comparison, verdict: Verdict, place: int) -> list[str | Text]:
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


def steps_head(comparison: Comparison) -> list[str]:
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


def sparkline(comparison: Comparison, sweep: Sweep) -> Text:
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
            notes.append(
                f"{sweep.label} was stopped at step {sweep.steps} of {comparison.plan.steps}."
            )
    return notes


def catalogue(what: Catalogue) -> "Entries":
    """Every name in its group."""
    return Entries(what)


@dataclass(frozen=True)
class Entries(JupyterMixin):
    """Names and what they are, in groups; with memory and paper where there is room."""

    what: Catalogue

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        width = options.max_width
        for place, (group, entries) in enumerate(self.what.groups.items()):
            if place:
                yield Text()
            yield Text.assemble((group.capitalize(), "bold"), (f": {GROUPS[group]}", "dim"))
            yield entry_list(entries) if width < 60 else entry_table(entries, wide=width >= 110)


def entry_list(entries: tuple[Entry, ...]) -> Group:
    """Each name above what it is."""
    return Group(
        *(
            Group(Text(entry.name, style="cyan"), Padding(Text(entry.summary), (0, 0, 0, 2)))
            for entry in entries
        )
    )


def entry_table(entries: tuple[Entry, ...], *, wide: bool) -> Table:
    """A line for each entry, or a few where what it is does not fit."""
    sized = wide and any(entry.state_bytes is not None for entry in entries)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=sized)
    for name in ("name", *(["state B/param", "paper"] if sized else []), "what it is"):
        table.add_column(name, no_wrap=name != "what it is")
    for entry in entries:
        size = "" if entry.state_bytes is None else f"{entry.state_bytes:g}"
        more = [Text(size, justify="right"), Text(entry.paper)] if sized else []
        table.add_row(Text(entry.name, style="cyan"), *more, Text(entry.summary))
    return table


def shown(what: Shown) -> Group:
    """A name at a glance, section by section."""
    parts: list = [Text.assemble((what.call, "bold"), f"  {what.summary}"), Text()]
    if what.signature:
        parts += [Prose(what.signature), Text()]
    if what.mathematics:
        parts += [Prose(what.mathematics), Text()]
    if any(row.pytorch or row.optax for row in what.defaults):
        parts += [defaults(what), Text()]
    if what.memory:
        sizes = ", ".join(f"{size:g} for a {kind} one" for kind, size in what.memory.items())
        kept = ", ".join(f"{name} ({dtype})" for name, dtype in what.slots.items()) or "nothing"
        memory = f"  bytes a parameter: {sizes}; {kept}"
        parts += [Text.assemble(("Memory", "bold"), memory), Text()]
    if what.paper:
        parts += [Text.assemble(("Cite", "bold"), f"  {what.paper.short}: {what.paper.title}")]
        parts += [Prose(what.paper.bibtex())]
    return Group(*parts)


def defaults(what: Shown) -> Sheet:
    """The defaults beside PyTorch's and optax's, differences in colour."""
    names = ["optax"] if what.pytorch is None else [what.pytorch, "optax"]
    rows = []
    for row in what.defaults:
        theirs = [row.optax] if what.pytorch is None else [row.pytorch, row.optax]
        rows.append([row.argument, Text(row.funcopt, style="bold"), *(
            Text("-", style="dim")
            if other is None
            else Text(f"{other} ≠", style="yellow")
            if row.differs(other)
            else Text(other)
            for other in theirs
        )])  # fmt: skip
    return Sheet(
        heads=["argument", "funcopt", *names],
        rows=rows,
        styles=[None] * len(rows),
        left=frozenset({"argument", "funcopt", *names}),
        key="argument",
    )


def range_test(test: RangeTest) -> Sheet:
    """One row for each convention, the one that is followed in bold."""
    rows, styles = [], []
    for name, rate in test.by_convention.items():
        runs = test.suggestions[name]
        ends = f"{np.nanmin(runs):.2g}–{np.nanmax(runs):.2g}"
        apart = f"{math.log10(rate / (test.suggestion or rate)):+.1f}"
        rows.append([name, f"{rate:.2g}", ends, apart])
        styles.append("bold" if name == test.convention else None)
    return Sheet(
        heads=["convention", "rate", "over seeds (min–max)", "decades from it"],
        rows=rows,
        styles=styles,
        left=frozenset({"convention"}),
        key="convention",
        title=test.headline(),
        notes=range_notes(test),
    )


def range_notes(test: RangeTest) -> list[str]:
    """What a reader has to know about a range test."""
    low, high = f"{test.rates[0]:.2g}", f"{test.rates[-1]:.2g}"
    runs = plural(len(test.losses), "seed")
    left = test.diverged_at[test.diverged_at >= 0]
    notes = [f"{len(test.rates)} steps from {low} to {high}, {runs}."]
    if left.size:
        at = test.rates[int(np.median(left))]
        notes.append(f"{left.size} of {runs} diverged, at a rate of {at:.2g} (median).")
    if test.still_falling:
        notes.append(f"The loss still falls at {high}: raise lr_max to be sure.")
    refused = sum(map(bool, test.reasons))
    if refused and test.by_convention:
        why = next(filter(None, test.reasons))
        notes.append(f"{refused} of {runs} gave no answer: {why}.")
    return notes


def swept(what: Swept, most: int = 10) -> Sheet:
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


def swept_notes(what: Swept) -> list[str]:
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


def schedule_curves(what: ScheduleCurves, points: int = 32) -> Sheet:
    """One row for each schedule: its shape, and its rate along the run."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    top = max(float(what.rates.max()), np.finfo(np.float32).tiny)
    chosen = np.linspace(0, what.steps, min(points, what.steps + 1)).round().astype(int)
    heights = np.clip(np.round(what.rates[:, chosen] / top * 7), 0, 7).astype(int)
    shape = f"rate over {plural(what.steps, 'step')}"
    return Sheet(
        heads=["schedule", shape, *(f"{share:.0%}" for share in shares)],
        rows=[
            [
                label,
                "".join(BLOCKS[height] for height in heights[place]),
                *(f"{what.at(share)[place]:.3g}" for share in shares),
            ]
            for place, label in enumerate(what.labels)
        ],
        styles=[None] * len(what.labels),
        left=frozenset({"schedule", shape}),
        key="schedule",
    )


def rescue(what: Rescue) -> Group:
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


def rescue_row(run: Runs, scored: bool) -> list[str]:
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
        *(percentage(flags) for flags in (run.clipped, run.refused)),
    ]


def percentage(flags: np.ndarray) -> str:
    """The share of what is true: empty for none, and small shares as such."""
    share = float(np.mean(flags))
    return "" if share == 0 else f"{share:.0%}" if share >= 0.01 else "<1%"


def by_depth(depths: tuple[Depths, ...]) -> Sheet:
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
