"""What needs no paper: nothing, a factor, weight decay beside a gradient."""

from __future__ import annotations

import optax

import funcopt
from tests.row import DECAY, DECAYING, block


def identity(p, g, slots, t, lr):
    return p - lr * g, slots


def scaled(p, g, slots, t, lr, step_size):
    return p - lr * step_size * g, slots


def decayed(p, g, slots, t, lr, weight_decay=0.0):
    return p - lr * (g + weight_decay * p), slots


ROWS = [
    block("identity", funcopt.identity, reference=identity),
    block("scale", funcopt.scale, {"step_size": -0.5}, reference=scaled),
    block(
        "descend",
        funcopt.descend,
        {"learning_rate": 0.3},
        reference=scaled,
        reference_kwargs={"step_size": -0.3},
        optax=optax.scale_by_learning_rate,
    ),
    block(
        "scale_by_learning_rate",
        funcopt.scale_by_learning_rate,
        {"learning_rate": 0.3, "flip_sign": False},
        reference=scaled,
        reference_kwargs={"step_size": 0.3},
    ),
    block(
        "add_decayed_weights",
        funcopt.add_decayed_weights,
        {"weight_decay": 0.1},
        reference=decayed,
        scheduled=DECAY,
        **DECAYING,
    ),
]
