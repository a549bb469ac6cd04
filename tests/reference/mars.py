"""MARS's corrected gradient: Yuan et al., arXiv:2411.10438, Algorithm 1, approximate form."""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import block


def mars(p, g, slots, t, lr, gamma=0.025, b1=0.95, max_norm=1.0):
    """One step; slot `previous_gradient`."""
    previous = slots["previous_gradient"] if slots else g
    c = g + gamma * b1 / (1 - b1) * (g - previous)
    length = np.linalg.norm(c)
    return p - lr * c * min(1.0, max_norm / max(length, 1e-300)), {"previous_gradient": g}


ROWS = [
    block(
        "mars",
        funcopt.mars,
        {"gamma": 0.1, "max_norm": 3.0},
        reference=mars,
        slots=("previous_gradient",),
        scheduled={"gamma": (0.1, 0.02), "b1": (0.95, 0.8)},
        keeps_moving=True,
        optax_differs="optax has no such transformation",
    ),
]
