"""KL-SOAP and KL-Shampoo.

Lin et al., arXiv:2509.03378, and the authors' program, for G of m rows and n columns, where D(x) is
the diagonal matrix of x and c(m) = max(10, min(m, 4000)):

    G' = Q_Lᵀ G Q_R,   M = β₁ M + (1−β₁) G',   V = β₂ V + (1−β₂) G' ⊙ G'      from step 2 on
    θ ← θ − η Q_L (M / (sqrt(V) + ε)) Q_Rᵀ,   θ ← θ − η λ θ
    L = β L + (1−β) / n G Q_R D(1/b) Q_Rᵀ Gᵀ,   R = β R + (1−β) / m Gᵀ Q_L D(1/a) Q_Lᵀ G
    a_i = max(c(m)⁻², β a_i + (1−β) / n Σ_j G'_ij² / b_j),   b_j = max(c(n)⁻², ...)
    step 1: L = (1−β) / n G Gᵀ and so on, their eigenvectors, and a = b = 0.1
    each f steps: Q, _ = QR(L Q);   M is rotated to the new Q

KL-Shampoo: θ ← θ − η Q_L (M_ij / (sqrt(a_i b_j) + ε)) Q_Rᵀ, with a and b before this step.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.soap import ROUNDED, SIDES, adam, eigenvectors, qr
from tests.row import DECAY, DECAYING, Row


def sides(g, kept, bases, t, beta, frequency):
    """What is kept of both sides of a matrix of gradients."""
    new = {}
    both = zip(SIDES, g.shape, strict=True)
    values = [kept.get(f"{side}_values", np.full(n, 0.1)) for side, n in both]
    for axis, (x, n) in enumerate(zip((g, g.conj().T), g.shape, strict=True)):
        side, basis, other = SIDES[axis], bases[axis], bases[1 - axis]
        weights = 1 / values[1 - axis] if t > 1 else np.ones(x.shape[1])
        seen = x @ other @ np.diag(weights) @ other.conj().T @ x.conj().T / x.shape[1]
        mean = beta * kept.get(side, 0) + (1 - beta) * seen
        small = np.mean(np.abs(basis.conj().T @ x @ other) ** 2 * weights, 1)
        least = max(10, min(n, 4000)) ** -2.0
        value = np.maximum(least, beta * values[axis] + (1 - beta) * small)
        new |= {side: mean, f"{side}_values": value if t > 1 else values[axis]}
        if t == 1:
            basis = eigenvectors(mean)
        elif (t - 1) % frequency == 0:
            basis = qr(mean @ basis)
        new[f"{side}_basis"] = basis
    return new


def kl_soap(p, g, slots, t, lr, b1, b2, eps=1e-8, weight_decay=0.01, *, shampoo_beta=None,
            precondition_frequency=10, bias_correction=False, **_):  # fmt: skip
    """One step; slots `basis_mu` and so on of a matrix, `mu` and `nu` of all else."""
    kept, numbers = slots or {}, (t, b1, b2, eps, bias_correction)
    shrinking = 1 - lr * (0.0 if t == 1 else weight_decay)
    if np.ndim(p) != 2:
        mu, nu, u = adam(kept.get("mu", 0 * g), kept.get("nu", np.zeros(p.shape)), g, *numbers)
        return (p - lr * u) * shrinking, {"mu": mu, "nu": nu}
    left, right = (kept.get(f"{s}_basis", np.eye(n)) for s, n in zip(SIDES, p.shape, strict=True))
    mu, nu = kept.get("basis_mu", 0 * g), kept.get("basis_nu", np.zeros(p.shape))
    mu, nu, u = adam(mu, nu, left.conj().T @ g @ right, *numbers)
    p = (p - lr * left @ u @ right.conj().T) * shrinking
    beta = b2 if shampoo_beta is None else shampoo_beta
    new = sides(g, kept, (left, right), t, beta, precondition_frequency)
    mu = left @ mu @ right.conj().T
    mu = new["left_basis"].conj().T @ mu @ new["right_basis"]
    return p, {"basis_mu": mu, "basis_nu": nu, **new}


def kl_shampoo(p, g, slots, t, lr, b1=0.9, b2=0.98, eps=1e-8, weight_decay=0.01, *,
               precondition_frequency=10):  # fmt: skip
    """One step; slots `basis_trace` and so on of a matrix, `mu` and `nu` of all else."""
    if np.ndim(p) != 2:
        numbers = (b1, b2, eps, weight_decay)
        return kl_soap(p, g, slots, t, lr, *numbers, bias_correction=True)
    kept, (m, n) = slots or {}, p.shape
    left, right = kept.get("left_basis", np.eye(m)), kept.get("right_basis", np.eye(n))
    mean = kept.get("basis_trace", 0 * g)
    if t > 1:
        mean = b1 * mean + (1 - b1) * left.conj().T @ g @ right
        u = mean / (np.sqrt(np.outer(kept["left_values"], kept["right_values"])) + eps)
        p = (p - lr * left @ u @ right.conj().T) * (1 - lr * weight_decay)
    new = sides(g, kept, (left, right), t, b2, precondition_frequency)
    turned = new["left_basis"].conj().T @ left @ mean @ right.conj().T @ new["right_basis"]
    return p, {"basis_trace": turned, **new}


ROWS = [
    Row(
        "kl-shampoo",
        funcopt.kl_shampoo,
        {"precondition_frequency": 7},
        reference=kl_shampoo,
        scheduled={"b1": (0.9, 0.8), "b2": (0.98, 0.8), "eps": (1e-8, 1e-2), **DECAY},
        uneven=True,
        silent_steps=1,
        **{**ROUNDED, "float64": 5e-11},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "soap-kl",
        funcopt.soap,
        {"b1": 0.9, "b2": 0.98, "kl": True, "bias_correction": False},
        reference=kl_soap,
        scheduled={"b1": (0.9, 0.8), "b2": (0.98, 0.8), "eps": (1e-8, 1e-2), **DECAY},
        uneven=True,
        silent_steps=1,
        **{**ROUNDED, "float64": 5e-11},  # sides weigh each other, so that each rounds both
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
