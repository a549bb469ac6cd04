"""Fromage.

Bernstein, Vahdat, Yue and Liu, "On the distance between two neural networks and the stability of
learning", arXiv:2002.03432, algorithm 1, for each layer:

    W ← 1 / sqrt(1 + η²) (W − η ‖W‖ / ‖g‖ g)

Norms are at least `min_norm`, as in optax; with 0 the gradient is as it is where one of them is 0.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row


def fromage(p, g, slots, t, lr, min_norm=1e-6):
    size, length = (max(np.linalg.norm(np.ravel(x)), min_norm) for x in (p, g))
    ratio = size / length if size > 0 and length > 0 else 1.0
    return (p - lr * ratio * g) / np.sqrt(1 + lr**2), {}


ROWS = [
    Row(
        "fromage",
        funcopt.fromage,
        reference=fromage,
        scheduled={"min_norm": (1e-6, 3.0)},
        unfelt=("min_norm",),
        moves_on_zero_gradient=True,
        keeps_moving=True,
        optax=optax.fromage,
    ),
    Row(
        "fromage-any-norm",
        funcopt.fromage,
        {"min_norm": 0.0},
        reference=fromage,
        moves_on_zero_gradient=True,
        keeps_moving=True,
        optax=optax.fromage,
    ),
]
