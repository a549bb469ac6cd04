"""The table of a range test: what each convention suggests."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ..drawing.sheet import Sheet
from ..drawing.words import plural

if TYPE_CHECKING:
    from .range_test import RangeTest


def range_test(test: "RangeTest") -> Sheet:
    """One row for each convention, the one that is followed in bold."""
    rows, styles = [], []
    for name, rate in test.by_convention.items():
        runs = test.suggestions[name]
        ends = f"{np.nanmin(runs):.2g}–{np.nanmax(runs):.2g}"
        apart = f"{math.log10(rate / (test.suggestion or rate)):+.1f}"
        rows.append([name, f"{rate:.2g}", ends, apart])
        styles.append("bold" if name == test.convention else None)
    return Sheet(
        heads=["convention", "rate", "over seeds (min–max)", "decades from it"],
        rows=rows,
        styles=styles,
        left=frozenset({"convention"}),
        key="convention",
        title=test.headline(),
        notes=range_notes(test),
    )


def range_notes(test: "RangeTest") -> list[str]:
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
