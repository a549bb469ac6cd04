"""Dion2.

Ahn, Amsel & Langford, arXiv:2512.16928, algorithm 1, and the authors' program, where rows are
outputs; the same with columns where there are fewer of them:

    M_t = M_{t-1} + G_t
    K_t = the ⌈α rows⌉ rows of M_t with the largest 1-norm
    O_t = polar(M_t[K_t]),   M_t[K_t] ← μ M_t[K_t]
    θ_t = (1 − η λ) θ_{t-1},   θ_t[K_t] ← θ_t[K_t] − η sqrt(rows / columns) O_t
"""

from __future__ import annotations

import math

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.reference.muon import KELLER, polar
from tests.row import DECAY, DECAYING, Row

EXPRESS = (  # Amsel et al., arXiv:2505.16932, of a matrix over 1.02 times its norm
    (8.156554524902461 / 1.02, -22.48329292557795 / 1.02**3, 15.878769915207462 / 1.02**5),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def dion2(
    p,
    g,
    slots,
    t,
    lr,
    fraction=0.25,
    ef_decay=0.95,
    weight_decay=0.01,
    *,
    ns_coeffs=EXPRESS,
    ns_steps=5,
    ns_eps=1e-8,
    scaling="unit_rms",
    otherwise_rate=0.015,
):
    """One step of a matrix, slot `trace`; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    m = (slots or {"trace": np.zeros_like(g)})["trace"] + g
    inputs, outputs = p.shape
    axis = 1 if outputs <= inputs else 0
    norms = np.sum(np.abs(m), axis=1 - axis)
    used = np.argsort(-norms, kind="stable")[: max(1, math.ceil(fraction * p.shape[axis]))]
    chosen = np.isin(np.arange(p.shape[axis]), used)
    chosen = chosen[None, :] if axis else chosen[:, None]
    o = polar(np.where(chosen, m, 0), ns_coeffs, ns_steps, ns_eps)
    factor = outputs / inputs if scaling == "unit_rms" else 0.04 * max(inputs, outputs)
    p = p - lr * (factor**0.5 * o + weight_decay * p)
    return p, {"trace": np.where(chosen, ef_decay * m, m)}


ROWS = [
    Row(
        "dion2",
        funcopt.dion2,
        reference=dion2,
        scheduled={"ef_decay": (0.95, 0.5), **DECAY},
        uneven=True,
        float32=2e-5,  # of one row, whose singular value is 1, where 21 s³ is taken from 8 s
        way_float32=2e-5,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "dion2-half",
        funcopt.dion2,
        {
            "fraction": 0.5,
            "ef_decay": 0.7,
            "weight_decay": 0.0,
            "ns_coeffs": KELLER,
            "ns_eps": 1e-3,
            "otherwise_rate": 0.5,
        },
        reference=dion2,
        uneven=True,
        unfelt=("fraction",),
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
]
