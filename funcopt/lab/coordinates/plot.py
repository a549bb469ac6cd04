"""The picture of a coordinate check: change against width."""

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..drawing.figures import COLOURS, MARKERS, headline, outside

if TYPE_CHECKING:
    from .coordinate_check import CoordinateCheck


def coordinates(ax: Axes, what: "CoordinateCheck") -> None:
    """The change after all steps against the width, both on logarithmic axes."""
    for place, name in enumerate(what.names):
        ax.plot(
            what.widths,
            what.changes[:, -1, place],
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
            markersize=4.5,
            linestyle="-" if what.verdicts[name] == "steady" else "--",
            label=f"{name}, {what.verdicts[name]}",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(what.widths)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda width, _: f"{width:.0f}"))
    ax.grid(axis="y", color="0.92", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.set_xlabel("width")
    ax.set_ylabel("mean change of an activation")
    outside(ax, *ax.get_legend_handles_labels(), title="activation")
    answer, *more = what.headline().split("; ")
    headline(ax, answer, *more, under=f"after {what.steps} steps; a flat line carries over")
