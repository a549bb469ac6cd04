"""Grokfast-EMA: Lee et al., arXiv:2405.20233, Algorithm 2."""

from __future__ import annotations

import funcopt
from tests.row import block


def grokfast(p, g, slots, t, lr, alpha=0.98, lamb=2.0):
    """One step; slot `ema`."""
    mean = alpha * slots["ema"] + (1 - alpha) * g if slots else g
    return p - lr * (g + lamb * mean), {"ema": mean}


ROWS = [
    block(
        "grokfast",
        funcopt.grokfast,
        {"alpha": 0.9},
        reference=grokfast,
        slots=("ema",),
        scheduled={"alpha": (0.98, 0.7), "lamb": (2.0, 0.5)},
        keeps_moving=True,
        optax_differs="optax has no such transformation",
    ),
]
