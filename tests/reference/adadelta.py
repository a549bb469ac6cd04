"""Adadelta.

Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701, algorithm 1:

    E[g²]_t  = ρ E[g²]_{t-1} + (1−ρ) g_t²
    Δx_t     = − sqrt(E[Δx²]_{t-1} + ε) / sqrt(E[g²]_t + ε) · g_t
    E[Δx²]_t = ρ E[Δx²]_{t-1} + (1−ρ) Δx_t²
    x_{t+1}  = x_t + Δx_t

The paper has no learning rate (it is 1); E[Δx²] accumulates the step before the rate multiplies it.
`weight_decay` adds λθ to the gradient (the coupled form), which is what optax and PyTorch do.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row, block


def adadelta(p, g, slots, t, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """One Adadelta step; slots `e_g` and `e_x`."""
    slots = slots or {"e_g": np.zeros(np.shape(p)), "e_x": np.zeros(np.shape(p))}
    g = g + weight_decay * p
    e_g = rho * slots["e_g"] + (1 - rho) * np.abs(g) ** 2
    u = np.sqrt(slots["e_x"] + eps) / np.sqrt(e_g + eps) * g
    e_x = rho * slots["e_x"] + (1 - rho) * np.abs(u) ** 2
    return p - lr * u, {"e_g": e_g, "e_x": e_x}


ROWS = [
    Row(
        "adadelta",
        funcopt.adadelta,
        reference=adadelta,
        rate=1.0,
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.adadelta,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
    ),
    Row(
        "adadelta-decay",
        funcopt.adadelta,
        {"rho": 0.95, "eps": 1e-3, "weight_decay": 0.1},
        reference=adadelta,
        rate=1.0,
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.adadelta,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        # Where decay is the only gradient, slots inherit the rounding of a p that nears zero.
        slots_float32=1e-5,
        **DECAYING,
    ),
    block(
        "scale_by_adadelta",
        funcopt.scale_by_adadelta,
        {"rho": 0.95},
        reference=adadelta,
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3)},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
    ),
]
