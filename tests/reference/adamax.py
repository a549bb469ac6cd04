"""AdaMax.

Kingma & Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm 2:

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    u_t = max(β₂ u_{t-1}, |g_t|)
    θ_t = θ_{t-1} − η / (1 − β₁^t) · m_t / u_t

The paper has no ε and divides 0 by 0 where every gradient so far was 0; here |g_t| + ε stands for
|g_t|, as in PyTorch and optax.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import BETAS, DECAY, DECAYING, Row, block


def adamax(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-8):
    """One AdaMax step; slots `mu` and `nu` (the decayed maximum)."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = np.maximum(b2 * slots["nu"], np.abs(g) + eps)
    return p - lr * (mu / (1 - b1**t)) / nu, {"mu": mu, "nu": nu}


def adamaxw(p, g, slots, t, lr, weight_decay=1e-4, **hyper):
    """One AdaMax step with decoupled decay, as AdamW's."""
    decayed = p - lr * weight_decay * p
    new, slots = adamax(p, g, slots, t, lr, **hyper)
    return new - p + decayed, slots


ROWS = [
    Row(
        "adamax",
        funcopt.adamax,
        reference=adamax,
        keeps_moving=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-3)},
        optax=optax.adamax,
    ),
    Row(
        "adamaxw",
        funcopt.adamaxw,
        {"b1": 0.8, "b2": 0.95, "eps": 1e-4, "weight_decay": 0.3},
        reference=adamaxw,
        scheduled={**BETAS, "eps": (1e-8, 1e-3), **DECAY},
        optax=optax.adamaxw,
        **DECAYING,
    ),
    block(
        "scale_by_adamax",
        funcopt.scale_by_adamax,
        {"b2": 0.95},
        reference=adamax,
        keeps_moving=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-3)},
    ),
]
