"""NorMuon.

Li et al., arXiv:2510.05491, and the authors' program, where rows are outputs:

    O_t = NS5(M_t), M_t as in Muon
    v_t = β₂ v_{t-1} + (1−β₂) mean_cols(O_t ⊙ O_t)
    Ô_t = O_t ⊘ (sqrt(v_t) + ε)
    θ_t = θ_{t-1} − η ( sqrt(max(1, rows / columns)) ‖O_t‖_F / (‖Ô_t‖_F + ε) Ô_t + λ θ_{t-1} )

A matrix here is [inputs, outputs], so that the mean is along axis 0.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.reference.muon import KELLER, mean_gradient, polar
from tests.row import DECAY, DECAYING, Row


def normuon(
    p,
    g,
    slots,
    t,
    lr,
    beta=0.95,
    b2=0.95,
    eps=1e-10,
    weight_decay=0.0,
    *,
    nesterov=True,
    ns_coeffs=KELLER,
    ns_steps=5,
    ns_eps=1e-7,
    otherwise_rate=0.015,
):
    """One step of a matrix, slots `trace` and `output_nu`; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    trace, m = mean_gradient(g, slots, beta, nesterov)
    o = polar(m, ns_coeffs, ns_steps, ns_eps)
    v = (slots or {"output_nu": np.zeros((1, p.shape[1]))})["output_nu"]
    v = b2 * v + (1 - b2) * np.mean(np.abs(o) ** 2, axis=0, keepdims=True)
    d = o / np.where(v == 0, 1, np.sqrt(v) + eps)
    u = max(1.0, p.shape[1] / p.shape[0]) ** 0.5 * np.linalg.norm(o) / (np.linalg.norm(d) + eps) * d
    return p - lr * (u + weight_decay * p), {"trace": trace, "output_nu": v}


ROUNDED = 5e-6  # squares of what five products of matrices have rounded

ROWS = [
    Row(
        "normuon",
        funcopt.normuon,
        reference=normuon,
        scheduled={"beta": (0.95, 0.8), "b2": (0.95, 0.7), "eps": (1e-10, 1e-2), **DECAY},
        uneven=True,
        slots_float32=ROUNDED,
        unfelt=("eps",),
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
    Row(
        "normuon-decay",
        funcopt.normuon,
        {
            "beta": 0.8,
            "b2": 0.7,
            "eps": 1e-2,
            "weight_decay": 0.1,
            "nesterov": False,
            "ns_eps": 1e-3,
            "otherwise_rate": 0.5,
        },
        reference=normuon,
        uneven=True,
        slots_float32=ROUNDED,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
