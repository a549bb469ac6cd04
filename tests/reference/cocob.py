"""COCOB-Backprop, for one array.

Orabona & Tommasi, arXiv:1705.07795, algorithm 2; L begins with eps.
"""

from __future__ import annotations

import numpy as np


def cocob(p, g, slots, t, lr, alpha=100.0, eps=1e-8, weight_decay=0.0):
    """One step, of which `lr` is the part that is gone; slots `x0`, `theta`, `L`, `G`, `R`."""
    zero = np.zeros_like(p)
    old = slots or {"x0": p, "theta": zero, "L": zero + eps, "G": zero, "R": zero}
    g = g + weight_decay * p
    L = np.maximum(old["L"], np.abs(g))
    G = old["G"] + np.abs(g)
    R = np.maximum(old["R"] - g * (p - old["x0"]), 0)
    theta = old["theta"] - g
    target = old["x0"] + theta / (L * np.maximum(G + L, alpha * L)) * (L + R)
    return p + lr * (target - p), {"x0": old["x0"], "theta": theta, "L": L, "G": G, "R": R}
