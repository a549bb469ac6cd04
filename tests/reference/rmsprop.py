"""RMSProp, and its centered form.

Tieleman & Hinton, "Lecture 6.5: rmsprop", COURSERA Neural Networks for Machine Learning (2012);
centered: Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, eq. 38-45.

    ν_t = ρ ν_{t-1} + (1−ρ) g_t²
    plain      u_t = g_t / sqrt(ν_t)
    centered   μ_t = ρ μ_{t-1} + (1−ρ) g_t
               u_t = g_t / sqrt(ν_t − μ_t² + ε)
    momentum   b_t = m b_{t-1} + u_t,   u_t ← b_t     (Nesterov: u_t + m b_t)
    θ_t = θ_{t-1} − η u_t

The lecture has no ε. Graves has it inside the root, and has η inside his momentum buffer; here the
buffer is free of the rate. `eps_in_sqrt=False` is 1 / (sqrt(·) + ε). ν_0 is `initial_scale`; with
`bias_correction` both ν and μ are divided by 1 − ρ^t. With ν_0 ≥ 0 the variance ν − μ² is never
negative in exact arithmetic; the maximum with 0 removes rounding.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import POWERS, Row, block


def rmsprop(
    p,
    g,
    slots,
    t,
    lr,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    eps_in_sqrt=True,
    centered=False,
    momentum=None,
    nesterov=False,
    bias_correction=False,
):
    """One RMSProp step; slots `nu`, and `mu` when centered, and `trace` with momentum."""
    if not slots:
        slots = {
            "nu": np.full(np.shape(p), float(initial_scale)),
            "mu": np.zeros_like(p),
            "trace": np.zeros_like(p),
        }
    correction = 1 - decay**t if bias_correction else 1.0
    new = {"nu": decay * slots["nu"] + (1 - decay) * np.abs(g) ** 2}
    second = new["nu"] / correction
    if centered:
        new["mu"] = decay * slots["mu"] + (1 - decay) * g
        second = np.maximum(second - np.abs(new["mu"] / correction) ** 2, 0.0)
    u = g / np.sqrt(second + eps) if eps_in_sqrt else g / (np.sqrt(second) + eps)
    if momentum is not None:
        new["trace"] = momentum * slots["trace"] + u
        u = u + momentum * new["trace"] if nesterov else new["trace"]
    return p - lr * u, new


ROWS = [
    Row(
        "rmsprop",
        funcopt.rmsprop,
        reference=rmsprop,
        rate=0.02,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-outside",
        funcopt.rmsprop,
        {"decay": 0.99, "eps": 1e-6, "eps_in_sqrt": False},
        reference=rmsprop,
        rate=0.02,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-corrected",
        funcopt.rmsprop,
        {"bias_correction": True},
        reference=rmsprop,
        rate=0.02,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
        optax_rounds=POWERS,
    ),
    Row(
        "rmsprop-centered",
        funcopt.rmsprop,
        {"centered": True, "initial_scale": 0.5, "eps": 1e-3},
        reference=rmsprop,
        rate=0.02,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-3, 1e-2)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-momentum",
        funcopt.rmsprop,
        {"momentum": 0.9},
        reference=rmsprop,
        rate=0.005,
        keeps_moving=True,
        scheduled={"decay": (0.9, 0.99), "momentum": (0.5, 0.9)},
        optax=optax.rmsprop,
        optax_differs="while the rate changes: optax keeps it inside the momentum's buffer",
    ),
    Row(
        "rmsprop-centered-nesterov",
        funcopt.rmsprop,
        {
            "centered": True,
            "momentum": 0.9,
            "nesterov": True,
            "eps_in_sqrt": False,
            "initial_scale": 0.5,
        },
        reference=rmsprop,
        rate=0.005,
        keeps_moving=True,
        scheduled={"decay": (0.9, 0.99), "momentum": (0.5, 0.9)},
        optax=optax.rmsprop,
        optax_differs="while the rate changes: optax keeps it inside the momentum's buffer",
    ),
    block(
        "scale_by_rms",
        funcopt.scale_by_rms,
        {"decay": 0.95, "initial_scale": 0.1},
        reference=rmsprop,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
    ),
    block(
        "scale_by_stddev",
        funcopt.scale_by_stddev,
        {"initial_scale": 0.1},
        reference=rmsprop,
        reference_kwargs={"initial_scale": 0.1, "centered": True},
        # The difference of two means that are nearly equal loses digits.
        float32=1e-6,
    ),
]
