"""Averages of SGD's points, in the form of a sum over all of them.

Polyak & Juditsky, doi.org/10.1137/0330046; Shamir & Zhang, arXiv:1212.1824, section 4; Kaddour,
arXiv:2209.14981; Tian et al., arXiv:2507.17634. The point that a step makes enters a slot with the
next one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcopt
from tests.row import Row


def averaged(
    points,
    decay=0.999,
    kind="ema",
    gamma=8.0,
    start=0,
    every=1,
    debias=False,
    warmup=False,
    window=5,
):
    """The average of `points`, of which the first is where the training began."""
    taken = [x for t, x in enumerate(points) if t > start and (t - start) % every == 0]
    if start >= len(points) - 1:
        return points[-1]
    if kind == "window" or not isinstance(kind, str):
        weights = (1,) * window if isinstance(kind, str) else kind
        latest = taken[-len(weights) :]
        weights = weights[-len(latest) :]
        return np.average(latest, axis=0, weights=weights) if taken else points[-1]
    if not taken:
        return points[start]
    n = np.arange(1, len(taken) + 1)
    if kind == "ema":
        kept = np.full(len(taken), decay, np.float64)
        kept = np.minimum(kept, (1 + n) / (10 + n)) if warmup else kept
        parts = (1 - kept) * [np.prod(kept[i:]) for i in n]
        rest = np.prod(kept)
        if debias:
            return np.tensordot(parts / parts.sum(), taken, 1)
        return np.tensordot(parts, taken, 1) + rest * points[start]
    gamma = 0.0 if kind == "uniform" else gamma
    shares = (gamma + 1) / (gamma + n)
    parts = shares * [np.prod(1 - shares[i:]) for i in n]
    return np.tensordot(parts, taken, 1)


def averaged_sgd(p, g, slots, t, lr, decay=0.9):
    """One step of SGD; slots `average`, of all points up to `p`, and `weight`, of the next one."""
    before, weight = (slots["average"], slots["weight"]) if slots else (p, 0.0)
    return p - lr * g, {"average": before + weight * (p - before), "weight": 1 - decay}


def windowed_sgd(p, g, slots, t, lr, weights):
    """One step of SGD; slot `points` is a ring of the latest points up to `p`."""
    points = slots["points"].copy() if slots else np.zeros((len(weights), *p.shape), p.dtype)
    if t > 1:
        points[(t - 2) % len(weights)] = p
    return p - lr * g, {"points": points}


def sgd_and_window(learning_rate: Any, kind: Any = (1.0, 2.0, 3.0), storage: Any = None) -> Any:
    return funcopt.average(funcopt.sgd(learning_rate), kind=kind, storage=storage)


def sgd_and_average(learning_rate: Any, decay: Any = 0.9, storage: Any = None) -> Any:
    return funcopt.average(funcopt.sgd(learning_rate), decay, storage=storage)


ROWS = [
    Row(
        "average",
        sgd_and_average,
        reference=averaged_sgd,
        slots=("average",),
        needs_params=True,
        wraps=True,
        scheduled={"decay": (0.9, 0.5)},
        optax_differs="optax leaves averages of parameters to the caller",
    ),
    Row(
        "average-window",
        sgd_and_window,
        reference=windowed_sgd,
        reference_kwargs={"weights": (1.0, 2.0, 3.0)},
        slots=("points",),
        needs_params=True,
        wraps=True,
        uneven=True,
        optax_differs="optax leaves averages of parameters to the caller",
    ),
]
