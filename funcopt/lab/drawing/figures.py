"""Figures, axes and their titles: what the lab's pictures share."""

import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
WIDE, NARROW = (8.0, 4.6), (4.3, 5.4)  # inches; the latter is read on a phone
T = TypeVar("T")


def on(ax: Axes | None, draw: Callable[[Axes, T], None], what: T) -> Axes:
    """Draw `what` on `ax`, or on the axes of a new figure."""
    with matplotlib.rc_context(STYLE):
        ax = blank().subplots() if ax is None else ax
        draw(ax, what)
    return ax


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


def loss_axis(ax: Axes, name: str) -> None:
    if ax.dataLim.y0 > 0:  # a loss that is no positive number has no logarithm
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel(name)
    ax.grid(axis="y", color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)


def outside(ax: Axes, handles: list, labels: list, *, title: str) -> None:
    """A legend beside the axes, or below them where there is no room."""
    wide = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    columns = 2 if max(map(len, labels), default=0) < 20 else 1
    narrow = {"loc": "upper left", "bbox_to_anchor": (-0.05, -0.14), "ncols": columns}
    ax.legend(handles, labels, title=title, alignment="left",
              **(narrow if is_narrow(ax) else wide))  # fmt: skip
