"""D-Adaptation of SGD, AdaGrad and Adam, of a tree as one vector.

Defazio & Mishchenko, arXiv:2301.07733, algorithms 4, 3 and 5, with the authors' λ_k and with their
estimates: 2 Σ λ_k ⟨g_k, s_k⟩ / ‖s‖ for SGD, the difference of norms for AdaGrad.
"""

from __future__ import annotations

import numpy as np


def dadapt_sgd(p, g, slots, t, lr, momentum=0.0, d0=1e-6, weight_decay=0.0, growth_rate=np.inf):
    """One step; slots `x0`, `s`, `d`, `n`, `g0`."""
    old = slots or {"x0": p, "s": np.zeros_like(p), "d": d0, "n": 0.0, "g0": 0.0}
    g0 = old["g0"] if old["g0"] > 0 else np.linalg.norm(g)
    g = g + weight_decay * p
    step = old["d"] * lr / g0 if g0 > 0 else 0.0
    n = old["n"] + step * np.sum(g * old["s"])
    s = old["s"] + step * g
    length = np.linalg.norm(s)
    d = max(old["d"], min(2 * n / length if length > 0 else 0.0, old["d"] * growth_rate))
    new = momentum * p + (1 - momentum) * (old["x0"] - s)
    return new, {"x0": old["x0"], "s": s, "d": d, "n": n, "g0": g0}


def dadapt_adagrad(
    p, g, slots, t, lr, momentum=0.0, initial=1e-6, eps=1e-6, d0=1e-6, weight_decay=0.0,
    growth_rate=np.inf,
):  # fmt: skip
    """One step; slots `x0`, `s`, `a`, `d`, `n`."""
    old = slots or {"x0": p, "s": 0 * p, "a": np.full_like(p, initial), "d": d0, "n": 0.0}
    g = g + weight_decay * p
    step = old["d"] * lr
    a = old["a"] + g**2
    s = old["s"] + step * g
    n = old["n"] + step**2 * np.sum(g**2 / (np.sqrt(a) + eps))
    length = np.sum(np.abs(s))
    d = old["d"]
    if length > 0 and lr > 0:
        d_hat = (np.sum(s**2 / (np.sqrt(a) + eps)) - n) / length
        d = max(d, min(d_hat, d * growth_rate))
    new = momentum * p + (1 - momentum) * (old["x0"] - s / (np.sqrt(a) + eps))
    return new, {"x0": old["x0"], "s": s, "a": a, "d": d, "n": n}


def dadapt_adamw(
    p, g, slots, t, lr, b1=0.9, b2=0.999, eps=1e-8, d0=1e-6, weight_decay=0.0,
    bias_correction=False, growth_rate=np.inf,
):  # fmt: skip
    """One step; slots `m`, `v`, `s`, `d`, `n`."""
    zero = np.zeros_like(p)
    old = slots or {"m": zero, "v": zero, "s": zero, "d": d0, "n": 0.0}
    root = np.sqrt(b2)
    step = old["d"] * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0)
    inner = np.sum(g * old["s"] / (np.sqrt(old["v"]) + eps))
    n = root * old["n"] + (1 - root) * step * inner
    m = b1 * old["m"] + (1 - b1) * step * g
    v = b2 * old["v"] + (1 - b2) * g**2
    s = root * old["s"] + (1 - root) * step * g
    length = (1 - root) * np.sum(np.abs(s))
    d = max(old["d"], min(n / length if length > 0 else 0.0, old["d"] * growth_rate))
    new = p - m / (np.sqrt(v) + eps) - weight_decay * step * p
    return new, {"m": m, "v": v, "s": s, "d": d, "n": n}
