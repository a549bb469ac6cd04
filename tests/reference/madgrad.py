"""MADGRAD.

Defazio & Jelassi, "Adaptivity without compromise: a momentumized, adaptive, dual averaged gradient
method for stochastic optimization", arXiv:2101.11075, algorithm 1:

    λ_k = η sqrt(k + 1)
    s_{k+1} = s_k + λ_k g_k
    ν_{k+1} = ν_k + λ_k g_k²
    z_{k+1} = x_0 − s_{k+1} / ( cbrt(ν_{k+1}) + ε )
    x_{k+1} = (1 − c) x_k + c z_{k+1}

with c = 1 − momentum. The authors' program has η + ε for η, and adds λ x to g for decay.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row


def madgrad(p, g, slots, t, lr, momentum=0.9, weight_decay=0.0, eps=1e-6):
    """One MADGRAD step; slots `grad_sum_sq`, `s` and `x0`."""
    g = g + weight_decay * p
    weight = (lr + eps) * np.sqrt(t) if lr > 0 else 0.0
    slots = slots or {"grad_sum_sq": np.zeros(np.shape(p)), "s": np.zeros_like(p), "x0": p}
    squares = slots["grad_sum_sq"] + weight * np.abs(g) ** 2
    s = slots["s"] + weight * g
    z = slots["x0"] - s / (np.cbrt(squares) + eps)
    new = momentum * p + (1 - momentum) * z
    return new, {"grad_sum_sq": squares, "s": s, "x0": slots["x0"]}


# Sums round at every step, and their quotient is the way from the start.
SUMS = {"float32": 2e-6, "way_float32": 4e-6, "slots_float32": 8e-6}
ROWS = [
    Row(
        "madgrad",
        funcopt.madgrad,
        reference=madgrad,
        keeps_moving=True,
        looks_back=True,
        **SUMS,
        scheduled={"momentum": (0.9, 0.6), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.contrib.madgrad,
        optax_differs="for complex parameters: its squares are complex",
        optax_float64=5e-8,  # its √t is float32
    ),
    Row(
        "madgrad-decay",
        funcopt.madgrad,
        {"momentum": 0.7, "weight_decay": 0.1, "eps": 1e-3},
        reference=madgrad,
        looks_back=True,
        **SUMS,
        scheduled={"momentum": (0.9, 0.6), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.contrib.madgrad,
        optax_differs="for complex parameters: its squares are complex",
        optax_float64=5e-8,  # its √t is float32
        **DECAYING,
    ),
]
