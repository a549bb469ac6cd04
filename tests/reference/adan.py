"""Adan.

Xie et al., "Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models",
arXiv:2208.06677, algorithm 1, with 1 − β for the paper's β:

    m_k = β₁ m_{k-1} + (1−β₁) g_k
    v_k = β₂ v_{k-1} + (1−β₂) (g_k − g_{k-1})
    n_k = β₃ n_{k-1} + (1−β₃) (g_k + β₂ (g_k − g_{k-1}))²
    θ_k = (1 + λη)⁻¹ ( θ_{k-1} − η (m̂_k + β₂ v̂_k) / (sqrt(n̂_k) + ε) )

g_0 is g_1. The hats divide by 1 − β^k. optax has 1 − β₂ in place of the factor β₂, and decays as
AdamW.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row, block


def adan(
    p, g, slots, t, lr, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0, weight_decay=0.0,
    *, variant="paper",
):  # fmt: skip
    """One Adan step; slots `m`, `v`, `n` and the last gradient `g`."""
    zeros = np.zeros_like(p)
    old = slots or {"m": zeros, "v": zeros, "n": np.zeros(np.shape(p)), "g": g}
    ahead = b2 if variant == "paper" else 1 - b2
    difference = g - old["g"]
    m = b1 * old["m"] + (1 - b1) * g
    v = b2 * old["v"] + (1 - b2) * difference
    n = b3 * old["n"] + (1 - b3) * np.abs(g + ahead * difference) ** 2
    u = m / (1 - b1**t) + ahead * v / (1 - b2**t)
    u = u / (np.sqrt(n / (1 - b3**t) + eps_root) + eps)
    slots = {"m": m, "v": v, "n": n, "g": g}
    if variant == "paper":
        return (p - lr * u) / (1 + lr * weight_decay), slots
    return p - lr * (u + weight_decay * p), slots


BETAS = {"b1": (0.98, 0.7), "b2": (0.92, 0.6), "b3": (0.99, 0.95)}
ADAN = {**BETAS, "eps": (1e-8, 1e-3), "eps_root": (0.0, 1e-4)}
DIFFERS = "its factor of differences is 1 - b2; `variant='optax'` has it"
ROWS = [
    Row(
        "adan",
        funcopt.adan,
        reference=adan,
        keeps_moving=True,
        scheduled={**ADAN, **DECAY},
        optax_differs=DIFFERS,
    ),
    Row(
        "adan-decay",
        funcopt.adan,
        {"b1": 0.7, "b2": 0.6, "b3": 0.95, "eps": 1e-4, "eps_root": 1e-5, "weight_decay": 0.3},
        reference=adan,
        scheduled={**ADAN, **DECAY},
        optax_differs=DIFFERS,
        **DECAYING,
    ),
    Row(
        "adan-optax",
        funcopt.adan,
        {"b2": 0.8, "eps_root": 1e-8, "weight_decay": 0.1, "variant": "optax"},
        reference=adan,
        scheduled={**ADAN, **DECAY},
        optax=optax.adan,
        optax_kwargs={"b2": 0.8, "weight_decay": 0.1},
        optax_rounds=1e-5,
        **DECAYING,
    ),
    block(
        "scale_by_adan",
        funcopt.scale_by_adan,
        {"b2": 0.8, "eps": 1e-4},
        reference=adan,
        keeps_moving=True,
        scheduled=ADAN,
        optax=None,
        optax_differs=DIFFERS,
    ),
]
