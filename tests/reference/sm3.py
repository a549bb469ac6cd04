"""SM3.

Anil, Gupta, Koren and Singer, "Memory-Efficient Adaptive Optimization", arXiv:1901.11150,
algorithm SM3-II, where the sets S_r are the slices of an array along each of its axes:

    ν'_t(i) = min over r with i in S_r of μ'_{t-1}(r) + g_t²(i)
    w_{t+1}(i) = w_t(i) − η g_t(i) / sqrt(ν'_t(i))
    μ'_t(r) = max over i in S_r of ν'_t(i)

Steps are averaged, with decay β, and ε is inside the root, as in optax.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row


def sm3(p, g, slots, t, lr, momentum=0.9, eps=1e-8):
    """One step; slots `mu`, and `v_0`, `v_1` and so on with the number of the axis."""
    axes = range(max(p.ndim, 1))
    old = [slots[f"v_{i}"] if slots else np.zeros(()) for i in axes]
    nu = np.abs(g) ** 2 + np.minimum.reduce(np.broadcast_arrays(*old))
    u = np.divide(g, np.sqrt(nu + eps), out=np.zeros_like(g), where=nu > 0)
    mu = momentum * (slots or {"mu": 0 * p})["mu"] + (1 - momentum) * u
    others = [tuple(j for j in axes if j != i) for i in axes]
    kept = {f"v_{i}": nu.max(others[i], keepdims=True) if p.ndim else nu for i in axes}
    return p - lr * mu, {"mu": mu, **kept}


ROWS = [
    Row(
        "sm3",
        funcopt.sm3,
        reference=sm3,
        keeps_moving=True,
        uneven=True,
        bounded=True,
        scheduled={"momentum": (0.9, 0.5), "eps": (1e-8, 1e-2)},
        optax=optax.sm3,
        optax_differs="optax refuses complex parameters",
    ),
    Row(
        "sm3-plain",
        funcopt.sm3,
        {"momentum": 0.0, "eps": 0.0},
        reference=sm3,
        keeps_moving=False,
        uneven=True,
        bounded=True,
        optax_differs="optax has 1e-8 for eps",
    ),
]
