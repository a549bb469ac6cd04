"""COCOB-Backprop, for one array.

Orabona & Tommasi, arXiv:1705.07795, algorithm 2; L begins with eps.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.row import DECAY, Row


def cocob(p, g, slots, t, lr, alpha=100.0, eps=1e-8, weight_decay=0.0):
    """One step, of which `lr` is the part that is gone; its slots are named as optax names them."""
    old = slots or {"cumulative_gradients": 0 * p, "scale": eps, "subgradients": 0, "reward": 0}
    x0 = old.get("init_particles", p)
    g = g + weight_decay * p
    L = np.maximum(old["scale"], np.abs(g))
    G = old["subgradients"] + np.abs(g)
    R = np.maximum(old["reward"] - (np.conj(g) * (p - x0)).real, 0)
    theta = old["cumulative_gradients"] - g
    target = x0 + theta / (L * np.maximum(G + L, alpha * L)) * (L + R)
    kept = {"init_particles": x0, "cumulative_gradients": theta, "scale": L, "subgradients": G}
    return p + lr * (target - p), {**kept, "reward": R}


ROWS = [
    Row(
        "cocob",
        funcopt.cocob,
        reference=cocob,
        rate=1.0,
        looks_back=True,
        scheduled={"alpha": (100.0, 10.0), **DECAY},
        optax=contrib.cocob,
        optax_differs="for complex parameters: optax's rewards are complex",
        way_float32=2e-6,
        slots_float32=2e-5,  # the reward is a difference of what was won and lost
    ),
]
