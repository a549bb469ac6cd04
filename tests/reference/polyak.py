"""SGD with the stochastic Polyak step, of a tree as one vector.

Loizou et al., arXiv:2002.10542, eq. 3 (SPS_max); Garrigos et al., arXiv:2307.14528 (SPS₊).
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row


def polyak_sgd(p, g, slots, t, lr, value, scaling=1.0, f_min=0.0, eps=0.0, positive=False):
    """One step; `lr` is the largest step."""
    gap = max(value - f_min, 0.0) if positive else value - f_min
    square = np.sum(np.abs(g) ** 2) + eps
    return p - scaling * min(gap / square if square > 0 else 0.0, lr) * g, slots


ROWS = [
    Row(
        "polyak-sgd",
        funcopt.polyak_sgd,
        unfelt=("learning_rate",),
        reference=polyak_sgd,
        rate=1.0,
        own_rate=True,
        scheduled={"scaling": (1.0, 0.5), "f_min": (0.0, 0.5), "eps": (0.0, 0.1)},
        optax=optax.polyak_sgd,
    ),
]
