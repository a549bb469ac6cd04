"""The picture of a range test: losses as the rate rises, and what they suggest."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from ..drawing.figures import COLOURS, MARKERS, headline, outside

if TYPE_CHECKING:
    from .range_test import RangeTest


def range_test(ax: Axes, test: "RangeTest") -> None:
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
