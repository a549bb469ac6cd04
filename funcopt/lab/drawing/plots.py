"""Pictures of what the lab found. matplotlib is imported here and in `rescue_plots`."""

import io
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..comparison.comparison import Comparison
from ..comparison.verdict import best_index, final_losses, middle, valley
from ..overview.catalogue import Catalogue
from ..range_test.range_test import RangeTest
from ..schedules.schedule_curves import ScheduleCurves
from ..search.sweep import Swept
from ..training.candidates import optimizers

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow is too pale for lines.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "h", "<", ">", "p", "d", "8", "H", "1", "2"]
DASHES = ["-", "--", ":"]
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "font.size": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "funcopt",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans", "sans-serif"],
}


T = TypeVar("T")


def on(ax: Axes | None, draw: Callable[[Axes, T], None], what: T) -> Axes:
    """Draw `what` on `ax`, or on the axes of a new figure."""
    with matplotlib.rc_context(STYLE):
        ax = blank().subplots() if ax is None else ax
        draw(ax, what)
    return ax


WIDE, NARROW = (8.0, 4.6), (4.3, 5.4)  # inches; the latter is read on a phone


def blank(size: tuple[float, float] = WIDE) -> Figure:
    return Figure(figsize=size, layout="constrained")


def is_narrow(ax: Axes) -> bool:
    """Whether there is no room beside the axes."""
    return inches(ax) < 6


def inches(ax: Axes) -> float:
    """How wide the axes are with what belongs to them: a figure, or its part of one."""
    figure = ax.get_figure()
    assert figure is not None
    width = float(figure.get_figure(root=True).get_size_inches()[0])
    return width if len(figure.axes) == 1 else width * ax.get_position().width


def draw_all(comparison: Comparison, size: tuple[float, float] = WIDE) -> dict[str, Figure]:
    """The three pictures of a comparison, by the name of their files."""
    pictures = {"loss_by_rate": valleys, "learning_curves": curves, "forgiveness": forgiveness}
    figures = {name: blank(size) for name in pictures}
    for name, draw in pictures.items():
        with matplotlib.rc_context(STYLE):
            draw(figures[name].subplots(), comparison)
    return figures


def write(figure: Figure, path: Path, title: str = "") -> None:
    """Write a picture; `title`, what it says, is kept among its metadata."""
    with matplotlib.rc_context(STYLE):
        svg = {"Date": None, "Creator": None}
        metadata = svg if path.suffix == ".svg" else {"Title": title} if title else {}
        figure.savefig(path, dpi=110, metadata=metadata)


def text(figure: Figure) -> str:
    """A picture as the text of an SVG file."""
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def look(comparison: Comparison, label: str) -> dict:
    """Colour, marker and dash of one optimizer, the same in every picture."""
    index = comparison.plan.labels.index(label)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def valleys(ax: Axes, comparison: Comparison) -> None:
    """Final loss against learning rate: median line, band over seeds, star at the best."""
    cap = comparison.cap
    first = comparison.verdicts[0]
    for verdict in reversed(comparison.verdicts):
        sweep = comparison.sweep(verdict.label)
        style = look(comparison, sweep.label)
        losses, line = final_losses(sweep), np.minimum(valley(sweep), cap)
        low, high = (np.minimum(edge, cap) for edge in (losses.min(0), losses.max(0)))
        ax.fill_between(sweep.rates, low, high, color=style["color"], alpha=0.12, linewidth=0)
        ax.plot(sweep.rates, line, label=sweep.label, markersize=3.5, linewidth=1.6, **style)
        lost = sweep.diverged.any(axis=0)
        ax.plot(sweep.rates[lost], np.full(lost.sum(), cap), "x", color=style["color"], zorder=4)
        best = best_index(sweep)
        if best is not None:
            at = (sweep.rates[best], line[best])
            size = 260 if verdict is first else 110
            ax.scatter(*at, s=size, marker="*", color=style["color"], edgecolor="white", zorder=5)
    level(ax, cap, capped(comparison.task.chance))
    if comparison.task.optimum is not None and comparison.task.scored == "training objective":
        level(ax, comparison.task.optimum, f"optimum {comparison.task.optimum:.3g}", below=True)
    ax.set_xscale("log")
    loss_axis(ax, comparison.task.scored)
    shape = comparison.plan.schedule
    ax.set_xlabel("learning rate" if shape == "constant" else f"peak learning rate ({shape})")
    headline(ax, *comparison.headline().split("; "), under=comparison.plan.description())
    legend(ax)


