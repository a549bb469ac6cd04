"""The picture of a report. matplotlib is imported here, and only when a picture is asked for."""

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

if TYPE_CHECKING:
    from .health import Health

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.5,
    "font.size": 9,
    "legend.frameon": False,
    "font.family": ["DejaVu Sans", "sans-serif"],
}
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
DARK_YELLOW = "#9a6700"
MOST_LABELS = 24
POWERS = FuncFormatter(lambda power, _: f"$10^{{{power:g}}}$")


def draw(health: "Health") -> Figure:
    """Three panels under a headline: layers over time, steps beside weights, and the norm."""
    seen = health.readings
    with matplotlib.rc_context(STYLE):
        rows = min(max(len(seen.layers), 8), 48)
        figure = Figure(figsize=(9.0, 4.6 + 0.11 * rows), layout="constrained")
        ratios = [1.1 + 0.045 * rows, 1.0, 1.0]
        top, middle, bottom = figure.subplots(3, 1, height_ratios=ratios)
        _heat(figure, top, health)
        _steps_beside_weights(middle, health)
        _norm_and_events(bottom, health)
        colour = RED if health.alarms else DARK_YELLOW if health.verdicts else GREEN
        headline = f"{health.verdict.upper()}   after {seen.steps} steps"
        figure.suptitle(headline, x=0.01, ha="left", fontweight="bold", color=colour)
    return figure


def _heat(figure: Figure, ax: Axes, health: "Health") -> None:
    """Layers x time, log10 of gradient norms; layers with a verdict have red names."""
    seen = health.readings
    ax.set_title("Norm of each layer's gradient")
    if not seen.grad.size:
        ax.text(0.5, 0.5, "nothing was measured yet", ha="center", transform=ax.transAxes)
        return
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="white", over=RED)
    grid = np.ma.masked_invalid(np.where(np.isposinf(seen.grad), 1e3, seen.grad).T)
    inside = seen.grad[np.isfinite(seen.grad)]
    low, high = (inside.min(), inside.max()) if inside.size else (-1.0, 0.0)
    image = ax.pcolormesh(
        _edges(seen.run.step), np.arange(len(seen.layers) + 1) - 0.5, grid,
        cmap=colours, vmin=low, vmax=max(high, low + 1),
    )  # fmt: skip
    ax.invert_yaxis()
    every = -(-len(seen.layers) // MOST_LABELS)
    shown = range(0, len(seen.layers), every)
    ax.set_yticks(list(shown), [_short(seen.layers[i]) for i in shown])
    told = {layer for verdict in health.verdicts for layer in verdict.layers}
    for i, label in zip(shown, ax.get_yticklabels(), strict=True):
        label.set_fontsize(8 if len(seen.layers) <= 16 else 6.5)
        if seen.layers[i] in told:
            label.set_color(RED)
    ax.tick_params(length=0)
    whole = MaxNLocator(5, integer=True)
    bar = figure.colorbar(image, ax=ax, pad=0.01, aspect=14, format=POWERS, ticks=whole)
    bar.ax.set_title("white: 0", fontsize=8, fontweight="normal")
    bar.outline.set_visible(False)  # type: ignore[operator]


def _steps_beside_weights(ax: Axes, health: "Health") -> None:
    seen = health.readings
    ax.set_title("Size of a step beside the weights: ‖update‖ / ‖weights‖, last layers lighter")
    matrices = seen.ndims >= 2 if (seen.ndims >= 2).any() else np.ones(len(seen.ndims), bool)
    ax.axhspan(-4, -2, color=GREEN, alpha=0.10, linewidth=0)
    ax.axhline(-3, color=GREEN, linewidth=1, alpha=0.7)
    lines = np.where(np.isfinite(seen.ratio), seen.ratio, np.nan)[:, matrices]
    known = lines[np.isfinite(lines)]
    if known.size:
        colours = matplotlib.colormaps["plasma"](np.linspace(0.05, 0.85, lines.shape[1]))
        mark = "." if len(seen.run.step) < 3 else None
        for line, colour in zip(lines.T, colours, strict=True):
            ax.plot(seen.run.step, line, color=colour, linewidth=1, marker=mark, alpha=0.9)
        ax.set_ylim(max(min(known.min(), -4.2) - 0.2, -9), max(known.max(), -1.8) + 0.2)
    ax.annotate("usual", (1, -3), xycoords=("axes fraction", "data"), va="bottom", ha="right",
                color=GREEN, fontsize=8)  # fmt: skip
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(POWERS)
    ax.set_xlim(*_span(seen))


def _norm_and_events(ax: Axes, health: "Health") -> None:
    """The global norm, of the whole run and in detail at its end, and what happened when."""
    seen = health.readings
    ax.set_title("Norm of the whole gradient, and what happened")
    for over, colour, width, label in (
        (seen.run, "#9db7cc", 1.0, "whole run"),
        (seen.last, BLUE, 1.4, "last steps"),
    ):
        norm = over.scalars["grad_norm"]
        ax.plot(over.step, np.where(np.isfinite(norm) & (norm > 0), norm, np.nan),
                color=colour, linewidth=width, label=label)  # fmt: skip
    ax.set_yscale("log")
    for over in (seen.run, seen.last):
        clipped = over.scalars["clip_ratio"] < 1
        if clipped.any():
            ax.plot(over.step[clipped], np.full(clipped.sum(), 0.04), "|", color=ORANGE, ms=7,
                    transform=ax.get_xaxis_transform())  # fmt: skip
    markers = {"spike": ("^", ORANGE), "skipped": ("v", "#666666")}
    named = set()
    for event in seen.events:
        marker, colour = markers.get(event.kind, ("x", RED))
        label = None if event.kind in named else event.kind
        named.add(event.kind)
        ax.plot(event.step, 0.93, marker, color=colour, ms=6, label=label, linestyle="",
                transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip
    if any((over.scalars["clip_ratio"] < 1).any() for over in (seen.run, seen.last)):
        ax.plot([], [], "|", color=ORANGE, ms=7, label="clipped")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=6, fontsize=8)
    ax.set_xlabel("step")
    ax.set_xlim(*_span(seen))


def _span(seen: Any) -> tuple[float, float]:
    edges = _edges(seen.run.step)
    return edges[0], max(edges[-1], seen.steps)


def _edges(steps: np.ndarray) -> np.ndarray:
    """Where the columns of a picture begin and end: each lasts until the next."""
    if not len(steps):
        return np.array([0.0, 1.0])
    last = steps[-1] + (steps[-1] - steps[-2] if len(steps) > 1 else 1)
    return np.append(steps, last).astype(float)


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]
