"""Hypergradient descent of SGD's rate, of a tree as one vector.

Baydin et al., arXiv:1703.04782, eqs. 5 and 8; the additive rate is kept from going below 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import funcopt
from tests.row import OWN_RATE, Row


def hypergradient_sgd(p, g, slots, t, lr, hyper_rate=0.02, additive=False):
    """One step; slots `alpha`, `last_direction`."""
    alpha, u = (slots["alpha"], slots["last_direction"]) if slots else (lr, np.zeros_like(p))
    h, size = np.vdot(g, u).real, np.linalg.norm(g) * np.linalg.norm(u)
    if additive:
        alpha = max(alpha + hyper_rate * h, 0.0)
    elif size > 0:
        alpha = alpha * (1 + hyper_rate * h / size)
    return p - alpha * g, {"alpha": alpha, "last_direction": g}


def adapted_sgd(
    learning_rate: Any,
    hyper_rate: Any = 0.02,
    variant: str = "multiplicative",
    axis_name: Any = None,
    storage: Any = None,
) -> Any:
    return funcopt.hypergradient(
        funcopt.identity(), learning_rate, hyper_rate, variant, axis_name=axis_name, storage=storage
    )


ROWS = [
    Row(
        "hypergradient",
        adapted_sgd,
        reference=hypergradient_sgd,
        rate=0.01,
        slots=("last_direction",),
        wraps=True,
        fixed_rate=True,
        optax_differs="optax has no such optimizer",
        acts_on="tree",
        needs_params=True,
        **OWN_RATE,
    ),
]
