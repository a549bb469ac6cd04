"""AdEMAMix.

Pagliardini et al., "The AdEMAMix optimizer: better, faster, older", arXiv:2409.03137, algorithm 1:

    m₁ ← β₁ m₁ + (1−β₁) g,   m̂₁ = m₁ / (1 − β₁^t)
    m₂ ← β₃ m₂ + (1−β₃) g
    ν  ← β₂ ν + (1−β₂) g²,   ν̂ = ν / (1 − β₂^t)
    θ  ← θ − η ( (m̂₁ + α m₂) / (sqrt(ν̂) + ε) + λ θ )

and its schedulers, with a = min(t/T, 1):

    α_t = a α,   β₃_t = exp( ln β₁ ln β₃ / ((1 − a) ln β₃ + a ln β₁) )
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, DECAY, DECAYING, Row, block


def ademamix(
    p, g, slots, t, lr, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0,
    weight_decay=0.0, *, warmup_steps=None,
):  # fmt: skip
    """One AdEMAMix step; slots `m1`, `m2` and `nu`."""
    if warmup_steps is not None:
        a = min(t / warmup_steps, 1)
        alpha = a * alpha
        b3 = np.exp(np.log(b1) * np.log(b3) / ((1 - a) * np.log(b3) + a * np.log(b1)))
    zeros = np.zeros_like(p)
    slots = slots or {"m1": zeros, "m2": zeros, "nu": np.zeros(np.shape(p))}
    m1 = b1 * slots["m1"] + (1 - b1) * g
    m2 = b3 * slots["m2"] + (1 - b3) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    u = (m1 / (1 - b1**t) + alpha * m2) / (np.sqrt(nu / (1 - b2**t) + eps_root) + eps)
    return p - lr * (u + weight_decay * p), {"m1": m1, "m2": m2, "nu": nu}


MIXED = {**ADAM, "b3": (0.999, 0.9), "alpha": (5.0, 2.0)}
ROWS = [
    Row(
        "ademamix",
        funcopt.ademamix,
        {"b3": 0.99},
        reference=ademamix,
        keeps_moving=True,
        scheduled={**MIXED, **DECAY},
        optax=optax.contrib.ademamix,
        optax_rounds=1e-5,
    ),
    Row(
        "ademamix-decay",
        funcopt.ademamix,
        {"b1": 0.7, "b2": 0.95, "b3": 0.99, "alpha": 8.0, "eps": 1e-4, "weight_decay": 0.3},
        reference=ademamix,
        scheduled={**MIXED, **DECAY},
        optax=optax.contrib.ademamix,
        **DECAYING,
    ),
    Row(
        "ademamix-warmup",
        funcopt.ademamix,
        {"b3": 0.999, "warmup_steps": 40},
        reference=ademamix,
        keeps_moving=True,
        scheduled={**MIXED, **DECAY},
        optax_differs="optax has no such schedule of b3",
    ),
    block(
        "scale_by_ademamix",
        funcopt.scale_by_ademamix,
        {"b3": 0.99, "alpha": 2.0, "eps_root": 1e-6},
        reference=ademamix,
        keeps_moving=True,
        optax_rounds=1e-5,
        scheduled=MIXED,
        optax=optax.contrib.scale_by_ademamix,
    ),
]
