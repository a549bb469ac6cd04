"""Tables for the terminal. Together with `watch.py` the only place that knows rich."""

import math
from collections.abc import Iterable

import numpy as np
from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .catalogue import Catalogue
from .comparison import Comparison, digits, plural
from .lr_range import RangeTest
from .rescued import Depths, Rescue, Runs
from .schedule_curves import ScheduleCurves
from .search import Swept
from .show import Shown
from .sweep import Sweep
from .verdict import Spread, Verdict, best_index, middle, valley

NARROW = "\N{NO-BREAK SPACE}"
BLOCKS = "▁▂▃▄▅▆▇█"


def ranking(comparison: Comparison, width: int | None = None) -> Table | Group:
    """One row for each optimizer, the best first; two narrower tables where `width` is short."""
    names = header(comparison)
    whole = columns(comparison, range(len(names)))
    caption = Text("\n".join(footnotes(comparison)))
    title = comparison.headline()
    if width is None or measured(whole) <= width:
        whole.title, whole.title_justify, whole.title_style = title, "left", "bold"
        whole.caption, whole.caption_justify = caption, "left"
        return whole
    split = names.index("loss by rate")
    answers, costs = range(split), [1, *range(split, len(names))]
    parts = [columns(comparison, answers), Text(), columns(comparison, costs), caption]
    return Group(Text(title, style="bold"), *parts)


def columns(comparison: Comparison, chosen: Iterable[int]) -> Table:
    """The chosen columns of the ranking."""
    table = Table(box=None, collapse_padding=True, pad_edge=False)
    names = header(comparison)
    chosen = list(chosen)
    for name in (names[index] for index in chosen):
        left = name in ("optimizer", "loss by rate")
        heading = name if left else name.replace(" ", "\n", 1)
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for place, verdict in enumerate(comparison.verdicts, start=1):
        cells = row(comparison, verdict, place)
        table.add_row(*(cells[index] for index in chosen), style="bold" if place == 1 else None)
    return table


def measured(table: Table) -> int:
    """How many columns of the terminal `table` takes."""
    screen = Console(width=1000)
    return Measurement.get(screen, screen.options, table).maximum


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
            notes.append(
                f"{sweep.label} was stopped at step {sweep.steps} of {comparison.plan.steps}."
            )
    return notes


def catalogue(what: Catalogue) -> Group:
    """The optimizers and the schedules, one line each."""
    table = Table(box=None, pad_edge=False)
    for name in ("optimizer", "state B/param", "paper", "what it is"):
        table.add_column(name, no_wrap=name != "what it is")
    schedules = Table(box=None, pad_edge=False)
    schedules.add_column("schedule", no_wrap=True)
    schedules.add_column("what it is")
    for entry in what.entries:
        if entry.state_bytes is None:
            schedules.add_row(Text(entry.name, style="bold"), Text(entry.summary))
        else:
            name, size = Text(entry.name, style="bold"), Text(f"{entry.state_bytes:g}")
            table.add_row(name, size, Text(entry.paper), Text(entry.summary))
    return Group(table, Text(), schedules)


def shown(what: Shown) -> Group:
    """An optimizer at a glance, section by section."""
    parts: list = [Text.assemble((what.name, "bold"), f": {what.summary}"), Text()]
    parts += [Padding(Text(what.signature), (0, 0, 0, 2), expand=False), Text()]
    parts += [Padding(Text(what.mathematics), (0, 0, 0, 2), expand=False), Text()]
    parts += [defaults(what), Text()]
    if what.memory:
        sizes = ", ".join(f"{size:g} for a {kind} one" for kind, size in what.memory.items())
        kept = ", ".join(f"{name} ({dtype})" for name, dtype in what.slots.items()) or "nothing"
        parts += [
            Text.assemble(("Memory", "bold"), f"  bytes a parameter: {sizes}; {kept}"),
            Text(),
        ]
    if what.paper:
        parts += [Text.assemble(("Cite", "bold"), f"  {what.paper.short}: {what.paper.title}")]
        parts += [Padding(Text(what.paper.bibtex(), style="dim"), (0, 0, 0, 2), expand=False)]
    return Group(*parts)


