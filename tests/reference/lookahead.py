"""Lookahead around SGD: Zhang et al., arXiv:1907.08610, Algorithm 1, its loops written as one."""

from __future__ import annotations

from typing import Any

import funcopt
from tests.row import Row

PERIOD, SHARE = 3, 0.25


def lookahead_sgd(p, g, slots, t, lr, period=PERIOD, slow_step_size=SHARE):
    """One step; slot `slow` has the slow weights."""
    slow = slots["slow"] if slots else p
    fast = p - lr * g
    if t % period:
        return fast, {"slow": slow}
    slow = slow + slow_step_size * (fast - slow)
    return slow, {"slow": slow}


def looking_ahead(learning_rate: Any, slow_step_size: Any = SHARE, storage: Any = None) -> Any:
    return funcopt.lookahead(funcopt.sgd(learning_rate), PERIOD, slow_step_size, storage=storage)


ROWS = [
    Row(
        "lookahead",
        looking_ahead,
        reference=lookahead_sgd,
        way_float32=1e-5,  # the way back undoes what rounding did to the parameters
        slots=("slow",),
        evaluated="slow",
        needs_params=True,
        wraps=True,
        scheduled={"slow_step_size": (0.25, 0.75)},
        optax_differs="optax's takes a pair of fast and slow parameters; test_lookahead runs it",
    ),
]
