"""Stochastic gradient descent, heavy ball and Nesterov momentum.

Robbins & Monro, "A stochastic approximation method" (1951); Polyak, "Some methods of speeding up
the convergence of iteration methods" (1964); Nesterov (1983) in the form of Bengio et al.,
"Advances in optimizing recurrent networks", arXiv:1212.0901.

    plain      θ_t = θ_{t-1} − η g_t
    momentum   b_t = μ b_{t-1} + g_t,   b_0 = 0
               θ_t = θ_{t-1} − η b_t
    Nesterov   θ_t = θ_{t-1} − η (g_t + μ b_t)

The Nesterov line is the paper's v_t = μ v_{t-1} − η g(θ + μ v) written for the point θ + μ v, where
the gradient is taken. With a rate that changes, a buffer of gradients (here) and the papers' buffer
of steps (η inside) are different algorithms.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row, block


def sgd(p, g, slots, t, lr, momentum=None, nesterov=False):
    """One step of gradient descent; the slot `trace` exists when `momentum` is given."""
    if momentum is None:
        return p - lr * g, {}
    trace = momentum * (slots or {"trace": np.zeros_like(p)})["trace"] + g
    u = g + momentum * trace if nesterov else trace
    return p - lr * u, {"trace": trace}


ROWS = [
    Row("sgd", funcopt.sgd, reference=sgd, optax=optax.sgd),
    Row(
        "sgd-momentum",
        funcopt.sgd,
        {"momentum": 0.9},
        reference=sgd,
        rate=0.02,
        keeps_moving=True,
        scheduled={"momentum": (0.5, 0.9)},
        optax=optax.sgd,
    ),
    Row(
        "sgd-nesterov",
        funcopt.sgd,
        {"momentum": 0.8, "nesterov": True},
        reference=sgd,
        rate=0.02,
        keeps_moving=True,
        scheduled={"momentum": (0.5, 0.9)},
        optax=optax.sgd,
    ),
    block(
        "trace",
        funcopt.trace,
        {"decay": 0.9},
        reference=sgd,
        reference_kwargs={"momentum": 0.9},
        keeps_moving=True,
    ),
    block(
        "trace-nesterov",
        funcopt.trace,
        {"decay": 0.9, "nesterov": True},
        reference=sgd,
        reference_kwargs={"momentum": 0.9, "nesterov": True},
        keeps_moving=True,
    ),
]
