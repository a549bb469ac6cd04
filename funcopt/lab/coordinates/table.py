"""The table of a coordinate check."""

from typing import TYPE_CHECKING

from ..drawing.sheet import Sheet
from ..drawing.words import digits, plural

if TYPE_CHECKING:
    from .coordinate_check import CoordinateCheck

STYLES = {"steady": None, "grows": "red", "fades": "yellow", "unknown": "red"}


def coordinates(what: "CoordinateCheck") -> Sheet:
    """A line for each activation: its change at each width, the slope and the verdict."""
    rows = [
        [
            name,
            *(digits(float(change), 3) for change in what.changes[:, -1, place]),
            f"{what.slopes[name]:+.2f}",
            what.verdicts[name],
        ]
        for place, name in enumerate(what.names)
    ]
    return Sheet(
        heads=["activation", *map(str, what.widths), "slope", "verdict"],
        rows=rows,
        styles=[STYLES[what.verdicts[name]] for name in what.names],
        left=frozenset({"activation", "verdict"}),
        key="activation",
        title=what.headline(),
        notes=[
            f"Mean change of an activation after {plural(what.steps, 'step')}, by width, over "
            f"{plural(what.seeds, 'seed')}; it goes with width^slope."
        ],
    )
