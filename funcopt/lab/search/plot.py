"""The picture of a sweep: loss against what was swept."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from ..drawing.figures import COLOURS, capped, headline, level, loss_axis

if TYPE_CHECKING:
    from .sweep import Swept


def swept(ax: Axes, what: "Swept") -> None:
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
