"""MoMo and MoMo-Adam, of a tree as one vector.

Schaipp et al., arXiv:2305.07583. MoMo begins its averages with the first batch, or with zero and
ρ = 1 − βᵗ (`bias_correction`); MoMo-Adam begins with zero.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.row import BETAS, DECAY, OWN_RATE, POWERS, Row


def _step(p, direction, slots, rho, lr, weight_decay, lower_bound, adapt):
    """To the minimum of max(f − gamma + ⟨mu, x⟩, ρ bound) + ρ/2 (‖x − p‖²/lr + ⟨λ x, x⟩).

    λ is `weight_decay`, one or one for each element; the norm is that of the direction.
    """
    mu, f, gamma, bound = slots["mu"], slots["f"], slots["gamma"], slots["bound"]
    a = 1 + lr * weight_decay
    height = f - gamma + np.vdot(mu, p / a).real  # of the model at p / a, where it goes for τ = 0
    if adapt and height < rho * bound:
        bound = max(height / (2 * rho), lower_bound)
    gap, fall = max(height - rho * bound, 0.0), np.vdot(mu, direction / a).real
    tau = min(lr / rho, gap / fall if fall > 0 else 0.0)
    if adapt:
        reached = f + np.vdot(mu, p).real - gamma - tau * np.vdot(mu, direction).real / 2
        bound = max(reached / rho, lower_bound)
    return (p - tau * direction) / a, {**slots, "bound": bound}


def momo(
    p, g, slots, t, lr, value, beta=0.9, lower_bound=0.0, weight_decay=0.0,
    adapt_lower_bound=False, bias_correction=False,
):  # fmt: skip
    """One step; slots `f`, `gamma`, `mu`, `bound`."""
    dot = np.vdot(g, p).real
    if not slots:
        slots = {"f": value, "gamma": dot, "mu": g, "bound": lower_bound}
        if bias_correction:
            slots = {"f": 0.0, "gamma": 0.0, "mu": np.zeros_like(p), "bound": lower_bound}
    new = {
        "f": beta * slots["f"] + (1 - beta) * value,
        "gamma": beta * slots["gamma"] + (1 - beta) * dot,
        "mu": beta * slots["mu"] + (1 - beta) * g,
        "bound": slots["bound"],
    }
    rho = 1 - beta**t if bias_correction else 1.0
    return _step(p, new["mu"], new, rho, lr, weight_decay, lower_bound, adapt_lower_bound)


def momo_adam(
    p, g, slots, t, lr, value, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0, weight_decay=0.0,
    adapt_lower_bound=False,
):  # fmt: skip
    """One step; slots `f`, `gamma`, `mu`, `nu`, `bound`."""
    zero = np.zeros_like(p)
    old = slots or {"f": 0.0, "gamma": 0.0, "mu": zero, "nu": np.abs(zero), "bound": lower_bound}
    new = {
        "f": b1 * old["f"] + (1 - b1) * value,
        "gamma": b1 * old["gamma"] + (1 - b1) * np.vdot(g, p).real,
        "mu": b1 * old["mu"] + (1 - b1) * g,
        "nu": b2 * old["nu"] + (1 - b2) * np.abs(g) ** 2,
        "bound": old["bound"],
    }
    D = np.sqrt(new["nu"] / (1 - b2**t)) + eps
    u = new["mu"] / D
    return _step(p, u, new, 1 - b1**t, lr, weight_decay, lower_bound, adapt_lower_bound)


ROWS = [
    Row(
        "momo",
        funcopt.momo,
        unfelt=("learning_rate",),
        reference=momo,
        rate=1.0,
        scheduled={"beta": (0.9, 0.6), "lower_bound": (0.0, 0.5), **DECAY},
        optax=contrib.momo,
        **OWN_RATE,
    ),
    Row(
        "momo-adam",
        funcopt.momo_adam,
        reference=momo_adam,
        rate=0.1,
        scheduled={**BETAS, "lower_bound": (0.0, 0.5), **DECAY},
        optax=contrib.momo_adam,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        optax_rounds=POWERS,
        **OWN_RATE,
    ),
]
