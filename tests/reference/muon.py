"""Muon.

Jordan et al., https://kellerjordan.github.io/posts/muon/, algorithm 2, and the authors' program:

    B_t = β B_{t-1} + (1−β) G_t,   M_t = β B_t + (1−β) G_t (Nesterov) or B_t
    X_0 = M_t / (‖M_t‖_F + ε),   X_{k+1} = a X_k + b (X_k X_kᵀ) X_k + c (X_k X_kᵀ)² X_k
    θ_t = θ_{t-1} − η ( sqrt(max(1, rows / columns)) X_5 + λ θ_{t-1} )

rows are outputs, as in PyTorch; a matrix here is [inputs, outputs]. By singular values, with
M = U S Vᵀ, X_5 = U p⁵(S / (‖S‖ + ε)) Vᵀ where p(s) = a s + b s³ + c s⁵, which is how it is
computed here. What is no matrix goes through AdamW at a fraction of η.

Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982, equation 4, instead multiply X by
0.2 sqrt(max(rows, columns)).
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.row import DECAY, DECAYING, Row

KELLER = (3.4445, -4.7750, 2.0315)
POLAR_EXPRESS = (  # Amsel et al., arXiv:2505.16932, rounded
    (8.1566, -22.4833, 15.8788),
    (4.0429, -2.8089, 0.5000),
    (3.8917, -2.7725, 0.5061),
    (3.2858, -2.3681, 0.4645),
    (2.3465, -1.7098, 0.4232),
)


def mean_gradient(g, slots, beta, nesterov):
    trace = beta * (slots or {"trace": np.zeros_like(g)})["trace"] + (1 - beta) * g
    return trace, beta * trace + (1 - beta) * g if nesterov else trace


def polar(m, ns_coeffs, ns_steps, eps):
    left, s, right = np.linalg.svd(m, full_matrices=False)
    s = s / (np.linalg.norm(s) + eps)
    triples = ns_coeffs if np.ndim(ns_coeffs) == 2 else [ns_coeffs] * ns_steps
    for a, b, c in triples:
        s = a * s + b * s**3 + c * s**5
    return (left * s) @ right


def muon(
    p,
    g,
    slots,
    t,
    lr,
    ns_coeffs=KELLER,
    ns_steps=5,
    beta=0.95,
    eps=1e-7,
    weight_decay=0.0,
    *,
    nesterov=True,
    scaling="keller",
    adjust=None,
    otherwise_rate=0.015,
):
    """One Muon step of a matrix, slot `trace`; one AdamW step of all else, slots `mu` and `nu`."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    trace, m = mean_gradient(g, slots, beta, nesterov)
    inputs, outputs = p.shape
    if adjust == "match_rms_adamw":
        scaling = "moonlight"
    factor = {
        "keller": max(1.0, outputs / inputs),
        "moonlight": 0.04 * max(inputs, outputs),
        "unit_rms": outputs / inputs,
        "spectral": max(inputs, outputs),
    }[scaling] ** 0.5
    o = polar(m, ns_coeffs, ns_steps, eps)
    return p - lr * (factor * o + weight_decay * p), {"trace": trace}


ROWS = [
    Row(
        "muon",
        funcopt.muon,
        reference=muon,
        scheduled={"beta": (0.95, 0.8), "eps": (1e-7, 1e-2), **DECAY},
        uneven=True,
        optax_differs="optax.contrib.muon has a rate for the rest and no layers in one leaf",
        keeps_moving=True,
        needs_params=True,
    ),
    Row(
        "muon-decay",
        funcopt.muon,
        {
            "beta": 0.8,
            "eps": 1e-3,
            "ns_steps": 3,
            "weight_decay": 0.1,
            "nesterov": False,
            "otherwise_rate": 0.5,
            "adjust": "match_rms_adamw",
        },
        reference=muon,
        uneven=True,
        optax_differs="optax.contrib.muon has a rate for the rest and no layers in one leaf",
        **DECAYING,
    ),
    Row(
        "muon-unit-rms",
        funcopt.muon,
        {"scaling": "unit_rms", "ns_coeffs": "deepseek", "ns_steps": 10},
        reference=muon,
        reference_kwargs={
            "scaling": "unit_rms",
            "ns_coeffs": [KELLER] * 8 + [(2.0, -1.5, 0.5)] * 2,
        },
        uneven=True,
        optax_differs="optax.contrib.muon has a rate for the rest and no layers in one leaf",
        keeps_moving=True,
    ),
    Row(
        "muon-polar-express",
        funcopt.muon,
        {"ns_coeffs": POLAR_EXPRESS},
        reference=muon,
        uneven=True,
        optax_differs="optax.contrib.muon has a rate for the rest and no layers in one leaf",
        keeps_moving=True,
        needs_params=True,
        float32=2e-6,  # it makes the smallest singular values 900 times as large
        way_float32=3e-6,
    ),
]
