"""RAdam.

Liu et al., "On the variance of the adaptive learning rate and beyond", arXiv:1908.03265,
algorithm 2:

    ρ_∞ = 2 / (1−β₂) − 1
    m_t, v_t, m̂_t, v̂_t        Adam's
    ρ_t = ρ_∞ − 2 t β₂^t / (1 − β₂^t)
    r_t = sqrt( (ρ_t − 4)(ρ_t − 2) ρ_∞ / ((ρ_∞ − 4)(ρ_∞ − 2) ρ_t) )
    θ_t = θ_{t-1} − η r_t m̂_t / (sqrt(v̂_t) + ε)    where ρ_t is above the threshold
    θ_t = θ_{t-1} − η m̂_t                          elsewhere

The paper's threshold is 4, that of its program 5. Nesterov's look-ahead is that of nadam.py.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, MOMENTS, OTHER, Row, block


def radam(
    p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0,
    weight_decay=0.0, *, nesterov=False,
):  # fmt: skip
    """One RAdam step, with decoupled decay; slots `mu` and `nu`."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    u = mu / (1 - b1**t)
    if nesterov:
        u = b1 * mu / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    longest = 2 / (1 - b2) - 1
    rho = longest - 2 * t * b2**t / (1 - b2**t)
    if rho >= threshold:
        r = np.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
        u = r * u / (np.sqrt(nu / (1 - b2**t) + eps_root) + eps)
    return p - lr * (u + weight_decay * p), {"mu": mu, "nu": nu}


# While t (1 − β₂) is small, ρ_t is a small difference of large numbers, here and in optax.
ROWS = [
    Row(
        "radam",
        funcopt.radam,
        reference=radam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.radam,
        optax_rounds=1e-4,
        optax_float64=2e-12,
    ),
    Row(
        "radam-nesterov",
        funcopt.radam,
        {**OTHER, "threshold": 4.0, "nesterov": True},
        reference=radam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.radam,
        unfelt=("threshold",),
    ),
    block(
        "scale_by_radam",
        funcopt.scale_by_radam,
        OTHER,
        reference=radam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
    ),
]
