"""LaProp.

Ziyin et al., "LaProp: separating momentum and adaptivity in Adam", arXiv:2002.04839, algorithm 1,
with β₁, β₂ for its μ, ν:

    n_t = β₂ n_{t-1} + (1−β₂) g_t²
    m_t = β₁ m_{t-1} + (1−β₁) g_t / ( sqrt(n_t / (1 − β₂^t)) + ε )
    θ_t = θ_{t-1} − η m_t / (1 − β₁^t)

Decoupled decay is AdamW's.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import BETAS, DECAY, DECAYING, MOMENTS, Row


def laprop(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-15, weight_decay=0.0):
    """One LaProp step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    mu = b1 * slots["mu"] + (1 - b1) * g / (np.sqrt(nu / (1 - b2**t)) + eps)
    return p - lr * (mu / (1 - b1**t) + weight_decay * p), {"mu": mu, "nu": nu}


ROWS = [
    Row(
        "laprop",
        funcopt.laprop,
        reference=laprop,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled={**BETAS, **DECAY},
        optax_differs="optax has no such optimizer",
    ),
    Row(
        "laprop-decay",
        funcopt.laprop,
        {"b1": 0.95, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.3},
        reference=laprop,
        slots=MOMENTS,
        scheduled={**BETAS, "eps": (1e-3, 1e-2), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
