"""AdaBelief.

Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed gradients",
arXiv:2010.07468, algorithm 2:

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    s_t = β₂ s_{t-1} + (1−β₂) (g_t − m_t)² + ε
    m̂_t = m_t / (1 − β₁^t),   ŝ_t = s_t / (1 − β₂^t)
    θ_t = θ_{t-1} − η m̂_t / (sqrt(ŝ_t) + ε)

ε inside s is `eps_root` here. Nesterov's look-ahead is that of nadam.py.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import BETAS, MOMENTS, Row, block

BELIEF = {**BETAS, "eps": (1e-16, 1e-3), "eps_root": (1e-16, 1e-4)}


def adabelief(p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, *, nesterov=False):
    """One AdaBelief step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g - mu) ** 2 + eps_root
    ahead = mu / (1 - b1**t)
    if nesterov:
        ahead = b1 * mu / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    return p - lr * ahead / (np.sqrt(nu / (1 - b2**t)) + eps), {"mu": mu, "nu": nu}


ROWS = [
    Row(
        "adabelief",
        funcopt.adabelief,
        reference=adabelief,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=BELIEF,
        optax=optax.adabelief,
        optax_rounds=1e-5,
    ),
    Row(
        "adabelief-nesterov",
        funcopt.adabelief,
        {"b1": 0.7, "b2": 0.95, "eps": 1e-4, "eps_root": 1e-5, "nesterov": True},
        reference=adabelief,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=BELIEF,
        optax=optax.adabelief,
    ),
    block(
        "scale_by_belief",
        funcopt.scale_by_belief,
        {"b2": 0.95, "eps": 1e-8, "eps_root": 1e-8},
        reference=adabelief,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=BELIEF,
    ),
]
