"""The picture of schedules over the steps of one run."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from ..drawing.figures import COLOURS, DASHES, headline, outside

if TYPE_CHECKING:
    from .schedule_curves import ScheduleCurves


def schedule_curves(ax: Axes, what: "ScheduleCurves") -> None:
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
