"""NAdam in the three forms that carry the name.

Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop, algorithm 2:

    m_t = μ_t m_{t-1} + (1−μ_t) g_t
    n_t = ν n_{t-1} + (1−ν) g_t²
    m̂_t = μ_{t+1} m_t / (1 − Π_{i≤t+1} μ_i) + (1−μ_t) g_t / (1 − Π_{i≤t} μ_i)
    n̂_t = ν n_t / (1 − ν^t)
    θ_t = θ_{t-1} − η m̂_t / (sqrt(n̂_t) + ε)

"dozat":      μ_t = β₁ for all t, so that Π_{i≤t} μ_i = β₁^t; n̂ without the factor ν.
"pytorch":    μ_t = β₁ (1 − ½·0.96^{tψ}) in m̂, β₁ in m; n̂ without the factor ν. The schedule is from
              Dozat's report "Incorporating Nesterov momentum into Adam" (Stanford CS229, 2015).
"init2winit": Choi et al., "On empirical comparisons of optimizers for deep learning",
              arXiv:1910.05446, table 1: m̂_t = (β₁ m_t + (1−β₁) g_t) / (1 − β₁^t).

`weight_decay` is decoupled and multiplied by the rate, as in AdamW.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, DECAY, DECAYING, OTHER, POWERS, Row


def nadam(
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
    variant="dozat",
    momentum_decay=0.004,
    weight_decay=0.0,
):
    """One NAdam step; slots `mu` and `nu`, and the number `mu_product` for "pytorch"."""
    slots = slots or {"mu": np.zeros_like(p), "nu": np.zeros(np.shape(p))}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    new = {"mu": mu, "nu": nu}
    if variant == "dozat":
        numerator = b1 * mu / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    elif variant == "pytorch":
        now = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        following = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product = slots.get("mu_product", np.float64(1.0)) * now
        new["mu_product"] = product
        numerator = following * mu / (1 - product * following) + (1 - now) * g / (1 - product)
    elif variant == "init2winit":
        numerator = (b1 * mu + (1 - b1) * g) / (1 - b1**t)
    else:
        raise ValueError(f"variant={variant!r}: expected 'dozat', 'pytorch' or 'init2winit'")
    u = numerator / (np.sqrt(nu / (1 - b2**t) + eps_root) + eps)
    return p - lr * (u + weight_decay * p), new


def nadamw(
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
    variant="dozat",
    momentum_decay=0.004,
    weight_decay=1e-4,
):
    """One NAdamW step: NAdam plus `lr * weight_decay * p`."""
    return nadam(
        p,
        g,
        slots,
        t,
        lr,
        b1,
        b2,
        eps,
        eps_root,
        variant=variant,
        momentum_decay=momentum_decay,
        weight_decay=weight_decay,
    )


ROWS = [
    Row(
        "nadam",
        funcopt.nadam,
        reference=nadam,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.nadam,
        optax_rounds=POWERS,
    ),
    Row(
        "nadam-pytorch",
        funcopt.nadam,
        {"variant": "pytorch"},
        reference=nadam,
        keeps_moving=True,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3)},
        optax_differs="optax has no momentum schedule",
    ),
    Row(
        "nadam-pytorch-fast",
        funcopt.nadam,
        {"variant": "pytorch", "momentum_decay": 0.5, **OTHER},
        reference=nadam,
        keeps_moving=True,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3)},
        optax_differs="optax has no momentum schedule",
    ),
    Row(
        "nadam-init2winit",
        funcopt.nadam,
        {"variant": "init2winit"},
        reference=nadam,
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax corrects the look-ahead one step later",
    ),
    Row(
        "nadamw",
        funcopt.nadamw,
        {"b2": 0.95, "weight_decay": 0.3},
        reference=nadamw,
        scheduled={**ADAM, **DECAY},
        optax=optax.nadamw,
        **DECAYING,
    ),
    Row(
        "nadamw-pytorch",
        funcopt.nadamw,
        {"variant": "pytorch", "weight_decay": 0.01},
        reference=nadamw,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3), **DECAY},
        optax_differs="optax has no momentum schedule",
        **DECAYING,
    ),
    Row(
        "nadamw-init2winit",
        funcopt.nadamw,
        {"variant": "init2winit", "weight_decay": 0.08},
        reference=nadamw,
        scheduled={**ADAM, **DECAY},
        optax_differs="optax corrects the look-ahead one step later",
        **DECAYING,
    ),
]
