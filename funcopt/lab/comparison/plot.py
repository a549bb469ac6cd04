"""The pictures of a comparison: loss by rate, learning curves, forgiveness."""

import math
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..drawing.figures import (
    COLOURS,
    DASHES,
    MARKERS,
    STYLE,
    WIDE,
    blank,
    capped,
    headline,
    level,
    loss_axis,
    outside,
)
from .verdict import best_index, final_losses, middle, valley

if TYPE_CHECKING:
    from .comparison import Comparison


def draw_all(comparison: "Comparison", size: tuple[float, float] = WIDE) -> dict[str, Figure]:
    """The three pictures of a comparison, by the name of their files."""
    pictures = {"loss_by_rate": valleys, "learning_curves": curves, "forgiveness": forgiveness}
    figures = {name: blank(size) for name in pictures}
    for name, draw in pictures.items():
        with matplotlib.rc_context(STYLE):
            draw(figures[name].subplots(), comparison)
    return figures


def valleys(ax: Axes, comparison: "Comparison") -> None:
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


def curves(ax: Axes, comparison: "Comparison") -> None:
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


def forgiveness(ax: Axes, comparison: "Comparison") -> None:
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


def look(comparison: "Comparison", label: str) -> dict:
    """Colour, marker and dash of one optimizer, the same in every picture."""
    index = comparison.plan.labels.index(label)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def thinned(at: np.ndarray, runs: np.ndarray, most: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring points of learning curves averaged, so that at most `most` are left."""
    group = -(-len(at) // most)
    whole = len(at) // group * group
    return at[group - 1 : whole : group], runs[:, :whole].reshape(len(runs), -1, group).mean(-1)


def highest(comparison: "Comparison") -> float:
    """The largest finite training loss at the best rates."""
    curves = [comparison.best_curve(sweep) for sweep in comparison.sweeps]
    found = [curve[np.isfinite(curve)] for curve in curves if curve is not None]
    return float(max((each.max() for each in found if each.size), default=1.0))


def fastest(comparison: "Comparison") -> str:
    if comparison.task.target is None:
        return "Training loss over the steps"
    reached = [v for v in comparison.verdicts if v.steps_to_target is not None]
    if not reached:
        return f"No optimizer reaches a training loss of {comparison.task.target:.3g}"
    first = min(reached, key=lambda verdict: verdict.steps_to_target or math.inf)
    return f"{first.label} is first to a training loss of {comparison.task.target:.3g}: " + (
        f"{first.steps_to_target:.0f} steps"
    )


def factor(number: float) -> str:
    """A factor as people say it: 1.8, 12, 340."""
    return f"{number:.1f}" if number < 9.95 else f"{float(f'{number:.2g}'):,.0f}"


def legend(ax: Axes) -> None:
    """The optimizers from best to worst, outside the axes so that no curve is hidden."""
    handles, labels = ax.get_legend_handles_labels()
    outside(ax, handles[::-1], labels[::-1], title="best first")
