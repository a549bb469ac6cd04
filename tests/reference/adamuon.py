"""AdaMuon.

Si, Zhang & Shen, arXiv:2507.11005, algorithm 1, and the authors' program:

    O_t = NS5(sign(M_t)), M_t as in Muon
    V_t = β V_{t-1} + (1−β) O_t ⊙ O_t
    Ô_t = O_t ⊘ (sqrt(V_t) + ε)
    θ_t = θ_{t-1} − η ( 0.2 sqrt(m n) / (‖Ô_t‖_F + ε) Ô_t + λ θ_{t-1} )
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.reference.muon import KELLER, mean_gradient, polar
from tests.row import DECAY, DECAYING, Row


def adamuon(
    p,
    g,
    slots,
    t,
    lr,
    beta=0.95,
    b2=None,
    eps=1e-8,
    weight_decay=0.01,
    *,
    nesterov=True,
    ns_coeffs=KELLER,
    ns_steps=5,
    ns_eps=1e-7,
    otherwise_rate=1.0,
):
    """One step of a matrix, slots `trace` and `polar_nu`; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    trace, m = mean_gradient(g, slots, beta, nesterov)
    o = polar(np.sign(m), ns_coeffs, ns_steps, ns_eps)
    b2 = beta if b2 is None else b2
    v = b2 * (slots or {"polar_nu": np.zeros(p.shape)})["polar_nu"] + (1 - b2) * np.abs(o) ** 2
    d = o / np.where(v == 0, 1, np.sqrt(v) + eps)
    u = 0.2 * p.size**0.5 / (np.linalg.norm(d) + eps) * d
    return p - lr * (u + weight_decay * p), {"trace": trace, "polar_nu": v}


ROUNDED = 1e-5  # squares of what five products of matrices have rounded

ROWS = [
    Row(
        "adamuon",
        funcopt.adamuon,
        reference=adamuon,
        scheduled={"beta": (0.95, 0.8), "b2": (0.95, 0.7), "eps": (1e-8, 1e-2), **DECAY},
        uneven=True,
        slots_float32=ROUNDED,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "adamuon-b2",
        funcopt.adamuon,
        {
            "beta": 0.8,
            "b2": 0.7,
            "eps": 1e-2,
            "weight_decay": 0.0,
            "nesterov": False,
            "ns_eps": 1e-3,
            "otherwise_rate": 0.5,
        },
        reference=adamuon,
        uneven=True,
        slots_float32=ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
]
