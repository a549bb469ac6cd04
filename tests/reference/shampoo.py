"""Shampoo.

Gupta, Koren & Singer, arXiv:1802.09568, algorithm 1, with the means, bias corrections and grafting
of Shi et al., arXiv:2309.06497, algorithms 2 and 3, and their program:

    L_t = β₂ L_{t-1} + (1−β₂) G_t G_tᵀ,   R_t = β₂ R_{t-1} + (1−β₂) G_tᵀ G_t     (or sums)
    M_t = (β₁ M_{t-1} + (1−β₁) G_t) / (1−β₁ᵗ)
    D_t = (L_t / (1−β₂ᵗ) + ε λmax I)^{-1/4} M_t (R_t / (1−β₂ᵗ) + ε λmax I)^{-1/4}
    θ_t = θ_{t-1} − η ( ‖A_t‖_F / ‖D_t‖_F D_t + λ θ_{t-1} ),   A_t the direction of a simpler method

for each block of a matrix. Roots are of every f-th step, from step s on; before it the step is A.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.row import DECAY, DECAYING, Row


def inverse_root(a, exponent, eps, relative):
    values, q = np.linalg.eigh(a)
    values = np.maximum(values, 0)
    if relative and values.max() == 0:
        return np.eye(len(a))
    return q * (values + eps * (values.max() if relative else 1)) ** -exponent @ q.conj().T


def shampoo(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.0, *, relative_eps=True,
            exponent=0.25, block_size=1024, precondition_frequency=10,
            start_preconditioning_step=None, graft="adam", graft_b2=0.999, graft_eps=1e-8,
            momentum=None, nesterov=False, otherwise_rate=1.0):  # fmt: skip
    """One step of a matrix; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, b1, graft_b2, graft_eps, weight_decay=weight_decay)
    size = block_size
    grid = [[slice(i, i + size) for i in range(0, n, size)] for n in p.shape]
    shape = [min(size, n) for n in p.shape]
    start = start_preconditioning_step or precondition_frequency
    kept = slots or first(p, grid, shape, graft)
    mu = b1 * kept["grad_mu"] + (1 - b1) * g
    new = {**kept, "grad_mu": mu, **{side: kept[side].copy() for side in SIDES}}
    m = simple = mu / (1 - b1**t)
    if "graft_nu" in kept:
        old, square = kept["graft_nu"], np.abs(g) ** 2
        nu = old + square if graft == "adagrad" else graft_b2 * old + (1 - graft_b2) * square
        root = np.sqrt(nu / (1 - graft_b2**t) if graft == "adam" else nu) + graft_eps
        new["graft_nu"], simple = nu, m / np.where(root > 0, root, 1)
    u = np.zeros_like(g)
    for k, rows in enumerate(grid[0]):
        for n, columns in enumerate(grid[1]):
            block = g[rows, columns]
            roots = []
            for side, x in (("left", block), ("right", block.conj().T)):
                full = new[side][k, n]
                inside = (slice(len(x)), slice(len(x)))
                a = full[inside] + x @ x.conj().T
                if b2 is not None:
                    a = b2 * full[inside] + (1 - b2) * x @ x.conj().T
                full[inside] = a
                a = full if b2 is None else full / (1 - b2**t)
                due = t == start or (t > start and t % precondition_frequency == 0)
                if due:
                    new[f"{side}_root"][k, n] = inverse_root(a, exponent, eps, relative_eps)
                roots.append(new[f"{side}_root"][k, n][inside])
            d, a = roots[0] @ m[rows, columns] @ roots[1], simple[rows, columns]
            if graft != "none":
                length = np.linalg.norm(d)
                d = a if t < start else np.linalg.norm(a) / (length if length > 0 else 1) * d
            u[rows, columns] = d
    if momentum is not None:
        trace = new["trace"] = momentum * kept.get("trace", 0) + u
        u = u + momentum * trace if nesterov else trace
    return p - lr * (u + weight_decay * p), new


SIDES = ("left", "right", "left_root", "right_root")


def first(p, grid, shape, graft):
    """The slots before the first step."""
    count = len(grid[0]), len(grid[1])
    found = {"grad_mu": np.zeros_like(p), "failures": np.zeros((2, *count))}
    for side, n in zip(("left", "right"), shape, strict=True):
        found[side] = np.zeros((*count, n, n), p.dtype)
        found[f"{side}_root"] = np.broadcast_to(np.eye(n, dtype=p.dtype), (*count, n, n)).copy()
    return found if graft in ("sgd", "none") else {**found, "graft_nu": np.zeros(p.shape)}


# A root takes the last digits of small eigenvalues to the fourth part of their number.
ROUNDED = {"float32": 1e-5, "way_float32": 2e-5, "slots_float32": 1e-3, "float64": 1e-12}
ROWS = [
    Row(
        "shampoo",
        funcopt.shampoo,
        {"precondition_frequency": 3},
        reference=shampoo,
        scheduled={"b1": (0.9, 0.6), "b2": (0.999, 0.9), "eps": (1e-6, 1e-2), **DECAY},
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
    Row(
        "shampoo-blocks",
        funcopt.shampoo,
        {
            "b1": 0.7,
            "b2": 0.9,
            "eps": 0.1,
            "weight_decay": 0.1,
            "relative_eps": False,
            "exponent": 0.3,
            "block_size": 2,
            "precondition_frequency": 2,
            "start_preconditioning_step": 5,
            "graft": "rmsprop",
            "graft_b2": 0.8,
            "graft_eps": 1e-3,
            "momentum": 0.5,
            "nesterov": True,
            "otherwise_rate": 0.5,
        },
        reference=shampoo,
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "shampoo-plain",
        funcopt.shampoo,
        {"b1": 0.5, "b2": None, "eps": 1e-3, "graft": "none", "precondition_frequency": 1},
        reference=shampoo,
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
]