def defaults(what: Shown) -> Table:
    """The defaults beside PyTorch's and optax's, differences in colour."""
    table = Table(box=None, pad_edge=False)
    table.add_column("argument")
    table.add_column("funcopt", style="bold")
    columns = ["optax"] if what.pytorch is None else [what.pytorch, "optax"]
    for name in columns:
        table.add_column(name)
    for row in what.defaults:
        theirs = [row.optax] if what.pytorch is None else [row.pytorch, row.optax]
        cells = [
            Text("-", style="dim")
            if other is None
            else Text(f"{other} ≠", style="yellow")
            if row.differs(other)
            else Text(other)
            for other in theirs
        ]
        table.add_row(row.argument, row.funcopt, *cells)
    return table


def range_test(test: RangeTest) -> Table:
    """One row for each convention, the one that is followed in bold."""
    table = Table(box=None, pad_edge=False, title=test.headline())
    table.title_justify, table.title_style = "left", "bold"
    table.add_column("convention")
    for name in ("rate", "over seeds (min–max)", "decades from it"):
        table.add_column(name, justify="right")
    for name, rate in test.by_convention.items():
        runs = test.suggestions[name]
        ends = f"{np.nanmin(runs):.2g}–{np.nanmax(runs):.2g}"
        apart = f"{math.log10(rate / (test.suggestion or rate)):+.1f}"
        followed = name == test.convention
        table.add_row(name, f"{rate:.2g}", ends, apart, style="bold" if followed else None)
    table.caption, table.caption_justify = Text("\n".join(range_notes(test))), "left"
    return table


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


def swept(what: Swept, most: int = 10) -> Table:
    """The best settings, one row each; `!` marks a value at the edge of what was tried."""
    table = Table(box=None, pad_edge=False, title=what.headline())
    table.title_justify, table.title_style = "left", "bold"
    for name in ("", *what.names, what.scored.replace(" ", NARROW), "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
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
        table.add_row(str(place), *settings, shown, score, style="bold" if place == 1 else None)
    table.caption, table.caption_justify = Text("\n".join(swept_notes(what))), "left"
    return table


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


def schedule_curves(what: ScheduleCurves, width: int = 32) -> Table:
    """One row for each schedule: its shape, and its rate along the run."""
    table = Table(box=None, pad_edge=False)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    table.add_column("schedule", style="bold", overflow="fold")
    table.add_column(f"rate over {plural(what.steps, 'step')}", no_wrap=True)
    for share in shares:
        table.add_column(f"{share:.0%}", justify="right", no_wrap=True)
    top = max(float(what.rates.max()), np.finfo(np.float32).tiny)
    chosen = np.linspace(0, what.steps, min(width, what.steps + 1)).round().astype(int)
    for place, label in enumerate(what.labels):
        heights = np.clip(np.round(what.rates[place, chosen] / top * 7), 0, 7).astype(int)
        line = "".join(BLOCKS[height] for height in heights)
        numbers = (f"{what.at(share)[place]:.3g}" for share in shares)
        table.add_row(Text(label), line, *numbers)
    return table


def rescue(what: Rescue) -> Group:
    """One row for each treatment, the untreated first; then depths, where there are any."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    scored = any(np.isfinite(run.accuracy).any() for run in what.runs)
    table.add_column("treatment", no_wrap=True)
    accuracy = ["accu-\nracy"] if scored else []
    for name in ("rate", "success", what.step_name.replace(" ", "\n", 1), "median\nloss",
                 "worst\nloss", *accuracy, "steps\nclipped", "steps\nrefused"):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=True)
    for run in what.runs:
        style = "bold green" if run is what.best else "red" if run in what.untreated else None
        table.add_row(*rescue_row(run, scored), style=style)
    parts = [Text(what.headline(), style="bold"), Text(), table]
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


def by_depth(depths: tuple[Depths, ...]) -> Table:
    """Runs that succeed, and the median accuracy, at every depth."""
    table = Table(box=None, pad_edge=False)
    table.add_column("success (accuracy), layers:", no_wrap=True)
    for depth in depths[0].depths:
        table.add_column(str(depth), justify="right", no_wrap=True)
    for each in depths:
        cells = (
            f"{run.score.replace(' of ', '/')} ({100 * np.median(run.accuracy):.0f}%)"
            for run in each.runs
        )
        table.add_row(each.name, *cells)
    return table
