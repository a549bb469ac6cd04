"""Averaged stochastic gradient descent.

Polyak & Juditsky, "Acceleration of stochastic approximation by averaging" (1992), with the rate,
the decay and the start of PyTorch:

    η_t = η / (1 + λ η (t−1))^α
    θ_t = θ_{t-1} − η_t (g_t + λ θ_{t-1})
    θ̄_t = θ̄_{t-1} + (θ_t − θ̄_{t-1}) / max(1, t − 1 − t₀)
"""

from __future__ import annotations

import funcopt
from tests.row import Row


def asgd(p, g, slots, t, lr, lambd=1e-4, alpha=0.75, t0=1_000_000):
    """One step; slot `average` is of all points before the new one."""
    weight = 1 / max(1, t - 2 - t0)
    average = slots["average"] + weight * (p - slots["average"]) if slots else p
    rate = lr / (1 + lambd * lr * (t - 1)) ** alpha
    return p - rate * (g + lambd * p), {"average": average}


ASGD = {
    "reference": asgd,
    "slots": ("average",),
    "needs_params": True,
    "wraps": True,
    "own_rate": True,
    "fixed_rate": True,
    "moves_on_zero_gradient": True,
    "keeps_moving": True,
    "optax_differs": "optax leaves averages of parameters to the caller",
}
ROWS = [
    Row("asgd", funcopt.asgd, {"lambd": 0.05, "t0": 5}, **ASGD),
    Row("asgd-from-the-start", funcopt.asgd, {"lambd": 0.3, "alpha": 0.6, "t0": 0}, **ASGD),
]
