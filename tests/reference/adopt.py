"""ADOPT.

Taniguchi et al., "ADOPT: modified Adam can converge with any β₂ with the optimal rate",
arXiv:2411.02853, algorithm 2:

    v_0 = g_0²
    m_t = β₁ m_{t-1} + (1−β₁) clip(g_t / max(sqrt(v_{t-1}), ε), t^¼)      t = 1, 2, …
    θ_t = θ_{t-1} − η m_t
    v_t = β₂ v_{t-1} + (1−β₂) g_t²

Its g_0 is the gradient of the first update. Nesterov's look-ahead is optax's.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import MOMENTS, Row, block


def adopt(
    p, g, slots, t, lr, b1=0.9, b2=0.9999, eps=1e-6,
    *, nesterov=False, use_clipping=True, clip_value=None,
):  # fmt: skip
    """One ADOPT step; slots `mu` and `nu`."""
    if t == 1:
        return p, {"mu": np.zeros_like(p), "nu": np.abs(g) ** 2}
    c = g / np.maximum(np.sqrt(slots["nu"]), eps)
    if use_clipping:
        bound = (t - 1) ** 0.25 if clip_value is None else clip_value
        c = c * np.minimum(1, bound / np.maximum(np.abs(c), 1e-300))
    mu = b1 * slots["mu"] + (1 - b1) * c
    u = b1 * mu + (1 - b1) * c if nesterov else mu
    return p - lr * u, {"mu": mu, "nu": b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2}


SCHEDULED = {"b1": (0.9, 0.6), "b2": (0.9999, 0.95), "eps": (1e-6, 1e-2)}
ROWS = [
    Row(
        "adopt",
        funcopt.adopt,
        {"b2": 0.99},
        reference=adopt,
        slots=MOMENTS,
        silent_steps=1,
        keeps_moving=True,
        unfelt=("eps",),
        scheduled=SCHEDULED,
        optax=optax.contrib.adopt,
        optax_differs="for complex parameters: real and imaginary parts are clipped apart",
    ),
    Row(
        "adopt-nesterov",
        funcopt.adopt,
        {"b1": 0.7, "b2": 0.95, "eps": 1e-2, "nesterov": True, "clip_value": 1.5},
        reference=adopt,
        slots=MOMENTS,
        silent_steps=1,
        keeps_moving=True,
        scheduled={**SCHEDULED, "clip_value": (1.0, 2.0)},
        optax=optax.contrib.adopt,
        optax_kwargs={
            "b1": 0.7, "b2": 0.95, "eps": 1e-2, "nesterov": True, "clip_value_fn": lambda _: 1.5,
        },
        optax_differs="for complex parameters: real and imaginary parts are clipped apart",
    ),
    block(
        "scale_by_adopt",
        funcopt.scale_by_adopt,
        {"b2": 0.95, "eps": 1e-2, "use_clipping": False},
        reference=adopt,
        slots=MOMENTS,
        silent_steps=1,
        keeps_moving=True,
        scheduled=SCHEDULED,
        optax=optax.contrib.scale_by_adopt,
    ),
]  # fmt: skip
