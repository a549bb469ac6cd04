"""Adam-mini.

Zhang et al., "Adam-mini: Use Fewer Learning Rates To Gain More", arXiv:2406.16793, algorithm 1, for
each block b of parameters:

    m = (1 − β₁) g + β₁ m,   m̂ = m / (1 − β₁ᵗ)
    v_b = (1 − β₂) mean(g_b ∘ g_b) + β₂ v_b,   v̂ = v_b / (1 − β₂ᵗ)
    p = p − η m̂ / (sqrt(v̂) + ε),   p = p − η λ p

Of an array with several axes each index of the last one is a block; other arrays are one.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import BETAS, DECAY, DECAYING, Row


def adam_mini(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, layer_axis=-1):
    """One step; slots `mu`, and `nu` with a number for each block."""
    whole = p.ndim < 2 or layer_axis is None
    axes = None if whole else tuple(i for i in range(p.ndim) if i != layer_axis % p.ndim)
    slots = slots or {"mu": 0 * p, "nu": 0.0}
    m = (1 - b1) * g + b1 * slots["mu"]
    v = (1 - b2) * np.mean(np.abs(g) ** 2, axes) + b2 * slots["nu"]
    of_each = v if axes is None else np.expand_dims(v, axes)
    u = m / (1 - b1**t) / (np.sqrt(of_each / (1 - b2**t)) + eps)
    return p - lr * (u + weight_decay * p), {"mu": m, "nu": np.asarray(v)}


ROWS = [
    Row(
        "adam-mini",
        funcopt.adam_mini,
        reference=adam_mini,
        keeps_moving=True,
        uneven=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-1), **DECAY},
        optax_differs="optax has no such optimizer",
    ),
    Row(
        "adam-mini-decay",
        funcopt.adam_mini,
        {"b1": 0.7, "b2": 0.95, "weight_decay": 0.1, "layer_axis": None},
        reference=adam_mini,
        uneven=True,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
