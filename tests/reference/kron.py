"""PSGD Kron.

Li, arXiv:2402.11858, and the author's program with dQ = Q^0.5 E Q^1.5, for matrices:

    m_t = β m_{t-1} + (1−β) g_t,   β = min(β₁, (t−1) / t)
    A = P_1 (g + (δ + ε |g|) v) P_2ᵀ,   P = Qᴴ Q
    T = A Aᴴ,   ℓ = bound(T) + c,   L = max(β_L L + (1−β_L) ℓ, ℓ),   c = numel / size
    Q ← Q − μ / L (T Q − c Q);   R = Qᴴ − Q, R ← R / bound(R),   Q ← Q + a R Q + a² / 2 R² Q
    θ_t = θ_{t-1} − η ( clip(P_1 m P_2ᵀ) + λ θ_{t-1} )

bound(A) is a lower bound of the spectral norm by random vectors; a = 1/8, or −tr RQ / tr R²Q where
that is smaller and tr R²Q is negative. A diagonal Q is a vector, and takes the diagonal of T.
"""

from __future__ import annotations

from functools import cache

import numpy as np

import funcopt
from funcopt.math.norm_bound import normal_numbers
from tests.reference.adam import adamw
from tests.row import DECAY, DECAYING, Row

TINY = np.finfo(np.float64).smallest_normal


@cache
def drawn(key, t, shapes, is_complex):
    """Random numbers, the only part of this that is not told twice."""
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    x = np.asarray(normal_numbers(key, t, (1 + is_complex) * int(ends[-1])), np.float64)
    x = (x[: ends[-1]] + 1j * x[ends[-1] :]) / 2**0.5 if is_complex else x
    return [part.reshape(shape) for part, shape in zip(np.split(x, ends[:-1]), shapes, strict=True)]


def bound(x, v):
    unit = np.abs(x).max() + TINY
    x = x / unit
    row = x[np.argmax(np.linalg.norm(x, axis=1))]
    inner = np.sum(row * v.conj(), 1, keepdims=True)
    v = row + np.where(inner == 0, 0, inner / np.where(inner == 0, 1, np.abs(inner))) * v
    for _ in range(2):
        v = v @ x
        v = v / (np.linalg.norm(v, axis=1, keepdims=True) + TINY) @ x
    return unit * np.linalg.norm(v, axis=1).max()


def turned(q, v):
    r = q.conj().T - q
    r = r / (bound(r, v) + TINY)
    first, second = np.trace(r @ q).real, np.trace(r @ r @ q).real
    a = min(-first / second, 0.125) if second < 0 else 0.125
    return q + a * (r @ q + a / 2 * r @ r @ q)


def apply(q, x):
    return np.abs(q[:, None]) ** 2 * x if q.ndim == 1 else q.conj().T @ q @ x


def side(q, last, a, v, lr, decay):
    c = a.size / len(q)
    t = a @ a.conj().T
    if q.ndim == 1:
        t = np.diag(t).real
        size = max(decay * last + (1 - decay) * (t.max() + c), t.max() + c)
        return q * (1 - lr / size * (t - c)), size
    size = bound(t, v[0]) + c
    size = max(decay * last + (1 - decay) * size, size)
    return turned(q - lr / size * (t @ q - c * q), v[1]), size


def kron(p, g, slots, t, lr, b1=0.9, weight_decay=0.0, *, preconditioner_lr=0.1, bound_decay=0.9,
         damping=1e-9, init_scale=None, max_size=8192, max_skew=1, precondition_frequency=1,
         whiten_grad=True, clip_rms=2.0, clip_max=10.0, key=0, otherwise_rate=1.0):  # fmt: skip
    """One step of a matrix; one AdamW step of all else."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, b1, 0.999, 1e-8, weight_decay=weight_decay)
    dense = [1 < n <= max_size and n * n <= max_skew * p.size for n in p.shape]
    kept = slots or {"grad_mu": np.zeros_like(p), "left_bound": 0.0, "right_bound": 0.0}
    beta = min(b1, (t - 1) / t)
    m = beta * kept["grad_mu"] + (1 - beta) * g
    if not slots:
        scale = init_scale or (np.mean(np.abs(g) ** 4) + damping**4) ** -0.125
        qs = [scale**0.5 * (np.eye(n) if full else np.ones(n)).astype(p.dtype)
              for n, full in zip(p.shape, dense, strict=True)]  # fmt: skip
    else:
        qs = [kept["left"], kept["right"]]
    bounds = [kept["left_bound"], kept["right_bound"]]
    if (t - 1) % precondition_frequency == 0:
        seen = g if whiten_grad else m
        shapes = [(32, len(q)) for q in qs if q.ndim == 2 for _ in range(2)]
        v, *vectors = drawn(key, t, (p.shape, *shapes), np.iscomplexobj(p))
        noise = (damping + np.finfo(float).eps * np.abs(seen)) * v
        a = apply(qs[1], apply(qs[0], seen + noise).T).T
        for i, x in enumerate((a, a.T)):
            v = vectors[-2:] if i else vectors[:2]
            qs[i], bounds[i] = side(qs[i], bounds[i], x, v, preconditioner_lr, bound_decay)
    u = apply(qs[1], apply(qs[0], m).T).T
    rms = np.sqrt(np.mean(np.abs(u) ** 2))
    u = u * (clip_rms / rms if rms > clip_rms else 1)
    u = u / np.maximum(np.abs(u) / clip_max, 1)
    new = {"grad_mu": m, "left": qs[0], "right": qs[1]}
    new |= {"left_bound": np.array(bounds[0]), "right_bound": np.array(bounds[1])}
    return p - lr * (u + weight_decay * p), new


# How far a factor is best turned is known to half of the digits, which steps hardly feel.
ROUNDED = {"float32": 1e-5, "way_float32": 2e-5, "slots_float32": 2e-3, "float64": 1e-11}
COMPLEX = {"float64": 1e-7, "way_float64": 1e-9}
ROWS = [
    Row(
        "kron",
        funcopt.kron,
        reference=kron,
        scheduled={"b1": (0.9, 0.6), **DECAY},
        uneven=True,
        **ROUNDED,
        optax_differs="optax has no such optimizer",
        keeps_moving=True,
    ),
    Row(
        "kron-dense",
        funcopt.kron,
        {
            "b1": 0.5,
            "weight_decay": 0.1,
            "preconditioner_lr": 0.3,
            "bound_decay": 0.7,
            "damping": 1e-2,
            "init_scale": 0.3,
            "max_skew": 2,
            "precondition_frequency": 2,
            "whiten_grad": False,
            "clip_rms": 0.5,
            "clip_max": 0.7,
            "key": 3,
            "otherwise_rate": 0.5,
        },
        reference=kron,
        uneven=True,
        **(ROUNDED | COMPLEX),
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
]
