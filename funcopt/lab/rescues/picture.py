"""The picture of a rescue: every treatment's losses and gradients, and the untreated run whole."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..comparison.verdict import middle
from ..drawing.figures import COLOURS, MARKERS, STYLE
from ..problems.traps import cliff_loss
from .treatments import CLIP, NONE

if TYPE_CHECKING:
    from .rescued import Rescue

RED, GREEN, GREY = "#B3372C", "#00795A", "#555555"
POINTS = 250
LEAST = 1e-20  # what zeros are drawn as


def draw(found: "Rescue") -> Figure:
    """A column for each treatment, losses above gradient norms; below them what explains it."""
    with matplotlib.rc_context(STYLE):
        columns = max(len(found.runs), 4)
        figure = Figure(figsize=(1.75 * columns + 0.6, 8.2), layout="constrained")
        rows = figure.add_gridspec(2, 1, height_ratios=[1.75, 1.35])
        small(rows[0], found)
        below = rows[1].subgridspec(1, 2, width_ratios=[1.25, 1.0])
        if found.paths:
            surface(figure.add_subplot(rows[1]), found)
        elif found.watched is not None and np.isfinite(found.watched.lag).any():
            lagging(figure.add_subplot(rows[1]), found)
        elif found.watched is not None:
            heat(figure, figure.add_subplot(below[0]), found)
            right = figure.add_subplot(below[1])
            if found.depths:
                by_depth(right, found)
            elif any(len(run.rates) for run in found.runs):
                by_rate(right, found)
            else:
                right.set_visible(False)
        room = int(72 * figure.get_figwidth() / 7.2)  # letters of this size
        title = "\n".join(textwrap.wrap(f"{found.task.name}: {found.headline()}", room))
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def small(place: SubplotSpec, found: "Rescue") -> None:
    """Small multiples: seeds thin, the median bold; green where most seeds succeed."""
    columns = max(len(found.runs), 4)
    grid = place.subgridspec(2, columns, height_ratios=[1.0, 0.75])
    panels: Any = grid.subplots(sharex="col", sharey="row")
    upper, lower = panels
    for ax in (*upper[len(found.runs) :], *lower[len(found.runs) :]):
        ax.set_visible(False)
    for column, run in enumerate(found.runs):
        good = 2 * run.solved.sum() > len(run.solved)
        colour = GREEN if good else RED
        curves(upper[column], run.losses, colour)
        curves(lower[column], run.norms, colour)
        name = run.name.replace("(", "\n(").replace(", ", ",\n")
        upper[column].set_title(name, fontsize=9, pad=18)
        upper[column].annotate(f"{run.score} succeed", (0, 1), xycoords="axes fraction",
                              xytext=(0, 5), textcoords="offset points", color=colour,
                              fontweight="bold", fontsize=9)  # fmt: skip
        lower[column].set_xlabel(f"step, at rate {run.rate:.2g}", fontsize=8.5)
        for ax in (upper[column], lower[column]):
            ax.tick_params(labelsize=8, labelleft=column == 0)
            ax.locator_params(axis="x", nbins=3)
    limits(upper[0], [run.losses for run in found.runs])
    limits(lower[0], [run.norms for run in found.runs])
    for ax, name in ((upper[0], "training loss"), (lower[0], "gradient norm")):
        ax.set_ylabel(name)
        in_words(ax)


def in_words(ax: Axes) -> None:
    """Numbers at a logarithmic axis: 2 and 5 too where it is short, and no powers there."""
    low, high = ax.get_ylim()
    if high / low < 100:
        many = (1, 2, 5) if high / low > 5 else (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8)
        ax.yaxis.set_major_locator(LogLocator(subs=many))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def curves(ax: Axes, values: np.ndarray, colour: str) -> None:
    """Each seed thin, the median bold; where a value is not finite the line ends in a cross."""
    at, shown = thinned(values)
    for line in shown:
        ax.plot(at, line, color=colour, alpha=0.3, linewidth=0.7)
        left = np.flatnonzero(~np.isfinite(line))
        if left.size and left[0] > 0:
            ax.plot(at[left[0] - 1], line[left[0] - 1], "x", color=colour, markersize=5)
    median = middle(np.where(np.isfinite(shown), shown, np.inf))
    ax.plot(at, np.where(np.isfinite(median), median, np.nan), color=colour, linewidth=2)
    ax.set_yscale("log")
    ax.set_xlim(0, values.shape[1])


def thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `POINTS` points of each row: the geometric mean of what lies between two."""
    steps = values.shape[1]
    edges = np.unique(np.linspace(0, steps, min(POINTS, steps) + 1).astype(int))
    with np.errstate(all="ignore"):
        logs = np.log(np.maximum(np.abs(values.astype(np.float64)), LEAST))
        means = np.add.reduceat(logs, edges[:-1], axis=1) / np.diff(edges)
        return (edges[:-1] + edges[1:] - 1) / 2, np.exp(means)


