"""The table of schedules: the shape of each, and its rate along the run."""

from typing import TYPE_CHECKING

import numpy as np

from ..drawing.sheet import Sheet
from ..drawing.words import BLOCKS, plural

if TYPE_CHECKING:
    from .schedule_curves import ScheduleCurves


def schedule_curves(what: "ScheduleCurves", points: int = 32) -> Sheet:
    """One row for each schedule: its shape, and its rate along the run."""
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    top = max(float(what.rates.max()), np.finfo(np.float32).tiny)
    chosen = np.linspace(0, what.steps, min(points, what.steps + 1)).round().astype(int)
    heights = np.clip(np.round(what.rates[:, chosen] / top * 7), 0, 7).astype(int)
    shape = f"rate over {plural(what.steps, 'step')}"
    return Sheet(
        heads=["schedule", shape, *(f"{share:.0%}" for share in shares)],
        rows=[
            [
                label,
                "".join(BLOCKS[height] for height in heights[place]),
                *(f"{what.at(share)[place]:.3g}" for share in shares),
            ]
            for place, label in enumerate(what.labels)
        ],
        styles=[None] * len(what.labels),
        left=frozenset({"schedule", shape}),
        key="schedule",
    )
