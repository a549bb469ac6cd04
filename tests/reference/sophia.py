"""Sophia.

Liu et al., "Sophia: a scalable stochastic second-order optimizer for language model pre-training",
arXiv:2305.14342, algorithm 3:

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    h_t = β₂ h_{t-k} + (1−β₂) ĥ_t    if t mod k = 1, else h_{t-1}
    θ_t = θ_{t-1} − η_t λ θ_{t-1}
    θ_{t+1} = θ_t − η_t clip(m_t / max(γ h_t, ε), 1)

Its number 1 is ρ here, as in optax.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import BETAS, DECAY, DECAYING, Row, block


def sophia(
    p, g, slots, t, lr, b1=0.965, b2=0.99, eps=1e-8, weight_decay=0.0, gamma=0.01,
    clip_threshold=1.0, *, hessian_diagonal=None,
):  # fmt: skip
    """One Sophia step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu, nu = b1 * slots["mu"] + (1 - b1) * g, slots["nu"]
    if hessian_diagonal is not None:
        nu = b2 * nu + (1 - b2) * hessian_diagonal
    u = mu / np.maximum(gamma * nu, eps)
    u = u * np.minimum(1, clip_threshold / np.maximum(np.abs(u), 1e-300))
    return p - lr * (u + weight_decay * p), {"mu": mu, "nu": nu}


HYPER = {**BETAS, "eps": (1e-8, 0.1), "gamma": (0.01, 0.5), "clip_threshold": (1.0, 0.3)}
# Gradients cancel in the mean, whose rounding remains.
SUMS = {"slots_float32": 4e-6}
DIFFERS = "optax corrects the mean gradient, and steps with the curvature of the step before"
ROWS = [
    Row(
        "sophia",
        funcopt.sophia,
        {"weight_decay": 0.0},
        reference=sophia,
        keeps_moving=True,
        unfelt=("eps",),
        scheduled={**HYPER, **DECAY},
        optax_differs=DIFFERS,
        **SUMS,
    ),
    Row(
        "sophia-decay",
        funcopt.sophia,
        {"b1": 0.7, "b2": 0.8, "eps": 0.5, "weight_decay": 0.3, "gamma": 0.3,
         "clip_threshold": 2.0},
        reference=sophia,
        scheduled={**HYPER, **DECAY},
        optax_differs=DIFFERS,
        **DECAYING,
    ),
    block(
        "scale_by_sophia",
        funcopt.scale_by_sophia,
        {"b2": 0.8, "eps": 0.1, "gamma": 0.1},
        reference=sophia,
        keeps_moving=True,
        scheduled=HYPER,
        optax=None,
        optax_differs=DIFFERS,
        **SUMS,
    ),
]  # fmt: skip
