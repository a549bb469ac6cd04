"""The algorithms in NumPy float64, one file per family, transcribed from their papers.

Every step has the same shape, `step(p, g, slots, t, lr, **hyper) -> (new_p, slots)`, for ONE array:
`slots` is a dict of arrays (pass `{}` or None on the first call), `t` is 1 on the first update and
`lr` is the number in force at that update. Complex arrays use |g|^2 and |g| where the paper has g^2
and |g|. Where implementations of one name differ, docs/differences.md says how. Below the
reference stand its `ROWS`: the configurations of funcopt's algorithm that are held to it.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Slots = dict[str, np.ndarray]
Step = Callable[..., tuple[np.ndarray, Slots]]

# Each file here is a family: its steps are attributes of this package, its `ROWS` are gathered by
# `tests.catalog`.
MODULES = [
    importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
]


def _steps(module: Any) -> dict[str, Step]:
    """The functions that a module defines and that have the shape of a step."""
    return {
        name: step
        for name, step in inspect.getmembers(module, inspect.isfunction)
        if step.__module__ == module.__name__
        and list(inspect.signature(step).parameters)[:5] == ["p", "g", "slots", "t", "lr"]
    }


for _module in MODULES:
    globals().update(_steps(_module))


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
        hyper: passed on to `step`; of a function, what it answers for the 0-based step.

    >>> from tests.reference.sgd import sgd
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
        numbers = {name: x(index) if callable(x) else x for name, x in hyper.items()}
        p, slots = step(p, g + coupled_weight_decay * p, slots, index + 1, rate, **numbers)
        positions.append(p)
    return positions, slots
