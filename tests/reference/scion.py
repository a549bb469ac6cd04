"""Scion.

Pethick et al., arXiv:2502.07529, algorithm 2, and the authors' program with `norm="Auto"`:

    d_t = (1−α) d_{t-1} + α g_t
    v_t = ρ sqrt(rows / columns) NS5(d_t)      of a matrix, whose rows are outputs
        = ρ d_t / (RMS(d_t) + ε)               of a vector
    θ_t = (1−γ) θ_{t-1} − γ v_t                constrained; else θ_t = θ_{t-1} − γ v_t
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.muon import KELLER, polar
from tests.row import DECAYING, Row


def scion(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    radius=1.0,
    eps=1e-8,
    weight_decay=1.0,
    *,
    ns_coeffs=KELLER,
    ns_steps=5,
    ns_eps=1e-7,
    otherwise_radius=None,
):
    """One step: of a matrix, slot `trace`; of all else, slot `mu`."""
    name = "trace" if np.ndim(p) == 2 else "mu"
    d = b1 * (slots or {name: np.zeros_like(p)})[name] + (1 - b1) * g
    if name == "trace":
        v = radius * (p.shape[1] / p.shape[0]) ** 0.5 * polar(d, ns_coeffs, ns_steps, ns_eps)
    else:
        rms = np.sqrt(np.mean(np.abs(d) ** 2))
        radius = radius if otherwise_radius is None else otherwise_radius
        v = radius * (d / (rms + eps) if rms > 0 else d)
    return p - lr * (v + weight_decay * p), {name: d}


ROWS = [
    Row(
        "scion",
        funcopt.scion,
        reference=scion,
        scheduled={"b1": (0.9, 0.6), "radius": (1.0, 0.5), "eps": (1e-8, 1e-2)},
        uneven=True,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "scion-unconstrained",
        funcopt.scion,
        {
            "b1": 0.5,
            "radius": 3.0,
            "eps": 1e-2,
            "weight_decay": 0.0,
            "ns_eps": 1e-3,
            "otherwise_radius": 0.7,
        },
        reference=scion,
        uneven=True,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
]
