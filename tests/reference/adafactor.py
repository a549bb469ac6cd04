"""Adafactor.

Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
arXiv:1804.04235, algorithms 4 (matrices) and 5 (vectors), for n rows and m columns:

    β̂_t = 1 − t^−c
    R_t = β̂_t R_{t-1} + (1 − β̂_t) (G_t² + ε₁ 1_n 1_mᵀ) 1_m
    C_t = β̂_t C_{t-1} + (1 − β̂_t) 1_nᵀ (G_t² + ε₁ 1_n 1_mᵀ)
    V̂_t = R_t C_t / 1_nᵀ R_t                     V̂_t = β̂_t V̂_{t-1} + (1 − β̂_t) (G_t² + ε₁)
    U_t = G_t / sqrt(V̂_t),   Û_t = U_t / max(1, RMS(U_t) / d)
    X_t = X_{t-1} − max(ε₂, RMS(X_{t-1})) ρ_t Û_t

R and C are kept as means in place of sums, R_t / m and C_t / n. Momentum and decay are optax's:
X_t = X_{t-1} − M_t − λ X_{t-1}, where M_t = μ M_{t-1} + (1 − μ) max(ε₂, RMS(X_{t-1})) ρ_t Û_t.

Zhai et al., "Scaling Vision Transformers", arXiv:2106.04560, bound β̂_t by 0.999, and multiply by
the rate last, after momentum and decay. PyTorch's ε₁ is a floor of the mean of R and of sqrt(V̂),
and its rows and columns are the last two axes.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import DECAY, DECAYING, Row, block


def rms(x):
    return np.sqrt(np.mean(np.abs(x) ** 2))


def scale_by_factored_rms(
    p,
    g,
    slots,
    t,
    lr,
    factored=True,
    decay_rate=0.8,
    step_offset=0,
    min_dim_size_to_factor=128,
    epsilon=1e-30,
    max_decay=1.0,
    pytorch=False,
):
    """One step along U; slots `v_row` and `v_col`, of axes of the parameter, or `v`."""
    beta = min(1 - max(t - step_offset, 1.0) ** -decay_rate, max_decay)
    squares = np.abs(g) ** 2 + (0 if pytorch else epsilon)
    least = epsilon if pytorch else 0
    longest = sorted(np.argsort(p.shape, kind="stable")[-2:])
    if pytorch:
        longest = [*range(p.ndim)][-2:]
    if not factored or p.ndim < 2 or min(p.shape[i] for i in longest) < min_dim_size_to_factor:
        v = beta * (slots or {"v": 0})["v"] + (1 - beta) * squares
        return p - lr * g / np.maximum(np.sqrt(v), least), {"v": v}
    row, col = longest
    m, n = p.shape[col], p.shape[row]
    old = slots or {"v_row": 0, "v_col": 0}
    r = beta * old["v_row"] * m + (1 - beta) * squares.sum(col, keepdims=True)
    c = beta * old["v_col"] * n + (1 - beta) * squares.sum(row, keepdims=True)
    v = r * c / np.maximum(r.sum(row, keepdims=True), least * m * n)
    return p - lr * g / np.maximum(np.sqrt(v), least), {"v_row": r / m, "v_col": c / n}


def adafactor(
    p,
    g,
    slots,
    t,
    lr,
    min_dim_size_to_factor=128,
    decay_rate=0.8,
    decay_offset=0,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=None,
    weight_decay=0.0,
    eps=1e-30,
    factored=True,
    min_scale=1e-3,
    max_decay=1.0,
    variant="paper",
):
    """One Adafactor step; slots as of the direction, and `ema` where there is momentum."""
    moments = {name: x for name, x in slots.items() if name != "ema"}
    there, new = scale_by_factored_rms(
        np.zeros_like(p), g, moments, t, -1.0, factored, decay_rate, decay_offset,
        min_dim_size_to_factor, eps, max_decay, variant == "pytorch",
    )  # fmt: skip
    if clipping_threshold is not None:
        there = there / max(1.0, rms(there) / clipping_threshold)
    late = variant == "big_vision"
    step = there * (max(min_scale, rms(p)) if multiply_by_parameter_scale else 1.0)
    step = step if late else lr * step
    if momentum is not None:
        step = momentum * slots.get("ema", 0) + (1 - momentum) * step
        new["ema"] = step
    return p - (step + weight_decay * p) * (lr if late else 1.0), new


SMALL = {"min_dim_size_to_factor": 2}
HYPER = {
    "decay_rate": (0.8, 0.5),
    "clipping_threshold": (1.0, 0.3),
    "eps": (1e-30, 1e-3),
    "min_scale": (1e-3, 2.0),
}
# optax.adafactor computes t^−c in float32.
DECAYS = 3e-7
ROWS = [
    Row(
        "adafactor",
        funcopt.adafactor,
        SMALL,
        unfelt=("min_scale",),
        reference=adafactor,
        scheduled={**HYPER, **DECAY},
        uneven=True,
        optax=optax.adafactor,
        optax_float64=DECAYS,
    ),
    Row(
        "adafactor-momentum",
        funcopt.adafactor,
        {
            "min_dim_size_to_factor": 2,
            "decay_rate": 0.6,
            "multiply_by_parameter_scale": False,
            "clipping_threshold": 0.5,
            "momentum": 0.8,
            "eps": 1e-3,
        },
        reference=adafactor,
        scheduled={"momentum": (0.9, 0.5)},
        uneven=True,
        optax=optax.adafactor,
        optax_float64=DECAYS,
        optax_kwargs={
            "min_dim_size_to_factor": 2,
            "decay_rate": 0.6,
            "multiply_by_parameter_scale": False,
            "clipping_threshold": 0.5,
            "momentum": 0.8,
            "dtype_momentum": None,
            "eps": 1e-3,
        },
        keeps_moving=True,
    ),
    Row(
        "adafactor-whole",
        funcopt.adafactor,
        {"factored": False, "decay_offset": 5, "min_scale": 0.5},
        reference=adafactor,
        uneven=True,
        optax_differs="optax has 1e-3 for the least scale, and is NaN from an offset of 1 on",
    ),
    Row(
        "adafactor-big-vision",
        funcopt.adafactor,
        {
            "min_dim_size_to_factor": 2,
            "multiply_by_parameter_scale": False,
            "clipping_threshold": None,
            "momentum": 0.9,
            "weight_decay": 0.1,
            "max_decay": 0.6,
            "variant": "big_vision",
        },
        reference=adafactor,
        scheduled={"momentum": (0.9, 0.5), "max_decay": (0.6, 0.3), **DECAY},
        uneven=True,
        optax_differs="optax has no bound of the decay, and its momentum has the rates in it",
        **DECAYING,
    ),
    Row(
        "adafactor-pytorch",
        funcopt.adafactor,
        {**SMALL, "eps": 0.3, "variant": "pytorch"},
        reference=adafactor,
        uneven=True,
        optax_differs="optax adds eps to squares",
    ),
    block(
        "factored-rms",
        funcopt.scale_by_factored_rms,
        SMALL,
        reference=scale_by_factored_rms,
        scheduled={"decay_rate": (0.8, 0.5), "epsilon": (1e-30, 1e-3)},
        uneven=True,
        optax_kwargs={**SMALL, "decay_rate_fn": lambda step, c: 1 - (step + 1.0) ** -c},
    ),
]
