"""Cautious steps around SGD with momentum: Liang et al., arXiv:2411.16085, Algorithm 1.

The mask is divided by its mean, at least 1e-3, as in the authors' program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcopt
from tests.row import Row


def cautious_momentum(p, g, slots, t, lr, momentum=0.9):
    """One step; slot `trace`."""
    trace = momentum * (slots or {"trace": np.zeros_like(p)})["trace"] + g
    mask = (np.real(trace * np.conj(g)) > 0).astype(np.float64)
    return p - lr * trace * mask / max(mask.mean(), 1e-3), {"trace": trace}


def cautious(learning_rate: Any, momentum: Any = 0.9, axis_name: Any = None) -> Any:
    return funcopt.cautious(funcopt.sgd(learning_rate, momentum=momentum), axis_name=axis_name)


ROWS = [
    Row(
        "cautious",
        cautious,
        reference=cautious_momentum,
        slots=("trace",),
        acts_on="array",
        bounded=True,
        needs_params=True,
        wraps=True,
        optax_differs="optax has no such wrapper",
    ),
]
