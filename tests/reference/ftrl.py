"""FTRL-Proximal.

McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1:

    w_{t,i} = 0                                                       if |z_i| ≤ λ₁
    w_{t,i} = −((β + √n_i) / α + λ₂)⁻¹ (z_i − sgn(z_i) λ₁)            otherwise

    σ_i = (√(n_i + g_i²) − √n_i) / α
    z_i ← z_i + g_i − σ_i w_{t,i}
    n_i ← n_i + g_i²
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import Row


def ftrl(p, g, slots, t, lr, beta=1.0, l1=0.0, l2=0.0, *, initial_accumulator_value=0.0):
    """One FTRL step; slots `n` and `z`."""
    start = np.full(np.shape(p), float(initial_accumulator_value))
    slots = slots or {"n": start, "z": np.zeros_like(p)}
    if lr == 0:
        return p, slots
    n = slots["n"] + np.abs(g) ** 2
    sigma = (np.sqrt(n) - np.sqrt(slots["n"])) / lr
    z = slots["z"] + g - sigma * p
    size, curvature = np.abs(z), (beta + np.sqrt(n)) / lr + l2
    sign = z / np.where(size > 0, size, 1)
    w = np.where(size > l1, -(z - sign * l1) / np.where(curvature > 0, curvature, 1), 0)
    return w, {"n": n, "z": z}


HYPER = {"beta": (1.0, 0.1), "l1": (0.1, 0.5), "l2": (0.0, 0.3)}
DIFFERS = "optax has no such optimizer"
ROWS = [
    Row(
        "ftrl",
        funcopt.ftrl,
        reference=ftrl,
        rate=0.5,
        looks_back=True,
        moves_on_zero_gradient=True,
        keeps_moving=True,
        scheduled=HYPER,
        optax_differs=DIFFERS,
    ),
    Row(
        "ftrl-sparse",
        funcopt.ftrl,
        {"beta": 0.3, "l1": 0.2, "l2": 0.1, "initial_accumulator_value": 0.1},
        reference=ftrl,
        rate=0.5,
        looks_back=True,
        moves_on_zero_gradient=True,
        keeps_moving=True,
        scheduled=HYPER,
        optax_differs=DIFFERS,
    ),
]
