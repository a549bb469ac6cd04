"""Adam, with and without bias correction, and AdamW.

Kingma & Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm 1;
Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv:1711.05101, algorithm 2.

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    v_t = β₂ v_{t-1} + (1−β₂) g_t²
    m̂_t = m_t / (1 − β₁^t),   v̂_t = v_t / (1 − β₂^t)
    θ_t = θ_{t-1} − η ( m̂_t / (sqrt(v̂_t) + ε) + λ θ_{t-1} )

λ is 0 in Adam. In AdamW's paper λ is multiplied by the schedule's factor only; here, as in
practice, by the whole rate. `bias_correction=False` uses m and v as they are. `eps_root` is added
under the root. `nesterov=True` is the NAdam with constant momentum (see nadam.py). `atan2=True` has

    4/π atan2( m̂_t, sqrt(v̂_t) )

in place of the quotient: Everett et al., "Scaling exponents across parameterizations and
optimizers", arXiv:2407.05872.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, BETAS, DECAY, DECAYING, OTHER, POWERS, Row, block


def adam(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    *,
    nesterov=False,
    bias_correction=True,
    atan2=False,
    weight_decay=0.0,
):
    """One Adam step; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2

    def corrected(value, beta, n):
        return value / (1 - beta**n) if bias_correction else value

    if nesterov:
        numerator = b1 * corrected(mu, b1, t + 1) + (1 - b1) * corrected(g, b1, t)
    else:
        numerator = corrected(mu, b1, t)
    root = np.sqrt(corrected(nu, b2, t) + eps_root)
    if atan2:
        size = np.abs(numerator)
        u = 4 / np.pi * np.arctan2(size, root) * numerator / np.where(size > 0, size, 1)
    else:
        u = numerator / (root + eps)
    return p - lr * (u + weight_decay * p), {"mu": mu, "nu": nu}


def adamw(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    *,
    nesterov=False,
    atan2=False,
    weight_decay=1e-4,
):
    """One AdamW step: Adam plus `lr * weight_decay * p`."""
    kind = {"nesterov": nesterov, "atan2": atan2}
    return adam(p, g, slots, t, lr, b1, b2, eps, eps_root, weight_decay=weight_decay, **kind)


ROWS = [
    Row(
        "adam",
        funcopt.adam,
        reference=adam,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
        optax_rounds=POWERS,
    ),
    Row(
        "adam-other",
        funcopt.adam,
        OTHER,
        reference=adam,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
    ),
    Row(
        "adam-nesterov",
        funcopt.adam,
        {"nesterov": True},
        reference=adam,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
        optax_rounds=POWERS,
    ),
    Row(
        "adam-uncorrected",
        funcopt.adam,
        {"bias_correction": False},
        reference=adam,
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax always corrects",
    ),
    Row(
        "adam-atan2",
        funcopt.adam,
        {"atan2": True},
        reference=adam,
        keeps_moving=True,
        scheduled=BETAS,
        optax_differs="optax has no such option",
    ),
    Row(
        "adamw",
        funcopt.adamw,
        reference=adamw,
        scheduled={**ADAM, **DECAY},
        optax=optax.adamw,
        optax_rounds=POWERS,
        **DECAYING,
    ),
    Row(
        "adamw-nesterov",
        funcopt.adamw,
        {"b2": 0.95, "weight_decay": 0.3, "nesterov": True},
        reference=adamw,
        scheduled={**ADAM, **DECAY},
        optax=optax.adamw,
        **DECAYING,
    ),
    Row(
        "adamw-atan2",
        funcopt.adamw,
        {"b1": 0.7, "b2": 0.95, "weight_decay": 0.3, "atan2": True},
        reference=adamw,
        scheduled={**BETAS, **DECAY},
        optax_differs="optax has no such option",
        **DECAYING,
    ),
    block(
        "scale_by_adam",
        funcopt.scale_by_adam,
        {"b2": 0.95},
        reference=adam,
        keeps_moving=True,
        scheduled=ADAM,
    ),
]