def limits(ax: Axes, curves: list[np.ndarray]) -> None:
    """Room for every treatment, not for what has left for infinity."""
    usual = [x[np.isfinite(x) & (x > 0)] for x in (thinned(values)[1] for values in curves)]
    ends = np.array([np.quantile(x, [0.01, 0.99]) for x in usual if x.size])
    if ends.size:
        low, high = max(ends[:, 0].min(), 1e-16), min(ends[:, 1].max(), 1e3 * np.median(ends[:, 1]))
        ax.set_ylim(low / 2, 2 * high)


def heat(figure: Figure, ax: Axes, found: "Rescue") -> None:
    """Layers over time of the untreated run: log10 of gradient norms."""
    watched = found.watched
    assert watched is not None
    seen = watched.health.readings
    shown = [i for i, ndim in enumerate(seen.ndims) if ndim >= 2] or list(range(len(seen.layers)))
    grid = np.ma.masked_invalid(np.where(np.isposinf(seen.grad), np.nan, seen.grad)[:, shown].T)
    steps = seen.run.step
    last = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#dddddd")
    image = ax.pcolormesh(np.append(steps, last), np.arange(len(shown) + 1) - 0.5, grid,
                          cmap=colours)  # fmt: skip
    ax.invert_yaxis()
    every = -(-len(shown) // 12)
    ax.set_yticks(range(0, len(shown), every), [seen.layers[i] for i in shown[::every]], fontsize=8)
    ax.tick_params(length=0)
    ax.set_xlabel("step")
    powers = FuncFormatter(lambda power, _: f"$10^{{{power:g}}}$")
    bar = figure.colorbar(image, ax=ax, pad=0.01, aspect=18, format=powers,
                          ticks=MaxNLocator(6, integer=True))  # fmt: skip
    bar.ax.set_title("norm", fontsize=8.5)
    bar.outline.set_visible(False)  # type: ignore[operator]
    grey = "; grey: zero or not finite" if np.ma.is_masked(grid) else ""
    title(ax, f"Gradients of layers, untreated at {watched.rate:.2g}",
          f"the monitor says {watched.line()}{grey}")  # fmt: skip


def title(ax: Axes, first: str, second: str) -> None:
    lines = textwrap.wrap(second, 78)
    ax.set_title(first, fontsize=10, pad=8 + 12 * len(lines))
    note = ax.annotate("\n".join(lines), (0, 1), xycoords="axes fraction", xytext=(0, 6),
                       fontsize=8.5, textcoords="offset points", color=GREY)  # fmt: skip
    note.set_in_layout(False)


def by_rate(ax: Axes, found: "Rescue") -> None:
    """The final loss at each rate that was tried, on the seeds for choosing."""
    chosen = [run for run in found.runs if len(run.rates)]
    chance: Any = found.task.chance
    cap = 2 * chance
    for place, (run, colour) in enumerate(zip(chosen, COLOURS, strict=False)):
        losses = np.minimum(run.choosing_losses, cap)
        # The first ones are wide, so that they are seen below others that are the same.
        look: Any = {"markersize": max(9 - 1.5 * place, 4), "linewidth": max(4 - 0.7 * place, 1.2)}
        ax.plot(run.rates, losses, color=colour, label=run.name, marker=MARKERS[place], **look)
        lost = ~np.isfinite(run.choosing_losses)
        ax.plot(run.rates[lost], losses[lost], "x", color=colour, markersize=9, zorder=5)
    ax.axhline(chance, color="0.55", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    ax.annotate("guessing", (0.99, chance), xycoords=("axes fraction", "data"),
                xytext=(0, 3), ha="right", textcoords="offset points", fontsize=8,
                color="0.4")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("final loss")
    in_words(ax)
    ax.legend(fontsize=8)
    title(ax, "How the rates were chosen", "medians of other seeds; × has diverged")


def by_depth(ax: Axes, found: "Rescue") -> None:
    """Accuracy over the number of layers."""
    for each, colour in zip(found.depths, COLOURS, strict=False):
        runs = np.array([run.accuracy for run in each.runs])
        ax.plot(each.depths, runs, color=colour, alpha=0.25, linewidth=0.6)
        ax.plot(each.depths, np.median(runs, axis=1), "o-", color=colour, label=each.name,
                linewidth=2)  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks(found.depths[0].depths, [str(depth) for depth in found.depths[0].depths])
    ax.set_xlabel("layers")
    ax.set_ylabel("test accuracy")
    ax.set_ylim(0, 1)
    ax.legend(fontsize=8, loc="lower left")
    title(ax, "The deeper, the harder", "median and each seed, every treatment at its own rate")


def surface(ax: Axes, found: "Rescue") -> None:
    """The error of the network of one unit, and the ways of one seed without and with a clip."""
    w = np.linspace(3.0, 7.0, 240)
    b = np.linspace(-4.0, 0.5, 240)
    at = jax.jit(jax.vmap(jax.vmap(cliff_loss, (0, None)), (None, 0)))
    errors = np.asarray(at(jnp.asarray(w, jnp.float32), jnp.asarray(b, jnp.float32)))
    levels = np.geomspace(1e-5, 0.5, 15)
    ax.contourf(b, w, np.clip(errors.T, 1e-5, 0.5), levels=levels, cmap="Greys",
                norm=LogNorm(1e-5, 50.0))  # fmt: skip
    for name, colour, mark in ((NONE, RED, "s"), (CLIP, "#0072B2", "o")):
        way = found.paths[name]
        label = "untreated" if name == NONE else "clipped"
        ax.plot(way[:, 0], way[:, 1], f"{mark}-", color=colour, markersize=3.5, linewidth=1.4,
                label=f"{label}, ends at b = {way[-1, 0]:.3g}, w = {way[-1, 1]:.3g}")  # fmt: skip
    ax.plot(*found.paths[NONE][0], "*", color="#E69F00", markersize=14, zorder=5)
    ax.annotate("start", found.paths[NONE][0], xytext=(8, 6), textcoords="offset points",
                fontweight="bold",
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})  # fmt: skip
    ax.set_xlim(b[0], b[-1])
    ax.set_ylim(w[0], w[-1])
    ax.set_xlabel("b")
    ax.set_ylabel("w")
    ax.legend(loc="lower left", frameon=True, framealpha=0.9)
    rate = found.watched.rate if found.watched is not None else math.nan
    jumps = [np.linalg.norm(np.diff(found.paths[name], axis=0), axis=1).max(initial=0)
             for name in (NONE, CLIP)]  # fmt: skip
    title(
        ax,
        f"The longest step is {jumps[0]:.2g} without a clip, {jumps[1]:.2g} with it",
        f"the error, white is low and dark is high; seed {found.seeds[0]}, rate {rate:.2g}",
    )


def lagging(ax: Axes, found: "Rescue") -> None:
    """The loss of the untreated run, and how far its second moment lags behind."""
    watched = found.watched
    assert watched is not None
    run = found.runs[0]
    losses = np.maximum(run.losses[0].astype(np.float64), 1e-20)
    ax.plot(np.arange(1, found.steps + 1), losses, color=RED, linewidth=0.8)
    ax.set_yscale("log")
    ax.set_xlim(0, found.steps)
    ax.set_xlabel("step")
    ax.set_ylabel("loss", color=RED)
    other = ax.twinx()
    other.plot(watched.at, watched.lag, color="#0072B2", linewidth=1.8)
    other.axhline(watched.health.thresholds.v_lag, color="#0072B2", linestyle=":", linewidth=1)
    other.set_ylabel("mean log g²/v", color="#0072B2")
    other.spines["right"].set_visible(True)
    alarm = watched.first.get("STALE SECOND MOMENT")
    spike = run.step[0]
    text = f"seed {watched.seed}, untreated; the monitor says stale below the dotted line, once "
    text += "gradients grow as well"
    if alarm is not None and math.isfinite(spike):
        for step, word, side in ((alarm, "alarm", "left"), (spike, "spike", "right")):
            ax.axvline(step, color="black", linewidth=1)
            ax.annotate(f" {word}, step {step:.0f} ", (step, 0.97), ha=side, va="top",
                        xycoords=("data", "axes fraction"), fontweight="bold")  # fmt: skip
        lead = f"The alarm comes {spike - alarm:,.0f} steps before the spike"
    else:
        lead = "The second moment lags behind the gradients"
    title(ax, lead, text)
