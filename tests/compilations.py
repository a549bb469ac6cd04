"""How often JAX compiles, also where the program is then found in the persistent cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

import funcopt

COMPILED = "/jax/core/compile/backend_compile_duration"

_events: list[str] = []


def _listen(event: str, duration: float, **about: Any) -> None:
    del duration, about
    if event == COMPILED:
        _events.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


def compilations(function: Callable[[], Any]) -> int:
    """How many programs are compiled while `function` runs."""
    before = len(_events)
    jax.block_until_ready(function())
    return len(_events) - before


def of_eager_steps(tx: Any, params: Any, grads: Any, steps: int = 10, **extra_args: Any) -> int:
    """How many programs ten calls of `update` outside of `jit` compile, after two other ones.

    The first call compiles what it needs, the second one what an update does to the state's types.
    """
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(grads, state, params, **extra_args)

    def more() -> Any:
        there = state
        for _ in range(steps):
            there = funcopt.step(tx, grads, there, params, **extra_args)[1]
        return there

    funcopt.apply_updates(params, grads)
    return compilations(more)
