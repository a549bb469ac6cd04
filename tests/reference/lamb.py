"""Trust ratios: LAMB.

You et al., "Large Batch Optimization for Deep Learning", arXiv:1904.00962, algorithm 2:

    m_t = β₁ m_{t-1} + (1 − β₁) g_t,   v_t = β₂ v_{t-1} + (1 − β₂) g_t²
    m̂_t = m_t / (1 − β₁ᵗ),   v̂_t = v_t / (1 − β₂ᵗ),   r_t = m̂_t / (sqrt(v̂_t) + ε)
    x_{t+1} = x_t − η_t φ(‖x_t‖) / ‖r_t + λ x_t‖ (r_t + λ x_t)

for each layer, with φ(z) = z; where a norm is 0, the ratio is 1.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, BETAS, DECAY, DECAYING, OTHER, POWERS, Row, block


def trusted(p, u, min_norm=0.0, trust_coefficient=1.0, eps=0.0):
    """What `u` is multiplied by."""
    size, length = (max(np.sqrt(np.sum(np.abs(x) ** 2)), min_norm) for x in (p, u))
    return trust_coefficient * size / (length + eps) if size > 0 and length > 0 else 1.0


def scale_by_trust_ratio(p, g, slots, t, lr, min_norm=0.0, trust_coefficient=1.0, eps=0.0):
    return p - lr * trusted(p, g, min_norm, trust_coefficient, eps) * g, {}


def lamb(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    """One step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    m = b1 * slots["mu"] + (1 - b1) * g
    v = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
    r = r + weight_decay * p
    return p - lr * trusted(p, r) * r, {"mu": m, "nu": v}


ROWS = [
    Row(
        "lamb",
        funcopt.lamb,
        reference=lamb,
        scheduled={**ADAM, **DECAY},
        keeps_moving=True,
        optax=optax.lamb,
        optax_rounds=POWERS,
        optax_float64=POWERS,
    ),
    Row(
        "lamb-decay",
        funcopt.lamb,
        {**OTHER, "weight_decay": 0.1},
        reference=lamb,
        scheduled=BETAS,
        optax=optax.lamb,
        optax_rounds=POWERS,
        optax_float64=POWERS,
        **DECAYING,
    ),
    block(
        "trust-ratio",
        funcopt.scale_by_trust_ratio,
        {"trust_coefficient": 0.5, "eps": 0.1},
        reference=scale_by_trust_ratio,
        scheduled={"trust_coefficient": (1.0, 0.3), "eps": (0.0, 0.2), "min_norm": (0.0, 3.0)},
    ),
]
