"""Hyperball and relative updates around momentum: Wen et al., arXiv:2606.16899.

W_{t+1} = R unit(W_t − η R unit(u_t)),  R = ‖W_0‖        of matrices; vectors go by −η u
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcopt
from tests.row import Row


def length(x):
    return np.sqrt(np.sum(np.abs(x) ** 2))


def hyperball(p, g, slots, t, lr, momentum=0.9):
    """One step of momentum on the sphere; slots `trace`, `radius`."""
    slots = slots or {"trace": 0 * p, "radius": length(p) if np.ndim(p) > 1 else 0.0}
    trace, radius = momentum * slots["trace"] + g, slots["radius"]
    step = -lr * trace
    after = p + step
    if radius and length(step):
        after = p + lr * radius * step / length(step)
        after = radius * after / length(after)
    return after, {"trace": trace, "radius": radius}


def relative_updates(p, g, slots, t, lr, momentum=0.9):
    """One step of momentum, relative to the matrix; slot `trace`."""
    trace = momentum * (slots["trace"] if slots else 0) + g
    step = -lr * trace
    if np.ndim(p) > 1 and length(step) and length(p):
        step = lr * length(p) * step / length(step)
    return p + step, {"trace": trace}


def on_spheres(
    learning_rate: Any, momentum: Any = 0.9, layer_axis: Any = None, axis_name: Any = None
) -> Any:
    inner = funcopt.sgd(learning_rate, momentum)
    return funcopt.hyperball(inner, layer_axis=layer_axis, axis_name=axis_name)


def relative(
    learning_rate: Any, momentum: Any = 0.9, layer_axis: Any = None, axis_name: Any = None
) -> Any:
    inner = funcopt.sgd(learning_rate, momentum)
    return funcopt.relative_updates(inner, layer_axis=layer_axis, axis_name=axis_name)


ROWS = [
    Row(
        "hyperball",
        on_spheres,
        reference=hyperball,
        keeps_moving=True,
        scheduled={"momentum": (0.9, 0.5)},
        optax_differs="optax has no such wrapper",
    ),
    Row(
        "relative-updates",
        relative,
        reference=relative_updates,
        keeps_moving=True,
        scheduled={"momentum": (0.9, 0.5)},
        optax_differs="optax has no such wrapper",
    ),
]
