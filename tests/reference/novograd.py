"""NovoGrad.

Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments", arXiv:1905.11286,
algorithm 1, for each layer:

    v_1 = ‖g_1‖²,   m_1 = g_1 / √v_1 + d w_1
    v_t = β₂ v_{t-1} + (1 − β₂) ‖g_t‖²
    m_t = β₁ m_{t-1} + (g_t / (√v_t + ε) + d w_t)
    w_{t+1} = w_t − λ_t m_t

ε is there at the first step, too, and optax's second one is inside the root.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, DECAY, DECAYING, Row


def novograd(p, g, slots, t, lr, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    """One step; slots `mu` and `nu`, a number."""
    square = np.sum(np.abs(g) ** 2)
    v = square if t == 1 else b2 * slots["nu"] + (1 - b2) * square
    u = g / (np.sqrt(v + eps_root) + eps) + weight_decay * p
    m = u if t == 1 else b1 * slots["mu"] + u
    return p - lr * m, {"mu": m, "nu": np.asarray(v)}


ROWS = [
    Row(
        "novograd",
        funcopt.novograd,
        reference=novograd,
        keeps_moving=True,
        uneven=True,
        scheduled={**ADAM, "b2": (0.25, 0.9), "eps": (1e-6, 1e-1), "eps_root": (0.0, 0.1), **DECAY},
        optax=optax.novograd,
    ),
    Row(
        "novograd-decay",
        funcopt.novograd,
        {"b1": 0.7, "b2": 0.9, "eps": 0.1, "eps_root": 0.1, "weight_decay": 0.1},
        reference=novograd,
        uneven=True,
        optax=optax.novograd,
        **DECAYING,
    ),
]
