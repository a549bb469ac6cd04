"""Simplified AdEMAMix.

Morwani et al., "Connections between schedule-free optimizers, AdEMAMix, and accelerated SGD
variants", arXiv:2502.02431, as in the authors' program:

    m_t = β₁ m_{t-1} + g_t
    ν_t = β₂ ν_{t-1} + (1−β₂) g_t²,   ν̂_t = ν_t / (1 − β₂^t)
    θ_t = θ_{t-1} − η ( (m_t + α g_t) / (sqrt(ν̂_t) + ε) + λ θ_{t-1} )
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, DECAY, DECAYING, Row, block


def simplified_ademamix(
    p, g, slots, t, lr, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0, weight_decay=0.0
):
    """One step; slots `m` and `n`."""
    slots = slots or {"m": np.zeros_like(p), "n": np.zeros(np.shape(p))}
    m = b1 * slots["m"] + g
    n = b2 * slots["n"] + (1 - b2) * np.abs(g) ** 2
    u = (m + alpha * g) / (np.sqrt(n / (1 - b2**t) + eps_root) + eps)
    return p - lr * (u + weight_decay * p), {"m": m, "n": n}


SCHEDULED = {**ADAM, "alpha": (0.0, 4.0)}
DIFFERS = "for complex parameters: its squares are complex"
ROWS = [
    Row(
        "simplified_ademamix",
        funcopt.simplified_ademamix,
        reference=simplified_ademamix,
        rate=0.01,
        keeps_moving=True,
        scheduled={**SCHEDULED, **DECAY},
        optax=optax.contrib.simplified_ademamix,
        optax_differs=DIFFERS,
        optax_rounds=1e-5,
    ),
    Row(
        "simplified_ademamix-decay",
        funcopt.simplified_ademamix,
        {"b1": 0.8, "b2": 0.9, "alpha": 3.0, "eps": 1e-4, "eps_root": 1e-5, "weight_decay": 0.3},
        reference=simplified_ademamix,
        rate=0.01,
        scheduled={**SCHEDULED, **DECAY},
        optax=optax.contrib.simplified_ademamix,
        optax_differs=DIFFERS,
        **DECAYING,
    ),
    block(
        "scale_by_simplified_ademamix",
        funcopt.scale_by_simplified_ademamix,
        {"b1": 0.7, "alpha": 1.0},
        reference=simplified_ademamix,
        keeps_moving=True,
        scheduled=SCHEDULED,
        optax=optax.contrib.scale_by_simplified_ademamix,
        optax_differs=DIFFERS,
    ),
]
