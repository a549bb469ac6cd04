"""Generalized primal averaging around momentum, EMA-Nesterov around gradient descent.

Defazio et al., arXiv:2512.17131, with the decay of the base optimizer's own sequence z; Yau et al.,
arXiv:2605.25395, Algorithm 1.
"""

from __future__ import annotations

from typing import Any

import funcopt
from tests.row import Row


def gpa_sgd(p, g, slots, t, lr, mu_x=0.9, mu_y=0.7, weight_decay=0.0):
    """One step at y = p; slots `x` (to evaluate), `z`."""
    slots = slots or {"x": p, "z": p}
    z = slots["z"] - lr * (g + weight_decay * slots["z"])
    x = mu_x * slots["x"] + (1 - mu_x) * z
    return mu_y * x + (1 - mu_y) * z, {"x": x, "z": z}


def gpa_momentum(p, g, slots, t, lr, momentum=0.5, **numbers):
    """The same around momentum; slots `x`, `z`, `trace`."""
    trace = momentum * (slots["trace"] if slots else 0) + g
    y, after = gpa_sgd(p, trace, slots, t, lr, **numbers)
    return y, {**after, "trace": trace}


def ema_nesterov_sgd(p, g, slots, t, lr, look_ahead=0.5, decay=0.9):
    """One step at y = p; slots `x` (to evaluate), `mean_step`, `ahead`: y = x + ahead mean_step."""
    slots = slots or {"x": p, "mean_step": 0 * p, "ahead": 0.0}
    gone = slots["ahead"] * slots["mean_step"] - lr * g  # from x to the next
    m = decay * slots["mean_step"] + (1 - decay) * gone
    x = p - lr * g
    return x + look_ahead * m, {"x": x, "mean_step": m, "ahead": look_ahead}


def primal(learning_rate: Any, momentum: Any = 0.5, mu_x: Any = 0.9, mu_y: Any = 0.7) -> Any:
    return funcopt.gpa(funcopt.sgd(learning_rate, momentum), mu_x, mu_y)


def ahead(learning_rate: Any, look_ahead: Any = 0.5, decay: Any = 0.9, storage: Any = None) -> Any:
    return funcopt.ema_nesterov(funcopt.sgd(learning_rate), look_ahead, decay, storage=storage)


ROWS = [
    Row(
        "gpa",
        primal,
        reference=gpa_momentum,
        slots=("z", "trace"),
        needs_params=True,
        wraps=True,
        evaluated="x",
        scheduled={"mu_x": (0.9, 0.5), "mu_y": (0.7, 0.9)},
        optax_differs="optax has no such wrapper",
        way_float32=5e-6,  # the average is recovered from the parameters
        keeps_moving=True,
    ),
    Row(
        "ema-nesterov",
        ahead,
        reference=ema_nesterov_sgd,
        slots=("mean_step",),
        needs_params=True,
        wraps=True,
        keeps_moving=True,
        evaluated="x",
        scheduled={"decay": (0.9, 0.5), "look_ahead": (0.5, 0.2)},
        optax_differs="optax has no such wrapper",
    ),
]
