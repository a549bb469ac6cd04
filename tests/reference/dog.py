"""DoG and DoWG, of a tree as one vector.

Ivgi, Hinder & Carmon, arXiv:2302.12022, eq. 2; Khaled, Mishchenko & Jin, arXiv:2305.16284,
algorithm 1. Slot `average` is the polynomial-decay average of the points after each step.
"""

from __future__ import annotations

import numpy as np


def _averaged(slots, p, t, gamma):
    w = (1 + gamma) / (t + gamma)
    return (1 - w) * slots.get("average", 0) + w * p


def dog(p, g, slots, t, lr, start=1e-6, kind="heuristic", eps=1e-8, weight_decay=0.0, gamma=8.0):
    """One DoG step; slots `x0`, `r`, `G`, `average`."""
    slots = slots or {}
    g = g + weight_decay * p
    x0 = slots.get("x0", p)
    first = {
        "heuristic": start * (1 + np.linalg.norm(x0)),
        "distance": start,
        "learning_rate": 0.0,
    }[kind]
    r = max(slots.get("r", first), np.linalg.norm(p - x0))
    G = slots.get("G", 0.0) + np.sum(g**2)
    eta = r / np.sqrt(G + eps)
    if kind == "learning_rate" and t == 1:
        eta = start
    new = p - lr * eta * g
    return new, {"x0": x0, "r": r, "G": G, "average": _averaged(slots, new, t, gamma)}


def dowg(p, g, slots, t, lr, start=1e-4, eps=1e-4, weight_decay=0.0, gamma=8.0):
    """One DoWG step; slots `x0`, `r2`, `v`, `average`."""
    slots = slots or {}
    g = g + weight_decay * p
    x0 = slots.get("x0", p)
    r2 = max(slots.get("r2", start), np.sum((p - x0) ** 2))
    v = slots.get("v", 0.0) + r2 * np.sum(g**2)
    new = p - lr * r2 / (np.sqrt(v) + eps) * g
    return new, {"x0": x0, "r2": r2, "v": v, "average": _averaged(slots, new, t, gamma)}