def curves(ax: Axes, comparison: Comparison) -> None:
    """Training loss of each optimizer at its best rate: median line, band over seeds."""
    known = comparison.task.chance is not None
    top = 4 * comparison.cap if known else highest(comparison)
    for verdict in reversed(comparison.verdicts):
        sweep = comparison.sweep(verdict.label)
        runs = comparison.best_curve(sweep)
        if runs is None:
            continue
        at, runs = thinned(sweep.at, np.where(np.isfinite(runs), runs, np.inf))
        style = look(comparison, sweep.label)
        low, high = (np.minimum(edge, top) for edge in (runs.min(0), runs.max(0)))
        ax.fill_between(at, low, high, color=style["color"], alpha=0.08, linewidth=0)
        line = np.minimum(middle(runs), top)
        label = f"{sweep.label} at {verdict.best_rate:.2g}"
        ax.plot(at, line, label=label, markevery=4, markersize=4, linewidth=1.6, **style)
    target = comparison.task.target
    if target is not None:
        level(ax, target, f"target {target:.3g}")
    loss_axis(ax, "training loss")
    ax.set_xlabel("step")
    headline(ax, fastest(comparison), under="each optimizer at its best learning rate")
    legend(ax)


def thinned(at: np.ndarray, runs: np.ndarray, most: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring points of learning curves averaged, so that at most `most` are left."""
    group = -(-len(at) // most)
    whole = len(at) // group * group
    return at[group - 1 : whole : group], runs[:, :whole].reshape(len(runs), -1, group).mean(-1)


def forgiveness(ax: Axes, comparison: Comparison) -> None:
    """Decades of learning rate within twice the best loss, one bar for each optimizer."""
    order = sorted(comparison.verdicts, key=lambda verdict: verdict.decades)
    for place, verdict in enumerate(order):
        color = look(comparison, verdict.label)["color"]
        ax.barh(place, verdict.decades, color=color, height=0.62)
        text = f"  {verdict.decades:.1f}, or × {factor(10**verdict.decades)}"
        text = text if verdict.decades > 0 else "  none"
        ax.annotate(text, (verdict.decades, place), va="center", fontsize=8.5, color="0.25")
    ax.set_yticks(range(len(order)), [verdict.label for verdict in order])
    ax.set_xlim(0, 1.45 * max(order[-1].decades, 0.1))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("decades of learning rate")
    widest = f"{order[-1].label} forgives the widest range of learning rates"
    headline(
        ax,
        widest if order[-1].decades > 0 else "No range of learning rates is good enough",
        under="how far the learning rate may be off while the loss stays within 2x of its best",
    )


def factor(number: float) -> str:
    """A factor as people say it: 1.8, 12, 340."""
    return f"{number:.1f}" if number < 9.95 else f"{float(f'{number:.2g}'):,.0f}"


def headline(ax: Axes, title: str, *more: str, under: str) -> None:
    """The answer as the title, and below it in grey what it is about; no line is too long."""
    room = 72 * inches(ax) - 50  # points from where the title begins
    lines = [line for text in (*more, under) for line in textwrap.wrap(text, int(room / 5.0))]
    ax.set_title("\n".join(textwrap.wrap(title, int(room / 6.6))), pad=9 + 13 * len(lines))
    ax.annotate("\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 7),
                textcoords="offset points", fontsize=9, color="0.35",
                linespacing=1.35)  # fmt: skip


def level(ax: Axes, height: float, text: str, *, below: bool = False) -> None:
    """A dashed line across the axes with a small note on it."""
    ax.axhline(height, color="0.55", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.annotate(text, (0.0, height), xycoords=("axes fraction", "data"),
                xytext=(6, -3 if below else 3), va="top" if below else "bottom",
                textcoords="offset points", fontsize=8, color="0.35", zorder=6,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5})  # fmt: skip


def capped(chance: float | None) -> str:
    """What the dashed line stands for."""
    if chance is None:
        return "diverged runs are drawn here as ×"
    return "guessing: worse runs are drawn here, diverged ones as ×"


def highest(comparison: Comparison) -> float:
    """The largest finite training loss at the best rates."""
    curves = [comparison.best_curve(sweep) for sweep in comparison.sweeps]
    found = [curve[np.isfinite(curve)] for curve in curves if curve is not None]
    return float(max((each.max() for each in found if each.size), default=1.0))


def fastest(comparison: Comparison) -> str:
    if comparison.task.target is None:
        return "Training loss over the steps"
    reached = [v for v in comparison.verdicts if v.steps_to_target is not None]
    if not reached:
        return f"No optimizer reaches a training loss of {comparison.task.target:.3g}"
    first = min(reached, key=lambda verdict: verdict.steps_to_target or math.inf)
    return f"{first.label} is first to a training loss of {comparison.task.target:.3g}: " + (
        f"{first.steps_to_target:.0f} steps"
    )


def loss_axis(ax: Axes, name: str) -> None:
    if ax.dataLim.y0 > 0:  # a loss that is no positive number has no logarithm
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel(name)
    ax.grid(axis="y", color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)


def legend(ax: Axes) -> None:
    """The optimizers from best to worst, outside the axes so that no curve is hidden."""
    handles, labels = ax.get_legend_handles_labels()
    outside(ax, handles[::-1], labels[::-1], title="best first")


def outside(ax: Axes, handles: list, labels: list, *, title: str) -> None:
    """A legend beside the axes, or below them where there is no room."""
    wide = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    columns = 2 if max(map(len, labels), default=0) < 20 else 1
    narrow = {"loc": "upper left", "bbox_to_anchor": (-0.05, -0.14), "ncols": columns}
    ax.legend(handles, labels, title=title, alignment="left",
              **(narrow if is_narrow(ax) else wide))  # fmt: skip


def state_sizes(ax: Axes, catalogue: Catalogue) -> None:
    """Bytes of optimizer state for each float32 parameter, one bar for each optimizer."""
    found = [entry for entry in catalogue.entries if entry.state_bytes is not None]
    found.sort(key=lambda entry: (-(entry.state_bytes or 0), entry.name), reverse=True)
    sizes = [entry.state_bytes or 0.0 for entry in found]
    ax.barh([entry.name for entry in found], sizes, color=COLOURS[0], height=0.62)
    for place, size in enumerate(sizes):
        ax.annotate(f" {size:g}", (size, place), va="center", fontsize=8.5, color="0.25")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("bytes of state for each float32 parameter")
    ax.set_title("What each optimizer remembers")


def response(ax: Axes, name: str) -> None:
    """The step an optimizer takes, in learning rates, when the gradient turns from 1 to -1."""
    rate, half = 1e-3, 60
    tx = optimizers()[name](rate)
    grads = jnp.concatenate([jnp.ones(half), -jnp.ones(half)])

    def one(carry, grad):
        param, state = carry
        update, state = tx.update(grad, state, param, value=1.0)  # some need a loss
        return (param + update, state), -update / rate

    start = jnp.zeros(())
    steps = np.asarray(jax.lax.scan(one, (start, tx.init(start)), grads)[1])
    at = np.arange(1, 2 * half + 1)
    ax.step(at, np.asarray(grads), color="0.7", linewidth=1.2, label="gradient", where="mid")
    ax.plot(at, steps, color=COLOURS[0], linewidth=1.8, label=f"{name}: step / learning rate")
    ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.set_xlabel("update")
    turned = np.flatnonzero(steps[half:] < 0)
    after = f"{turned[0] + 1} updates later" if turned.size else f"not within {half} updates"
    ax.set_title(f"The gradient turns round: {name} follows {after}")
    ax.legend(loc="lower left")


def range_test(ax: Axes, test: RangeTest) -> None:
    """Raw losses in grey, smoothed ones in blue with their median, and the suggestions."""
    ended = np.where(test.diverged_at < 0, len(test.rates), test.diverged_at)
    before = np.arange(len(test.rates)) < ended[:, None]
    shown = np.where(before, test.losses, np.nan)
    for curve in test.losses:
        ax.plot(test.rates, curve, color="0.82", linewidth=0.7, zorder=1)
    many = len(test.smoothed) > 1
    for curve in test.smoothed:
        width, alpha = (0.8, 0.45) if many else (2.2, 1.0)
        ax.plot(test.rates, curve, color=COLOURS[0], linewidth=width, alpha=alpha, zorder=2)
    if many:
        ax.plot(test.rates, median_while_most_go_on(test.smoothed), color=COLOURS[0],
                linewidth=2.2, zorder=3)  # fmt: skip
    if test.suggestion is not None and test.constant is not None:
        lines = [
            (test.suggestion, "-", 2.4, f"{test.suggestion:.2g}, decaying ({test.convention})"),
            (test.constant, "--", 2.0, f"{test.constant:.2g}, constant"),
        ]
        for rate, dash, width, label in lines:
            ax.axvline(rate, color=COLOURS[1], linestyle=dash, linewidth=width, label=label,
                       zorder=4)  # fmt: skip
        others = [each for each in test.by_convention.items() if each[0] != test.convention]
        for place, (name, rate) in enumerate(others):
            # Short and of unequal heights, since two of them are often at the same rate.
            ax.axvline(rate, 0, 0.22 - 0.06 * place, color=COLOURS[2 + place], linewidth=2.0,
                       marker=MARKERS[place], markevery=[1], label=f"{rate:.2g} by {name}",
                       zorder=4)  # fmt: skip
    raw, smoothed = shown[np.isfinite(shown)], test.smoothed[np.isfinite(test.smoothed)]
    if smoothed.size:
        # Single batches on the way to the divergence are far above all that is to be read.
        low = float(min(raw.min(), smoothed.min()))
        high = float(max(np.quantile(raw, 0.97), smoothed.max()))
        room = 0.05 * (high - low) or 0.1 * abs(high) or 0.1
        ax.set_ylim(low - room, high + room)
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("training loss")
    answer, *more = test.headline().split("; ")
    runs = "blue: smoothed" if not many else f"blue: smoothed, {len(test.losses)} seeds and median"
    headline(ax, answer[:1].upper() + answer[1:] if not test.what else answer, *more,
             under=f"grey: each batch; {runs}, until the loss diverges")  # fmt: skip
    if test.by_convention:
        outside(ax, *ax.get_legend_handles_labels(), title="suggestions")


def median_while_most_go_on(curves: np.ndarray) -> np.ndarray:
    """The median over seeds, NaN where most have none."""
    most = 2 * np.isfinite(curves).sum(axis=0) > len(curves)
    middle = np.full(curves.shape[1], np.nan)
    middle[most] = np.nanmedian(curves[:, most], axis=0)
    return middle


def swept(ax: Axes, what: Swept) -> None:
    """Loss against the one hyperparameter that was swept, or in colours against the first two."""
    losses = np.minimum(what.losses, what.cap)
    lost = ~np.isfinite(what.losses)
    first = what.points[:, 0]
    if len(what.names) == 1:
        order = np.argsort(first)
        ax.plot(first[order], losses[order], color=COLOURS[0], marker="o", markersize=4)
        ax.plot(first[lost], losses[lost], "x", color=COLOURS[1])
        level(ax, what.cap, capped(what.chance))
        loss_axis(ax, what.scored)
    else:
        second = what.points[:, 1]
        drawn = ax.scatter(first[~lost], second[~lost], c=np.log10(losses[~lost]), cmap="cividis_r")
        ax.plot(first[lost], second[lost], "x", color=COLOURS[1])
        figure = ax.get_figure()
        assert figure is not None
        figure.colorbar(drawn, ax=ax, label=f"log10 of the {what.scored}")
        if (second > 0).all():
            ax.set_yscale("log")
        ax.set_ylabel(what.names[1])
    if what.best is not None:
        best = what.order[0]
        height = losses[best] if len(what.names) == 1 else what.points[best, 1]
        ax.scatter(first[best], height, s=260, marker="*", color=COLOURS[2], edgecolor="white",
                   zorder=5)  # fmt: skip
    if (first > 0).all():
        ax.set_xscale("log")
    ax.set_xlabel(what.names[0])
    answer, *more = what.headline().split("; ")
    headline(ax, answer, *more, under=f"{len(first)} settings, {what.steps} steps each")


def schedule_curves(ax: Axes, what: ScheduleCurves) -> None:
    """Every schedule over the steps of the run."""
    steps = np.arange(what.steps + 1)
    for place, (label, rates) in enumerate(zip(what.labels, what.rates, strict=True)):
        ax.plot(steps, rates, label=label, color=COLOURS[place % len(COLOURS)], linewidth=1.8,
                linestyle=DASHES[place // len(COLOURS) % len(DASHES)])  # fmt: skip
    ax.set_xlabel("step")
    ax.set_ylabel("learning rate")
    ax.set_ylim(bottom=min(0.0, float(what.rates.min())))
    peak = f"the highest rate is {float(what.rates.max()):.3g}"
    one = len(what.labels) == 1
    title = what.labels[0] if one else f"{len(what.labels)} schedules"
    headline(ax, f"{title} over {what.steps:,} steps", under=peak)
    if not one:
        outside(ax, *ax.get_legend_handles_labels(), title="schedules")
