"""Hypergradient descent of SGD's rate, of a tree as one vector.

Baydin et al., arXiv:1703.04782, eqs. 5 and 8; the additive rate is kept from going below 0.
"""

from __future__ import annotations

import numpy as np


def hypergradient_sgd(p, g, slots, t, lr, hyper_rate=0.02, additive=False):
    """One step; slots `alpha`, `last_direction`."""
    alpha, u = (slots["alpha"], slots["last_direction"]) if slots else (lr, np.zeros_like(p))
    h, size = np.vdot(g, u).real, np.linalg.norm(g) * np.linalg.norm(u)
    if additive:
        alpha = max(alpha + hyper_rate * h, 0.0)
    elif size > 0:
        alpha = alpha * (1 + hyper_rate * h / size)
    return p - alpha * g, {"alpha": alpha, "last_direction": g}
