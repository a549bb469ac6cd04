"""Adams that clip: StableAdamW, SPAM and Stable-SPAM.

Wortsman et al., arXiv:2304.13013, algorithm 2:

    RMS_t = sqrt(mean(g_t² / max(u_t, ε²))),   η_t = α_t / max(1, RMS_t)
    θ_t = θ_{t-1} − η_t λ θ_{t-1} − η_t v_t / (sqrt(u_t) + ε)

where v and u are Adam's moments, bias-corrected.

Huang et al., arXiv:2501.06842, algorithm 1 (SPAM) and arXiv:2502.17055, algorithm 1 (Stable-SPAM).
Both set their moments to zero every ΔT steps; SPAM's steps then grow along a cosine and its bias
correction goes on, Stable-SPAM's begins anew.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import BETAS, DECAY, DECAYING, MOMENTS, Row


def _moments(p, slots):
    return slots.get("mu", np.zeros_like(p)), slots.get("nu", np.zeros(np.shape(p)))


def stable_adamw(p, g, slots, t, lr, b1=0.9, b2=0.99, eps=1e-6, weight_decay=1e-2):
    """One StableAdamW step; slots `mu` and `nu`."""
    mu, nu = _moments(p, slots)
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * np.abs(g) ** 2
    m, u = mu / (1 - b1**t), nu / (1 - b2**t)
    rms = np.sqrt(np.mean(np.abs(g) ** 2 / np.maximum(u, eps**2)))
    rate = lr / max(1.0, rms)
    return p - rate * (m / (np.sqrt(u) + eps) + weight_decay * p), {"mu": mu, "nu": nu}


def spam(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    b2=0.999,
    eps=1e-6,
    weight_decay=0.0,
    *,
    threshold=5000.0,
    reset_interval=500,
    warmup=150,
    grace=20,
):
    """One SPAM step; slots `mu` and `nu`."""
    mu, nu = _moments(p, slots)
    since, short = t % reset_interval, 1.0
    if since == 0:
        mu, nu = 0 * mu, 0 * nu
    if t >= reset_interval and since < warmup:
        short = 1 - 0.99 * (1 + np.cos(np.pi * since / (warmup + 1))) / 2
    if t >= grace and since >= grace:
        spike = (nu > 0) & (np.abs(g) ** 2 > threshold * nu)
        g = np.where(spike, np.sign(g) * np.sqrt(threshold * nu), g)
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * np.abs(g) ** 2
    u = np.sqrt(1 - b2**t) / (1 - b1**t) * mu / (np.sqrt(nu) + eps)
    return p - lr * (short * u + weight_decay * p), {"mu": mu, "nu": nu}


def stable_spam(
    p,
    g,
    slots,
    t,
    lr,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    gamma1=0.7,
    gamma2=0.9,
    gamma3=0.999,
    weight_decay=0.0,
    *,
    reset_interval=1000,
    total_steps=None,
    eta_min=0.5,
):
    """One Stable-SPAM step; slots `mu` and `nu`, and the running means of AdaClip and AdaGN."""
    mu, nu = _moments(p, slots)
    scale = 1.0
    if total_steps is not None:
        part = min(t, total_steps + 1) / (total_steps + 1)
        scale = eta_min + (1 - eta_min) * (1 + np.cos(np.pi * part)) / 2
    c1, beta1 = gamma1 * scale, b1 * scale

    largest = np.max(np.abs(g))
    top = gamma3 * slots.get("max_mean", 0.0) + (1 - gamma3) * largest
    bound = top / (1 - gamma3**t)
    g = np.where(np.abs(g) > bound, g / (largest if largest > 0 else 1) * bound, g)

    n = np.linalg.norm(np.ravel(g))
    first = c1 * slots.get("norm_mean", 0.0) + (1 - c1) * n
    second = gamma2 * slots.get("norm_rms", 0.0) ** 2 + (1 - gamma2) * n**2
    if n > 0:
        g = g / n * (first / (1 - c1**t)) / (np.sqrt(second / (1 - gamma2**t)) + eps)

    steps = t
    if reset_interval is not None and t >= reset_interval:
        steps = t % reset_interval + 1
        if steps == 1:
            mu, nu = 0 * mu, 0 * nu
    mu = beta1 * mu + (1 - beta1) * g
    nu = b2 * nu + (1 - b2) * np.abs(g) ** 2
    u = mu / (1 - beta1**steps) / (np.sqrt(nu / (1 - b2**steps)) + eps)
    kept = {"mu": mu, "nu": nu, "max_mean": top, "norm_mean": first, "norm_rms": np.sqrt(second)}
    kept = {name: np.asarray(x) for name, x in (kept | {"entered": float(t)}).items()}
    return p - lr * (u + weight_decay * p), kept


ROWS = [
    Row(
        "stable-adamw",
        funcopt.stable_adamw,
        reference=stable_adamw,
        needs_params=True,
        slots=MOMENTS,
        acts_on="array",
        scheduled={**BETAS, "eps": (1e-6, 1e-3), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "spam",
        funcopt.spam,
        {"threshold": 3.0, "reset_interval": 12, "warmup": 4, "grace": 7, "weight_decay": 0.1},
        reference=spam,
        scheduled={**BETAS, "eps": (1e-6, 1e-3), "threshold": (3.0, 9.0), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "stable-spam",
        funcopt.stable_spam,
        {"gamma3": 0.9, "weight_decay": 0.1, "reset_interval": 20, "total_steps": 30},
        reference=stable_spam,
        needs_params=True,
        acts_on="array",
        scheduled={**BETAS, "eps": (1e-8, 1e-3), "gamma1": (0.7, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
