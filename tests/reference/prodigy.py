"""Prodigy, the Adam version, of a tree as one vector.

Mishchenko & Defazio, arXiv:2306.06101. The sums r and s are d²-weighted there; the factor 1/d₀ that
the authors' code has in both does not change their ratio, and is left out here.
"""

from __future__ import annotations

import numpy as np


def prodigy(
    p, g, slots, t, lr, b1=0.9, b2=0.999, b3=None, eps=1e-8, d0=1e-6, coefficient=1.0,
    weight_decay=0.0, safeguard_warmup=False, bias_correction=False, growth_rate=np.inf,
):  # fmt: skip
    """One Prodigy step; slots `x0`, `m`, `v`, `r`, `s`, `d`, `d_max`."""
    zero = np.zeros_like(p)
    old = slots or {"x0": p, "m": zero, "v": zero, "r": 0.0, "s": zero, "d": d0, "d_max": d0}
    b3 = np.sqrt(b2) if b3 is None else b3
    d = old["d"]
    eta = d * lr * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0)
    r = b3 * old["r"] + d * eta * np.sum(g * (old["x0"] - p))
    s = b3 * old["s"] + d * (d if safeguard_warmup else eta) * g
    m = b1 * old["m"] + (1 - b1) * d * g
    v = b2 * old["v"] + (1 - b2) * (d * g) ** 2
    length = np.sum(np.abs(s))
    d_hat = coefficient * r / length if length > 0 else 0.0
    d_max = max(old["d_max"], d_hat)
    d = min(d_max, (max(d, d_hat) if d == d0 else d) * growth_rate)
    new = p - eta * (m / (np.sqrt(v) + d * eps) + weight_decay * p)
    return new, {"x0": old["x0"], "m": m, "v": v, "r": r, "s": s, "d": d, "d_max": d_max}
