"""Mechanic over SGD of rate `lr`, of a tree as one vector.

Cutkosky, Defazio & Mehta, arXiv:2306.00144, algorithm 1, with their later clip of h, or as their
PyTorch program has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcopt
from tests.row import Row


def mechanic_sgd(
    p,
    g,
    slots,
    t,
    lr,
    weight_decay=1e-2,
    eps=1e-8,
    s_init=1e-6,
    n=6,
    pytorch=False,
    recomputed=False,
):
    """One step; slots `x0`, `delta`, `r`, `m`, `v`, `s`.

    `recomputed`: Δ is what the parameters tell of it, (x₀ − x) / (Σ s + eps).
    """
    none = np.zeros(n)
    old = slots or {
        "x0": p,
        "delta": 0 * p,
        "r": none,
        "m": none + 1e-6 * pytorch,
        "v": none,
        "s": none,
    }
    betas = 1 - 10.0 ** -np.arange(1, n + 1)
    total = np.sum(old["s"])
    way = (old["x0"] - p) / (total + eps) if recomputed else old["delta"]
    at = p - lr * g if pytorch else p
    pull = weight_decay * total * np.linalg.norm(g) * at / (np.linalg.norm(at) + eps)
    h = np.vdot(g + pull, way).real
    won = h if pytorch else np.minimum(np.maximum(h, -old["m"]), old["m"])
    r = np.maximum(0, betas * old["r"] + won * old["s"])
    m = np.maximum(betas * old["m"], np.abs(h) + (0 if pytorch else eps))
    v = betas**2 * old["v"] + h**2
    s = (s_init / n * m + r) / (np.sqrt(v) + eps)
    delta = way + lr * g
    new = {"x0": old["x0"], "delta": delta, "r": r, "m": m, "v": v, "s": s}
    return old["x0"] - np.sum(s) * delta, new


def mechanized_sgd(
    learning_rate: Any,
    weight_decay: Any = 1e-2,
    eps: Any = 1e-8,
    s_init: Any = 1e-6,
    num_betas: int = 6,
    axis_name: Any = None,
    storage: Any = None,
) -> Any:
    base = funcopt.sgd(learning_rate)
    return funcopt.mechanize(
        base, weight_decay, eps, s_init, num_betas, axis_name=axis_name, storage=storage
    )


ROWS = [
    Row(
        "mechanic",
        mechanized_sgd,
        {"s_init": 1e-3},
        reference=mechanic_sgd,
        rate=0.5,
        slots=("x0", "delta"),
        wraps=True,
        looks_back=True,
        scheduled={"weight_decay": (0.0, 0.2)},
        way_float32=5e-6,
        optax_differs="optax recomputes the base optimizer's way from the parameters",
        acts_on="tree",
        needs_params=True,
    ),
]
