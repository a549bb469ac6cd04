"""The algorithms in NumPy float64, one file per family, transcribed from their papers.

Every step has the same shape, `step(p, g, slots, t, lr, **hyper) -> (new_p, slots)`, for ONE array:
`slots` is a dict of arrays (pass `{}` or None on the first call), `t` is 1 on the first update and
`lr` is the number in force at that update. Complex arrays use |g|^2 and |g| where the paper has g^2
and |g|. Where implementations of one name differ, DIFFERENCES.md in this folder says how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .adadelta import adadelta
from .adagrad import adagrad
from .adam import adam, adamw
from .adamax import adamax
from .amsgrad import amsgrad
from .clips import (
    adaptive_grad_clip,
    centralize,
    clip_by_block_rms,
    clip_by_ema,
    clip_by_norm,
    clip_by_percentile,
    clip_by_zscore,
    clip_spikes,
    normalize_by_update_norm,
)
from .cocob import cocob
from .dadapt import dadapt_adagrad, dadapt_adamw, dadapt_sgd
from .dog import dog, dowg
from .hypergradient import hypergradient_sgd
from .lion import lion
from .mechanic import mechanic_sgd
from .momo import momo, momo_adam
from .nadam import nadam, nadamw
from .polyak import polyak_sgd
from .prodigy import prodigy
from .rmsprop import rmsprop
from .schedule_free import schedule_free_adamw, schedule_free_radam, schedule_free_sgd
from .sgd import sgd
from .stable import spam, stable_adamw, stable_spam

Slots = dict[str, np.ndarray]
Step = Callable[..., tuple[np.ndarray, Slots]]

__all__ = [
    "Slots",
    "Step",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adaptive_grad_clip",
    "amsgrad",
    "centralize",
    "clip_by_block_rms",
    "clip_by_ema",
    "clip_by_norm",
    "clip_by_percentile",
    "clip_by_zscore",
    "clip_spikes",
    "cocob",
    "dadapt_adagrad",
    "dadapt_adamw",
    "dadapt_sgd",
    "dog",
    "dowg",
    "hypergradient_sgd",
    "lion",
    "mechanic_sgd",
    "momo",
    "momo_adam",
    "nadam",
    "nadamw",
    "normalize_by_update_norm",
    "polyak_sgd",
    "prodigy",
    "rmsprop",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "sgd",
    "spam",
    "stable_adamw",
    "stable_spam",
    "trajectory",
]


def trajectory(
    step: Step,
    p0: Any,
    grads: Sequence[Any] | Callable[[np.ndarray], np.ndarray],
    lr: float | Callable[[int], float],
    *,
    steps: int | None = None,
    coupled_weight_decay: float = 0.0,
    **hyper: Any,
) -> tuple[list[np.ndarray], Slots]:
    """Run `step` and return the parameters after each update, and the last slots.

    Arguments:
        step: one of the functions of this package.
        p0: the starting parameters, of any shape.
        grads: one gradient per update, or a function of the parameters (`steps` says how many).
        lr: a number, or a function of the 0-based step.
        steps: the number of updates; `len(grads)` when None.
        coupled_weight_decay: this times the parameters is added to the gradient before the step
            (the L2 form, PyTorch's `weight_decay` outside AdamW).
        hyper: passed on to `step`.

    >>> positions, slots = trajectory(sgd, 1.0, [2.0, 2.0], lr=0.1, momentum=0.5)
    >>> [round(float(p), 6) for p in positions], float(slots["trace"])
    ([0.8, 0.5], 3.0)
    """
    wide = np.complex128 if np.iscomplexobj(p0) else np.float64
    p = np.asarray(p0, dtype=wide)
    count = len(grads) if steps is None else steps
    slots: Slots = {}
    positions = []
    for index in range(count):
        g = np.asarray(grads(p) if callable(grads) else grads[index], dtype=wide)
        rate = float(lr(index)) if callable(lr) else float(lr)
        p, slots = step(p, g + coupled_weight_decay * p, slots, index + 1, rate, **hyper)
        positions.append(p)
    return positions, slots
