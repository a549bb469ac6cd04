"""Lion (evolved sign momentum).

Chen et al., "Symbolic discovery of optimization algorithms", arXiv:2302.06675, algorithm 2:

    c_t = β₁ m_{t-1} + (1−β₁) g_t
    θ_t = θ_{t-1} − η ( sign(c_t) + λ θ_{t-1} )
    m_t = β₂ m_{t-1} + (1−β₂) g_t

sign(0) is 0; the sign of a complex number is c / |c|.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row, block


def lion(p, g, slots, t, lr, b1=0.9, b2=0.99, weight_decay=1e-3):
    """One Lion step; slot `mu`."""
    m = (slots or {"mu": np.zeros_like(p)})["mu"]
    u = np.sign(b1 * m + (1 - b1) * g)
    return p - lr * (u + weight_decay * p), {"mu": b2 * m + (1 - b2) * g}


ROWS = [
    Row(
        "lion",
        funcopt.lion,
        reference=lion,
        signs=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9), **DECAY},
        optax=optax.lion,
        **DECAYING,
    ),
    Row(
        "lion-strong-decay",
        funcopt.lion,
        {"b1": 0.95, "b2": 0.98, "weight_decay": 0.5},
        reference=lion,
        signs=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9), **DECAY},
        optax=optax.lion,
        **DECAYING,
    ),
    block(
        "scale_by_lion",
        funcopt.scale_by_lion,
        {"b2": 0.95},
        reference=lion,
        signs=True,
        reference_kwargs={"b2": 0.95, "weight_decay": 0.0},
        keeps_moving=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9)},
    ),
]
