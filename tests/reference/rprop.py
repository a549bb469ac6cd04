"""Rprop without going back (iRprop⁻).

Riedmiller & Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
algorithm" (1993); Igel & Hüsken, "Improving the Rprop learning algorithm" (2000):

    g_t g_{t-1} > 0    Δ_t = min(η⁺ Δ_{t-1}, Δ_max)
    g_t g_{t-1} < 0    Δ_t = max(η⁻ Δ_{t-1}, Δ_min),   g_t = 0
    θ_t = θ_{t-1} − Δ_t sign(g_t)

Of g_{t-1} only the sign is kept.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import Row


def rprop(
    p, g, slots, t, lr, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0
):  # fmt: skip
    """One Rprop step; slots `step_sizes`, which begin as `lr`, and `prev_sign`."""
    slots = slots or {"step_sizes": np.full(np.shape(p), lr), "prev_sign": np.zeros_like(p)}
    agreement = np.real(g * np.conj(slots["prev_sign"]))
    factor = np.where(agreement > 0, eta_plus, np.where(agreement < 0, eta_minus, 1.0))
    sizes = np.clip(slots["step_sizes"] * factor, min_step_size, max_step_size)
    sign = np.where(agreement < 0, 0, np.sign(g))
    return p - sizes * sign, {"step_sizes": sizes, "prev_sign": sign}


LATE = "its every step comes one update later"
# A step size is a product of as many factors as there were steps.
PRODUCTS = {"float32": 2e-6, "way_float32": 2e-6}
ETAS = {"eta_minus": (0.5, 0.4), "eta_plus": (1.2, 1.4)}
ROWS = [
    Row(
        "rprop",
        funcopt.rprop,
        reference=rprop,
        fixed_rate=True,
        scheduled=ETAS,
        optax_differs=LATE,
        **PRODUCTS,
    ),
    Row(
        "rprop-bounded",
        funcopt.rprop,
        {"eta_minus": 0.4, "eta_plus": 1.4, "min_step_size": 0.01, "max_step_size": 0.1},
        reference=rprop,
        fixed_rate=True,
        scheduled={**ETAS, "min_step_size": (0.01, 0.02), "max_step_size": (0.1, 0.2)},
        optax_differs=LATE,
        **PRODUCTS,
    ),
]
