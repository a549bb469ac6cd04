"""AdaGrad, diagonal form.

Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
optimization", JMLR 12 (2011), figure 1 (composite mirror descent, no regulariser):

    s_t = s_{t-1} + g_t²,   s_0 = 0
    H_t = δ I + diag(s_t)^{1/2}
    θ_t = θ_{t-1} − η H_t^{-1} g_t

so δ (`eps`) stands outside the root. `eps_in_sqrt=True` is g / sqrt(s + eps), and 0 where s is 0;
s_0 is `initial_accumulator_value`.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row, block


def adagrad(p, g, slots, t, lr, initial_accumulator_value=0.1, eps=1e-7, *, eps_in_sqrt=True):
    """One AdaGrad step; slot `sum_of_squares`."""
    start = {"sum_of_squares": np.full(np.shape(p), float(initial_accumulator_value))}
    s = (slots or start)["sum_of_squares"] + np.abs(g) ** 2
    if eps_in_sqrt:
        root = np.sqrt(s + eps)
        u = np.where(s > 0, g / np.where(s > 0, root, 1.0), 0.0)
    else:
        u = g / (np.sqrt(s) + eps)
    return p - lr * u, {"sum_of_squares": s}


ROWS = [
    Row(
        "adagrad",
        funcopt.adagrad,
        reference=adagrad,
        rate=0.1,
        scheduled={"eps": (1e-7, 1e-2)},
        optax=optax.adagrad,
    ),
    Row(
        "adagrad-from-zero",
        funcopt.adagrad,
        {"initial_accumulator_value": 0.0, "eps": 1e-3},
        reference=adagrad,
        rate=0.1,
        scheduled={"eps": (1e-7, 1e-2)},
        optax=optax.adagrad,
    ),
    Row(
        "adagrad-outside",
        funcopt.adagrad,
        {"initial_accumulator_value": 0.0, "eps": 1e-10, "eps_in_sqrt": False},
        reference=adagrad,
        rate=0.1,
        scheduled={"eps": (1e-7, 1e-2)},
        optax_differs="optax adds eps inside the root only",
    ),
    block(
        "scale_by_rss",
        funcopt.scale_by_rss,
        reference=adagrad,
        scheduled={"eps": (1e-7, 1e-2)},
    ),
]
