"""GaLore.

Zhao et al., arXiv:2403.03507, algorithms 1 and 2, for G of m rows and n columns, G = U S Vᵀ:

    each T steps, from the first on: P = the first r columns of U where m ≤ n, else of V
    R = Pᵀ G, or G P;   M = β₁ M + (1−β₁) R,   V = β₂ V + (1−β₂) R ⊙ R
    N = M / (1 − β₁ᵗ) / (sqrt(V / (1 − β₂ᵗ)) + ε)
    θ ← θ − η (α P N + λ θ), or with N Pᵀ

Of singular vectors, which are unique but for a factor of length 1, those with a positive largest
entry are taken. optax projects the longer side.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.reference.soap import upright
from tests.row import DECAY, DECAYING, Row


def galore(p, g, slots, t, lr, rank=128, update_proj_gap=200, scale=1.0, weight_decay=0.0, *,
           side="shorter", b1=0.9, b2=0.999, eps=1e-8):  # fmt: skip
    """One step; slots `basis_mu` and so on of a matrix, `mu` and `nu` of all else."""
    kept = slots or {}
    if np.ndim(p) != 2:
        mu, nu, u = adam(kept.get("mu", 0.0), kept.get("nu", 0.0), g, t, b1, b2, eps)
        return p - lr * (u + weight_decay * p), {"mu": mu, "nu": nu}
    inputs, outputs = p.shape
    left = inputs <= outputs if side == "shorter" else inputs >= outputs
    x, name = (g, "left_projector") if left else (g.conj().T, "right_projector")
    if (t - 1) % update_proj_gap == 0:
        projector = upright(np.linalg.svd(x, full_matrices=False)[0][:, :rank])
    else:
        projector = kept[name]
    low = projector.conj().T @ g if left else g @ projector
    mu, nu, u = adam(kept.get("basis_mu", 0.0), kept.get("basis_nu", 0.0), low, t, b1, b2, eps)
    u = scale * (projector @ u if left else u @ projector.conj().T)
    return p - lr * (u + weight_decay * p), {"basis_mu": mu, "basis_nu": nu, name: projector}


def adam(mu, nu, g, t, b1, b2, eps):
    mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * np.abs(g) ** 2
    return mu, nu, mu / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps)


# Singular vectors of near singular values turn with the last digits.
ROUNDED = {"float32": 5e-5, "way_float32": 1e-4, "slots_float32": 1e-2, "float64": 1e-12}
ROWS = [
    Row(
        "galore",
        funcopt.galore,
        {"rank": 2, "update_proj_gap": 7, "scale": 0.25},
        reference=galore,
        uneven=True,
        needs_params=True,
        scheduled={"scale": (1.0, 0.3), **DECAY},
        optax_differs="optax projects the longer side",
        keeps_moving=True,
        **ROUNDED,
    ),
    Row(
        "galore-longer",
        funcopt.galore,
        {"rank": 1, "weight_decay": 0.1, "side": "longer"},
        reference=galore,
        uneven=True,
        optax=contrib.galore,
        optax_kwargs={"rank": 1, "weight_decay": 0.1},
        optax_differs="optax finds singular vectors of the real part",
        optax_rounds=1e-4,
        optax_float64=1e-4,  # it finds singular vectors in float32
        **DECAYING,
        **ROUNDED,
    ),
]
