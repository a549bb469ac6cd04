"""DoG and DoWG, of a tree as one vector.

Ivgi, Hinder & Carmon, arXiv:2302.12022, eq. 2; Khaled, Mishchenko & Jin, arXiv:2305.16284,
algorithm 1. Slot `evaluated` is the polynomial-decay average of the points after each step,
`average` that of all of them but the last.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.row import DECAY, OWN_RATE, Row


def _averages(slots, x0, p, t, gamma):
    w = (1 + gamma) / (t + gamma)
    before = slots.get("evaluated", x0)
    return {"init_params": x0, "average": before, "evaluated": (1 - w) * before + w * p}


def dog(p, g, slots, t, lr, start=1e-6, kind="heuristic", eps=1e-8, weight_decay=0.0, gamma=8.0):
    """One DoG step; slots `init_params`, `r`, `G`, `average`, `evaluated`."""
    slots = slots or {}
    g = g + weight_decay * p
    x0 = slots.get("init_params", p)
    first = {
        "heuristic": start * (1 + np.linalg.norm(x0)),
        "distance": start,
        "learning_rate": 0.0,
    }[kind]
    r = max(slots.get("r", first), np.linalg.norm(p - x0))
    G = slots.get("G", 0.0) + np.sum(np.abs(g) ** 2)
    eta = r / np.sqrt(G + eps)
    if kind == "learning_rate" and t == 1:
        eta = start
    new = p - lr * eta * g
    return new, {"r": r, "G": G, **_averages(slots, x0, new, t, gamma)}


def dowg(p, g, slots, t, lr, start=1e-4, eps=1e-4, weight_decay=0.0, gamma=8.0):
    """One DoWG step; slots `init_params`, `r2`, `v`, `average`, `evaluated`."""
    slots = slots or {}
    g = g + weight_decay * p
    x0 = slots.get("init_params", p)
    r2 = max(slots.get("r2", start), np.sum(np.abs(p - x0) ** 2))
    v = slots.get("v", 0.0) + r2 * np.sum(np.abs(g) ** 2)
    new = p - lr * r2 / (np.sqrt(v) + eps) * g
    return new, {"r2": r2, "v": v, **_averages(slots, x0, new, t, gamma)}


ROWS = [
    Row(
        "dog",
        funcopt.dog,
        {"init_step": ("heuristic", 1e-3)},
        reference=dog,
        reference_kwargs={"start": 1e-3},
        rate=1.0,
        slots=("average", "init_params"),
        looks_back=True,
        wraps=True,
        scheduled=DECAY,
        optax=contrib.dog,
        acts_on="tree",
        needs_params=True,
        **OWN_RATE,
    ),
    Row(
        "dowg",
        funcopt.dowg,
        reference=dowg,
        rate=1.0,
        slots=("init_params",),
        looks_back=True,
        scheduled=DECAY,
        optax=contrib.dowg,
        acts_on="tree",
        needs_params=True,
        **OWN_RATE,
    ),
]
