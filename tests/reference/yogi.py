"""Yogi.

Zaheer et al., "Adaptive methods for nonconvex optimization", NeurIPS 2018, algorithm 2:

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    v_t = v_{t-1} − (1−β₂) sign(v_{t-1} − g_t²) g_t²
    θ_t = θ_{t-1} − η m̂_t / (sqrt(v̂_t) + ε)      m̂_t = m_t / (1 − β₁^t),  v̂_t = v_t / (1 − β₂^t)

The hats, and m_0 = v_0 = 1e-6, are those of optax.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import BETAS, MOMENTS, Row


def yogi(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-3):
    """One step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.full_like(p, 1e-6), "nu": np.full(np.shape(p), 1e-6)}
    square = np.abs(g) ** 2
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = slots["nu"] - (1 - b2) * np.sign(slots["nu"] - square) * square
    step = mu / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps)
    return p - lr * step, {"mu": mu, "nu": nu}


ROWS = [
    Row(
        "yogi",
        funcopt.yogi,
        reference=yogi,
        slots=MOMENTS,
        moves_on_zero_gradient=True,
        keeps_moving=True,
        scheduled={**BETAS, "eps": (1e-3, 1e-2)},
        optax=optax.yogi,
        optax_rounds=1e-5,
    ),
]
