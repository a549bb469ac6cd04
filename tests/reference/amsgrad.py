"""AMSGrad in the three forms that carry the name.

Reddi, Kale & Kumar, "On the convergence of Adam and beyond", arXiv:1904.09237, algorithm 2:

    m_t = β₁ m_{t-1} + (1−β₁) g_t
    v_t = β₂ v_{t-1} + (1−β₂) g_t²
    v̂_t = max(v̂_{t-1}, v_t)
    θ_t = θ_{t-1} − η m_t / sqrt(v̂_t)

"paper":   the box, with ε added to the root.
"pytorch": the maximum of the raw v as in the box, then both moments are bias-corrected:
           m_t / (1−β₁^t) over sqrt(v̂_t / (1−β₂^t)) + ε.
"optax":   the maximum of the corrected v, v̂_t = max(v̂_{t-1}, v_t / (1−β₂^t)), and m_t / (1−β₁^t).

`weight_decay` is decoupled and multiplied by the rate, as in AdamW.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import ADAM, POWERS, Row, block


def amsgrad(
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
    variant="optax",
    weight_decay=0.0,
):
    """One AMSGrad step; slots `mu`, `nu` and `nu_max`."""
    if not slots:
        zeros = np.zeros(np.shape(p))
        slots = {"mu": np.zeros_like(p), "nu": zeros, "nu_max": zeros}
    mu = b1 * slots["mu"] + (1 - b1) * g
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    if variant == "paper":
        nu_max = np.maximum(slots["nu_max"], nu)
        first, second = mu, nu_max
    elif variant == "pytorch":
        nu_max = np.maximum(slots["nu_max"], nu)
        first, second = mu / (1 - b1**t), nu_max / (1 - b2**t)
    elif variant == "optax":
        nu_max = np.maximum(slots["nu_max"], nu / (1 - b2**t))
        first, second = mu / (1 - b1**t), nu_max
    else:
        raise ValueError(f"variant={variant!r}: expected 'optax', 'pytorch' or 'paper'")
    u = first / (np.sqrt(second + eps_root) + eps)
    return p - lr * (u + weight_decay * p), {"mu": mu, "nu": nu, "nu_max": nu_max}


ROWS = [
    Row(
        "amsgrad",
        funcopt.amsgrad,
        reference=amsgrad,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.amsgrad,
        optax_rounds=POWERS,
    ),
    Row(
        "amsgrad-pytorch",
        funcopt.amsgrad,
        {"variant": "pytorch", "b1": 0.7, "b2": 0.6},
        reference=amsgrad,
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax keeps the maximum of corrected means, or corrects nothing",
    ),
    Row(
        "amsgrad-paper",
        funcopt.amsgrad,
        {"variant": "paper", "b1": 0.7, "b2": 0.6},
        reference=amsgrad,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.amsgrad,
        optax_kwargs={
            "b1": 0.7,
            "b2": 0.6,
            "bias_correction_mu": False,
            "bias_correction_nu": False,
        },
    ),
    block(
        "scale_by_amsgrad",
        funcopt.scale_by_amsgrad,
        {"b2": 0.95},
        reference=amsgrad,
        keeps_moving=True,
        scheduled=ADAM,
    ),
]
