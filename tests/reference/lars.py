"""LARS.

You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks", arXiv:1708.03888,
algorithm 1, for each layer:

    λ = η ‖w‖ / (‖g‖ + β ‖w‖)
    v ← m v + γ λ (g + β w)
    w ← w − v

The slot is −v, as in optax. The variant of optax has ‖g + β w‖ in place of the sum of norms. Both
add ε to it.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row


def lars(
    p,
    g,
    slots,
    t,
    lr,
    weight_decay=0.0,
    trust_coefficient=0.001,
    eps=0.0,
    momentum=0.9,
    nesterov=False,
    variant="paper",
):
    """One step; slot `trace`."""
    w, n = np.linalg.norm(np.ravel(p)), np.linalg.norm(np.ravel(g))
    h, whole = g + weight_decay * p, n + weight_decay * w
    if variant == "optax":
        whole = n = np.linalg.norm(np.ravel(h))
    ratio = trust_coefficient * w / (whole + eps) if w > 0 and n > 0 else 1.0
    if momentum is None:
        return p - lr * ratio * h, {}
    v = momentum * -(slots or {"trace": 0 * p})["trace"] + lr * ratio * h
    return p - (lr * ratio * h + momentum * v if nesterov else v), {"trace": -v}


# The trace adds up steps, whose ratios are rounded, and which partly cancel.
SUMS = {"slots_float32": 4e-6}
HYPER = {"trust_coefficient": (1e-3, 1e-2), "eps": (0.0, 0.1), "momentum": (0.9, 0.5), **DECAY}
ROWS = [
    Row(
        "lars",
        funcopt.lars,
        {"weight_decay": 0.1, "trust_coefficient": 0.1},
        reference=lars,
        scheduled=HYPER,
        optax_differs="optax divides by the norm of the sum where parameters decay",
        **DECAYING,
        **SUMS,
    ),
    Row(
        "lars-optax",
        funcopt.lars,
        {"weight_decay": 0.1, "trust_coefficient": 0.1, "eps": 0.01, "variant": "optax"},
        reference=lars,
        scheduled=HYPER,
        optax=optax.lars,
        optax_kwargs={"weight_decay": 0.1, "trust_coefficient": 0.1, "eps": 0.01},
        **DECAYING,
        **SUMS,
    ),
    Row(
        "lars-nesterov",
        funcopt.lars,
        {"trust_coefficient": 0.3, "momentum": 0.7, "nesterov": True},
        reference=lars,
        keeps_moving=True,
        optax=optax.lars,
    ),
]
