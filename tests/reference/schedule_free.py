"""Schedule-free SGD, AdamW and RAdam: the three sequences, all kept.

Defazio et al., arXiv:2405.15682, eqs. 4 to 6 and algorithm 1; RAdam's rectification is that of Liu
et al., arXiv:1908.03265, algorithm 2, with no step until it is defined.
"""

from __future__ import annotations

import numpy as np
from optax import contrib

import funcopt
from tests.row import DECAY, DECAYING, POWERS, Row


def _averaged(p, slots, z, lr, b1, power):
    lr_max = max(slots["lr_max"], lr)
    weight = lr_max**power
    total = slots["total"] + weight
    c = weight / total if total > 0 else 0.0
    x = (1 - c) * slots["x"] + c * z
    return (1 - b1) * z + b1 * x, {"x": x, "z": z, "lr_max": lr_max, "total": total}


def _begun(p, slots):
    return slots or {"x": p, "z": p, "nu": np.abs(0 * p), "lr_max": 0.0, "total": 0.0}


def _warm(lr, t, warmup_steps):
    return lr * min(1.0, t / warmup_steps)


def schedule_free_sgd(
    p, g, slots, t, lr, warmup_steps=1, b1=0.9, weight_decay=0.0, weight_lr_power=2.0
):
    """One step at y = p; slots `x` (to evaluate), `z`."""
    slots, lr = _begun(p, slots), _warm(lr, t, warmup_steps)
    z = slots["z"] - lr * (g + weight_decay * p)
    return _averaged(p, slots, z, lr, b1, weight_lr_power)


def schedule_free_adamw(
    p,
    g,
    slots,
    t,
    lr,
    warmup_steps=1,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    weight_lr_power=2.0,
):
    """One step at y = p; slots `x` (to evaluate), `z`, `nu`."""
    slots, lr = _begun(p, slots), _warm(lr, t, warmup_steps)
    nu = b2 * slots["nu"] + (1 - b2) * np.abs(g) ** 2
    u = g / (np.sqrt(nu / (1 - b2**t)) + eps)
    y, new = _averaged(p, slots, slots["z"] - lr * (u + weight_decay * p), lr, b1, weight_lr_power)
    return y, {**new, "nu": nu}


def rectification(t, b2):
    """RAdam's r_t, 0 where it is not defined."""
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
    if rho <= 4:
        return 0.0
    return np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))


def schedule_free_radam(p, g, slots, t, lr, b2=0.999, **more):
    """One step at y = p; slots `x` (to evaluate), `z`, `nu`."""
    return schedule_free_adamw(p, g, slots, t, lr * rectification(t, b2), b2=b2, **more)


ROWS = [
    Row(
        "schedule-free-sgd",
        funcopt.schedule_free_sgd,
        reference=schedule_free_sgd,
        rate=0.0625,
        slots=("z",),
        needs_params=True,
        wraps=True,
        evaluated="x",
        scheduled={"b1": (0.9, 0.6), **DECAY},
        optax=contrib.schedule_free_sgd,
        way_float32=5e-6,  # the average is recovered from the parameters, of which it is 9/10
    ),
    Row(
        "schedule-free-adamw",
        funcopt.schedule_free_adamw,
        {"weight_decay": 0.05},
        reference=schedule_free_adamw,
        rate=0.0625,
        needs_params=True,
        slots=("z", "nu"),
        wraps=True,
        evaluated="x",
        scheduled={"b1": (0.9, 0.6), "b2": (0.999, 0.95), "eps": (1e-8, 1e-3), **DECAY},
        optax=contrib.schedule_free_adamw,
        optax_rounds=POWERS,
        **DECAYING,
    ),
    Row(
        "schedule-free-radam",
        funcopt.schedule_free_radam,
        {"b2": 0.98},
        reference=schedule_free_radam,
        rate=0.0625,
        slots=("z", "nu"),
        needs_params=True,
        own_rate=True,
        silent_steps=4,
        wraps=True,
        evaluated="x",
        scheduled={"b1": (0.9, 0.6), **DECAY},
        optax_differs="optax has no such optimizer",
        way_float32=5e-6,
        float64=1e-6,  # the rectification is a schedule, which is in float32 always
        way_float64=1e-6,
    ),
]
