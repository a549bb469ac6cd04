"""CAME.

Luo et al., "CAME: Confidence-guided Adaptive Memory Efficient Optimization", arXiv:2307.02047,
algorithm 2, for n rows and m columns:

    r_t = β₂ r_{t-1} + (1 − β₂) (g_t² + ε₁ 1_n 1_mᵀ) 1_m,   c_t = ... 1_nᵀ (g_t² + ε₁ 1_n 1_mᵀ)
    v_t = r_t c_t / 1_nᵀ r_t,   u_t = g_t / sqrt(v_t),   û_t = u_t / max(1, RMS(u_t) / d)
    m_t = β₁ m_{t-1} + (1 − β₁) û_t,   U_t = (û_t − m_t)²
    R_t = β₃ R_{t-1} + (1 − β₃) (U_t + ε₂ 1_n 1_mᵀ) 1_m,   C_t = ...,   S_t = R_t C_t / 1_nᵀ R_t
    θ_t = θ_{t-1} − η m_t / sqrt(S_t)

Sums are kept as means. Vectors have all of v, and no S, as in the authors' program.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import DECAY, Row


def factors(old, x, decay):
    """The means of rows and of columns, and their product over the mean."""
    row, col = (
        decay * mean + (1 - decay) * x.mean(axis, keepdims=True)
        for mean, axis in zip(old, (-1, -2), strict=True)
    )
    return row, col, row * col / row.mean(-2, keepdims=True)


def came(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    b2=0.999,
    b3=0.9999,
    eps=1e-30,
    weight_decay=0.0,
    eps_instability=1e-16,
    clipping_threshold=1.0,
):
    """One step; slots `mu`, `v_row`, `v_col`, `res_row`, `res_col`, or `mu` and `v`."""
    names = ("v_row", "v_col", "res_row", "res_col")
    old = [(slots or {}).get(name, 0.0) for name in names]
    squares = np.abs(g) ** 2 + eps
    if p.ndim < 2:
        v = b2 * (slots or {"v": 0.0})["v"] + (1 - b2) * squares
    else:
        *new, v = factors(old[:2], squares, b2)
    u = g / np.sqrt(v)
    if clipping_threshold is not None:
        u = u / max(1.0, np.sqrt(np.mean(np.abs(u) ** 2)) / clipping_threshold)
    m = b1 * (slots or {"mu": 0 * p})["mu"] + (1 - b1) * u
    if p.ndim < 2:
        return p - lr * (m + weight_decay * p), {"mu": m, "v": v}
    row, col, s = factors(old[2:], np.abs(u - m) ** 2 + eps_instability, b3)
    kept = dict(zip(names, (*new, row, col), strict=True))
    return p - lr * (m / np.sqrt(s) + weight_decay * p), {"mu": m, **kept}


ROWS = [
    Row(
        "came",
        funcopt.came,
        {"b3": 0.99},
        reference=came,
        keeps_moving=True,
        uneven=True,
        scheduled={
            "b1": (0.9, 0.6),
            "b2": (0.999, 0.9),
            "b3": (0.99, 0.9),
            "eps": (1e-30, 1e-2),
            "eps_instability": (1e-16, 1e-2),
            "clipping_threshold": (1.0, 0.3),
            **DECAY,
        },
        optax_differs="optax has no such optimizer",
    ),
]
