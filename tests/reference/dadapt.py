"""D-Adaptation of SGD, AdaGrad and Adam, of a tree as one vector.

Defazio & Mishchenko, arXiv:2301.07733, algorithms 4, 3 and 5, with the authors' λ_k and with their
estimates: 2 Σ λ_k ⟨g_k, s_k⟩ / ‖s‖ for SGD, the difference of norms for AdaGrad.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.row import DECAY, OWN_RATE, Row


def dadapt_sgd(p, g, slots, t, lr, momentum=0.0, d0=1e-6, weight_decay=0.0, growth_rate=np.inf):
    """One step; slots `grad_sum`, `init_params`, `d`, `n`, `g0`."""
    old = slots or {"init_params": p, "grad_sum": 0 * p, "d": d0, "n": 0.0, "g0": 0.0}
    g0 = old["g0"] if old["g0"] > 0 else np.linalg.norm(g)
    g = g + weight_decay * p
    step = old["d"] * lr / g0 if g0 > 0 else 0.0
    n = old["n"] + step * np.vdot(g, old["grad_sum"]).real
    s = old["grad_sum"] + step * g
    length = np.linalg.norm(s)
    d = max(old["d"], min(2 * n / length if length > 0 else 0.0, old["d"] * growth_rate))
    new = momentum * p + (1 - momentum) * (old["init_params"] - s)
    kept = {"grad_sum": s, "init_params": old["init_params"]}
    return new, {**kept, "d": d, "n": n, "g0": g0}


def dadapt_adagrad(
    p, g, slots, t, lr, momentum=0.0, initial=1e-6, eps=1e-6, d0=1e-6, weight_decay=0.0,
    growth_rate=np.inf,
):  # fmt: skip
    """One step; slots `grad_sum`, `sum_of_squares`, `init_params`, `d`, `n`."""
    old = slots or {"grad_sum": 0 * p, "sum_of_squares": initial, "d": d0, "n": 0.0}
    x0 = old.get("init_params", p)
    g = g + weight_decay * p
    step = old["d"] * lr
    a = old["sum_of_squares"] + np.abs(g) ** 2
    s = old["grad_sum"] + step * g
    n = old["n"] + step**2 * np.sum(np.abs(g) ** 2 / (np.sqrt(a) + eps))
    length = np.sum(np.abs(s))
    d = old["d"]
    if length > 0 and lr > 0:
        d_hat = (np.sum(np.abs(s) ** 2 / (np.sqrt(a) + eps)) - n) / length
        d = max(d, min(d_hat, d * growth_rate))
    new = momentum * p + (1 - momentum) * (x0 - s / (np.sqrt(a) + eps))
    return new, {"grad_sum": s, "sum_of_squares": a, "init_params": x0, "d": d, "n": n}


def dadapt_adamw(
    p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-8, d0=1e-6, weight_decay=0.0,
    bias_correction=False, growth_rate=np.inf,
):  # fmt: skip
    """One step; slots `mu`, `nu`, `grad_sum`, `d`, `n`."""
    zero = np.zeros_like(p)
    old = slots or {"mu": zero, "nu": np.abs(zero), "grad_sum": zero, "d": d0, "n": 0.0}
    root = np.sqrt(b2)
    fresh = (1 - b2) / (1 + root)  # 1 - root, to the last digit
    step = old["d"] * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0)
    inner = np.vdot(g, old["grad_sum"] / (np.sqrt(old["nu"]) + eps)).real
    n = root * old["n"] + fresh * step * inner
    m = b1 * old["mu"] + (1 - b1) * step * g
    v = b2 * old["nu"] + (1 - b2) * np.abs(g) ** 2
    s = root * old["grad_sum"] + fresh * step * g
    length = fresh * np.sum(np.abs(s))
    d = max(old["d"], min(n / length if length > 0 else 0.0, old["d"] * growth_rate))
    new = p - m / (np.sqrt(v) + eps) - weight_decay * step * p
    return new, {"mu": m, "nu": v, "grad_sum": s, "d": d, "n": n}


ROWS = [
    Row(
        "dadapt-sgd",
        funcopt.dadapt_sgd,
        {"estim_lr0": 1e-2, "growth_rate": 1.1},
        reference=dadapt_sgd,
        reference_kwargs={"d0": 1e-2, "growth_rate": 1.1},
        rate=1.0,
        looks_back=True,
        scheduled={"momentum": (0.0, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **OWN_RATE,
    ),
    Row(
        "dadapt-adagrad",
        funcopt.dadapt_adagrad,
        {"estim_lr0": 1e-2, "growth_rate": 1.1},
        reference=dadapt_adagrad,
        reference_kwargs={"d0": 1e-2, "growth_rate": 1.1},
        rate=1.0,
        looks_back=True,
        scheduled={"momentum": (0.0, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **OWN_RATE,
    ),
    Row(
        "dadapt-adamw",
        funcopt.dadapt_adamw,
        {"estim_lr0": 1e-3, "bias_correction": True},
        reference=dadapt_adamw,
        reference_kwargs={"d0": 1e-3, "bias_correction": True},
        rate=1.0,
        scheduled=DECAY,
        optax=contrib.dadapt_adamw,
        optax_kwargs={"estim_lr0": 1e-3},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        optax_rounds=1e-4,  # as above, and what the estimate makes of it
        **OWN_RATE,
    ),
]
