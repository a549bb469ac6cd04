"""SPlus.

Frans et al., arXiv:2506.07254, and the authors' program for optax, for G of m rows and n columns:

    M = β₁ M + (1−β₁) G
    θ ← θ − η 2 / (m + n) (Q_L sign(Q_Lᵀ M Q_R) Q_Rᵀ + λ θ)
    L = β₂ L + (1−β₂) G Gᵀ,   R = β₂ R + (1−β₂) Gᵀ G
    in the first step and in each f-th: the columns of Q_L, Q_R are the eigenvectors of L, R
    θ̄ = γ θ̄ + (1−γ) θ, to evaluate at θ̄ / (1 − γᵗ)

What is no matrix: θ ← θ − η c (sign(M) + λ θ). Here the mean is kept as Q_Lᵀ M Q_R.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.soap import ROUNDED, SIDES, eigenvectors
from tests.row import DECAY, DECAYING, Row


def splus(p, g, slots, t, lr, b1=0.9, b2=0.999, ema_rate=0.999, inverse_every=100,
          weight_decay=0.01, *, max_dim=10000, otherwise_rate=0.001):  # fmt: skip
    """One step; slots `basis_ema` and so on of a matrix, `ema` of all else, and `average`."""
    kept = slots or {}
    new = {} if ema_rate is None else averaged(kept, p, t, ema_rate)
    if np.ndim(p) != 2:
        mean = b1 * kept.get("ema", 0 * g) + (1 - b1) * g
        return p - lr * otherwise_rate * (sign(mean) + weight_decay * p), {**new, "ema": mean}
    bases = [kept.get(f"{side}_basis", np.eye(n)) for side, n in zip(SIDES, p.shape, strict=True)]
    (left, right), before = bases, kept.get("basis_ema", 0 * g)
    mean = b1 * left @ before @ right.conj().T + (1 - b1) * g
    factor = otherwise_rate if max(p.shape) > max_dim else 2 / sum(p.shape)
    u = left @ sign(left.conj().T @ mean @ right) @ right.conj().T
    p = p - lr * factor * (u + weight_decay * p)
    for axis, x in enumerate((g, g.conj().T)):
        if len(x) > max_dim:
            continue
        square = b2 * kept.get(SIDES[axis], 0) + (1 - b2) * x @ x.conj().T
        if t == 1 or t % inverse_every == 0:
            bases[axis] = eigenvectors(square)
        new |= {SIDES[axis]: square, f"{SIDES[axis]}_basis": bases[axis]}
    return p, {**new, "basis_ema": bases[0].conj().T @ mean @ bases[1]}


def sign(x):
    return x / np.where(x == 0, 1, np.abs(x))


def averaged(kept, p, t, ema_rate):
    """The average of what parameters were after each step before this one."""
    if t == 1:
        return {"average": p, "total": 0.0}
    total = ema_rate * kept["total"] + 1 - ema_rate
    mean = kept["average"] + (1 - ema_rate) / total * (p - kept["average"])
    return {"average": mean, "total": total}


ROWS = [
    Row(
        "splus",
        funcopt.splus,
        {"inverse_every": 7, "otherwise_rate": 0.1},
        reference=splus,
        rate=0.5,
        slots=("average", "basis_ema", "left", "right", "left_basis", "right_basis", "ema"),
        acts_on="matrix",
        needs_params=True,
        wraps=True,
        uneven=True,
        scheduled={"b1": (0.9, 0.6), **DECAY},
        optax_differs="optax has no such optimizer",
        **ROUNDED,
        **DECAYING,
    ),
    Row(
        "splus-no-average",
        funcopt.splus,
        {"b2": 0.9, "ema_rate": None, "inverse_every": 3, "weight_decay": 0.0, "max_dim": 3,
         "otherwise_rate": 0.05},
        reference=splus,
        rate=0.5,
        uneven=True,
        optax_differs="optax has no such optimizer",
        **ROUNDED,
        keeps_moving=True,
    ),
]  # fmt: skip
