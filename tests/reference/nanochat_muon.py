"""nanochat's Muon.

Karpathy, github.com/karpathy/nanochat, nanochat/optim.py, where rows are outputs:

    M_t as in Muon;   row_i(M) ← (‖M‖_F / sqrt(rows)) row_i(M) / max(‖row_i(M)‖, 1e-6)
    O_t = polar(M);   O_t ← sqrt(min(rows, columns)) O_t / max(‖O_t‖_F, 1e-6)
    v_t = β₂ v_{t-1} + (1−β₂) mean(O_t ⊙ O_t), along columns where there are as many rows or more,
          else along rows
    D_t = O_t ⊘ sqrt(max(v_t, ε)),   D_t ← ‖O_t‖_F / max(‖D_t‖_F, ε) D_t
    η' = η sqrt(max(1, rows / columns)),   θ_t = θ_{t-1} − η' (D_t + λ θ_{t-1} [D_t ⊙ θ_{t-1} ≥ 0])
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.reference.dion2 import EXPRESS as EXPRESS_102
from tests.reference.muon import KELLER, mean_gradient, polar
from tests.row import DECAY, DECAYING, Row

A, B, C = EXPRESS_102[0]
R = 1.02 / 1.01
EXPRESS = ((A * R, B * R**3, C * R**5), *EXPRESS_102[1:])


def nanochat_muon(
    p,
    g,
    slots,
    t,
    lr,
    beta=0.95,
    b2=0.9,
    eps=1e-10,
    weight_decay=0.0,
    *,
    ns_coeffs=EXPRESS,
    ns_steps=5,
    ns_eps=1e-6,
    otherwise_rate=0.015,
):
    """One step of a matrix, slots `trace` and `side_nu`; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    trace, m = mean_gradient(g, slots, beta, True)
    inputs, outputs = p.shape
    rows = np.maximum(np.linalg.norm(m, axis=0, keepdims=True), 1e-6)
    o = polar(np.linalg.norm(m) / outputs**0.5 * m / rows, ns_coeffs, ns_steps, ns_eps)
    o = min(p.shape) ** 0.5 * o / max(np.linalg.norm(o), 1e-6)
    axis = 0 if outputs >= inputs else 1
    mean = np.mean(np.abs(o) ** 2, axis=axis, keepdims=True)
    v = b2 * (slots or {"side_nu": 0 * mean})["side_nu"] + (1 - b2) * mean
    d = o / np.sqrt(np.where(v > eps, v, eps if eps else 1))
    d = np.linalg.norm(o) / max(np.linalg.norm(d), eps or 1e-300) * d
    decay = weight_decay * p * ((d * np.conj(p)).real >= 0)
    p = p - lr * max(1.0, outputs / inputs) ** 0.5 * (d + decay)
    return p, {"trace": trace, "side_nu": v}


# Small singular values are made 900 times as large, and squares have what five products rounded.
ROUNDED = {"float32": 2e-6, "way_float32": 3e-6, "slots_float32": 5e-6}
ROWS = [
    Row(
        "nanochat-muon",
        funcopt.nanochat_muon,
        reference=nanochat_muon,
        scheduled={"beta": (0.95, 0.8), "b2": (0.9, 0.7), **DECAY},
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
    Row(
        "nanochat-muon-decay",
        funcopt.nanochat_muon,
        {
            "beta": 0.8,
            "b2": 0.7,
            "eps": 0.3,
            "weight_decay": 0.1,
            "ns_coeffs": KELLER,
            "ns_eps": 1e-3,
            "otherwise_rate": 0.5,
        },
        reference=nanochat_muon,
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
