"""SOAP.

Vyas et al., arXiv:2409.11321, algorithm 3, and the authors' program, whose first step only makes
the basis; s counts the others:

    G' = Q_Lᵀ G Q_R,   M = β₁ M + (1−β₁) G',   V = β₂ V + (1−β₂) G' ⊙ G'
    θ ← θ − η sqrt(1 − β₂^s) / (1 − β₁^s) Q_L (M / (sqrt(V) + ε)) Q_Rᵀ,   θ ← θ − η λ θ
    L = β L + (1−β) G Gᵀ,   R = β R + (1−β) Gᵀ G
    each f steps: V in the order of diag(Qᵀ L Q);   Q, _ = QR(L Q);   M is rotated to the new Q

Of the eigenvectors, which are unique but for a factor of length 1, those with a positive largest
entry are taken; and of QR's those with a positive diagonal of R.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import DECAY, DECAYING, Row


def eigenvectors(x):
    return upright(np.linalg.eigh(x)[1][:, ::-1])


def upright(q):
    top = q[np.argmax(np.abs(q), 0), np.arange(q.shape[1])]
    return q * np.abs(top) / top


def qr(x):
    q, r = np.linalg.qr(x)
    d = np.diag(r)
    return q * np.where(d == 0, 1, d / np.where(d == 0, 1, np.abs(d)))


def adam(mu, nu, g, t, b1, b2, eps, bias_correction):
    """Moments and direction of Adam, in whatever basis g is, from the second step on."""
    if t == 1:
        return mu, nu, np.zeros_like(g)
    mu, nu = b1 * mu + (1 - b1) * g, b2 * nu + (1 - b2) * np.abs(g) ** 2
    rate = (1 - b2 ** (t - 1)) ** 0.5 / (1 - b1 ** (t - 1)) if bias_correction else 1.0
    return mu, nu, rate * mu / np.where(nu > 0, np.sqrt(nu) + eps, 1)


def soap(p, g, slots, t, lr, b1=0.95, b2=0.95, eps=1e-8, weight_decay=0.01, *, shampoo_beta=None,
         precondition_frequency=10, max_precond_dim=10000, bias_correction=True,
         otherwise_rate=1.0):  # fmt: skip
    """One step; slots `basis_mu` and so on of a matrix, `mu` and `nu` of all else."""
    kept = slots or {}
    numbers = (t, b1, b2, eps, bias_correction)
    decay = 0.0 if t == 1 else weight_decay
    if np.ndim(p) != 2:
        rate, zero = lr * otherwise_rate, np.zeros(np.shape(p))
        mu, nu, u = adam(kept.get("mu", 0 * g), kept.get("nu", zero), g, *numbers)
        return (p - rate * u) * (1 - rate * decay), {"mu": mu, "nu": nu}
    bases = [kept.get(f"{side}_basis", np.eye(n)) for side, n in zip(SIDES, p.shape, strict=True)]
    left, right = bases
    mu, nu = kept.get("basis_mu", 0 * g), kept.get("basis_nu", np.zeros(p.shape))
    mu, nu, u = adam(mu, nu, left.conj().T @ g @ right, *numbers)
    p = (p - lr * left @ u @ right.conj().T) * (1 - lr * decay)
    mu, kept = left @ mu @ right.conj().T, {}
    for axis, x in enumerate((g, g.conj().T)):
        if len(x) > max_precond_dim:
            continue
        beta = b2 if shampoo_beta is None else shampoo_beta
        mean = beta * (slots or {}).get(SIDES[axis], 0) + (1 - beta) * x @ x.conj().T
        if t == 1:
            bases[axis] = eigenvectors(mean)
        elif (t - 1) % precondition_frequency == 0:
            order = np.argsort(-np.diag(bases[axis].conj().T @ mean @ bases[axis]).real)
            nu, bases[axis] = np.take(nu, order, axis), qr(mean @ bases[axis][:, order])
        kept |= {SIDES[axis]: mean, f"{SIDES[axis]}_basis": bases[axis]}
    mu = bases[0].conj().T @ mu @ bases[1]
    return p, {"basis_mu": mu, "basis_nu": nu, **kept}


SIDES = ("left", "right")
# Eigenvectors of near eigenvalues turn with the last digits, and small elements in their basis.
ROUNDED = {"float32": 5e-5, "way_float32": 1e-4, "slots_float32": 3e-2, "float64": 1e-12}
ROWS = [
    Row(
        "soap",
        funcopt.soap,
        reference=soap,
        scheduled={"b1": (0.95, 0.8), "b2": (0.95, 0.8), "eps": (1e-8, 1e-2), **DECAY},
        uneven=True,
        silent_steps=1,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "soap-one-side",
        funcopt.soap,
        {
            "b1": 0.8,
            "b2": 0.9,
            "eps": 1e-2,
            "weight_decay": 0.0,
            "shampoo_beta": 0.7,
            "precondition_frequency": 3,
            "max_precond_dim": 3,
            "otherwise_rate": 0.5,
        },
        reference=soap,
        uneven=True,
        silent_steps=1,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
]
