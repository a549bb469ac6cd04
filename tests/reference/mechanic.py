"""Mechanic over SGD of rate `lr`, of a tree as one vector.

Cutkosky, Defazio & Mehta, arXiv:2306.00144, algorithm 1, with their later clip of h.
"""

from __future__ import annotations

import numpy as np


def mechanic_sgd(p, g, slots, t, lr, weight_decay=1e-2, eps=1e-8, s_init=1e-6, n=6):
    """One step; slots `x0`, `delta`, `r`, `m`, `v`, `s`."""
    none = np.zeros(n)
    old = slots or {"x0": p, "delta": 0 * p, "r": none, "m": none, "v": none, "s": none}
    betas = 1 - 10.0 ** -np.arange(1, n + 1)
    total = np.sum(old["s"])
    pull = weight_decay * total * np.linalg.norm(g) * p / (np.linalg.norm(p) + eps)
    h = np.vdot(g + pull, old["delta"]).real
    r = np.maximum(0, betas * old["r"] + np.minimum(np.maximum(h, -old["m"]), old["m"]) * old["s"])
    m = np.maximum(betas * old["m"], np.abs(h) + eps)
    v = betas**2 * old["v"] + h**2
    s = (s_init / n * m + r) / (np.sqrt(v) + eps)
    delta = old["delta"] + lr * g
    new = {"x0": old["x0"], "delta": delta, "r": r, "m": m, "v": v, "s": s}
    return old["x0"] - np.sum(s) * delta, new
