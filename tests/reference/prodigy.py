"""Prodigy, the Adam version, of a tree as one vector.

Mishchenko & Defazio, arXiv:2306.06101. The sums r and s are d²-weighted there; here both have the
factor 1/d₀ too, as in the authors' code, which does not change their ratio.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from funcopt import decays
from tests.row import DECAY, DECAYING, OWN_RATE, Row


def prodigy(
    p, g, slots, t, lr, b1=0.9, b2=0.999, beta3=None, eps=1e-8, d0=1e-6, coefficient=1.0,
    weight_decay=0.0, safeguard_warmup=False, bias_correction=False, growth_rate=np.inf,
):  # fmt: skip
    """One Prodigy step; slots `init_params`, `mu`, `nu`, `grad_sum`, `r`, `d`, `d_max`."""
    zero = np.zeros_like(p)
    old = slots or {
        "mu": zero,
        "nu": np.abs(zero),
        "grad_sum": zero,
        "r": 0.0,
        "d": d0,
        "d_max": d0,
    }
    x0 = old.get("init_params", p)
    b3 = np.sqrt(b2) if beta3 is None else beta3
    d = old["d"]
    eta = d * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0)
    r = b3 * old["r"] + d / d0 * eta * np.vdot(g, x0 - p).real
    s = b3 * old["grad_sum"] + d / d0 * (d if safeguard_warmup else eta) * g
    m = b1 * old["mu"] + (1 - b1) * d * g
    v = b2 * old["nu"] + (1 - b2) * np.abs(d * g) ** 2
    length = np.sum(np.abs(s))
    d_hat = coefficient * r / length if length > 0 else 0.0
    d_max = max(old["d_max"], d_hat)
    d = min(d_max, (max(d, d_hat) if d == d0 else d) * growth_rate)
    new = p - eta * (m / (np.sqrt(v) + d * eps) + weight_decay * p)
    kept = {"mu": m, "nu": v, "grad_sum": s, "init_params": x0}
    return new, {**kept, "r": r, "d": d, "d_max": d_max}


def prodigy_proximal(p, g, slots, t, lr, weight_decay, **hyper):
    """The same with the decay of Xie et al., arXiv:2208.06677, after the step."""
    d = slots["d"] if slots else hyper["d0"]
    after, slots = prodigy(p, g, slots, t, lr, **hyper)
    eta = d * lr * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return after / (1 + eta * weight_decay), slots


CORRECTED = {"bias_correction": True, "safeguard_warmup": True}
ROWS = [
    Row(
        "prodigy",
        funcopt.prodigy,
        {"estim_lr0": 1e-3, **CORRECTED},
        reference=prodigy,
        reference_kwargs={"d0": 1e-3, **CORRECTED},
        rate=1.0,
        looks_back=True,
        scheduled={"beta3": (0.99, 0.9), **DECAY},
        optax=contrib.prodigy,
        optax_kwargs={"estim_lr0": 1e-3, "safeguard_warmup": True},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        **OWN_RATE,
    ),
    Row(
        "prodigy-proximal",
        funcopt.prodigy,
        {**CORRECTED, "estim_lr0": 1e-3, "weight_decay": decays.proximal(0.1)},
        reference=prodigy_proximal,
        reference_kwargs={**CORRECTED, "d0": 1e-3, "weight_decay": 0.1},
        rate=1.0,
        looks_back=True,
        scheduled={"beta3": (0.99, 0.9)},
        optax_differs="optax has no such decay",
        # What decays rounds as parameters do, and the distance from the start sums that up.
        **{**DECAYING, **OWN_RATE, "slots_float32": 1e-5},
    ),
]
