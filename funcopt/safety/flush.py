"""A step with the micro-batches of a round that has not come to its end."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core.answers import Waits, answering, can_answer
from ..core.given import is_inexact
from ..core.paths import path_names
from ..core.step import apply_updates
from ..core.transformation import State, Tree


def flush(
    tx: optax.GradientTransformation, state: State, params: Tree, **extra_args: Any
) -> tuple[Tree, State]:
    """End a gradient accumulation early: make the step of the micro-batches that it waits with.

    For the end of an epoch, or of training, in the middle of a round. Nothing moves but what lies
    in an `accumulate`: wrappers around it do not notice. Where no micro-batch waits, or nothing
    accumulates, all stays as it is. Where the last micro-batch is known beforehand,
    `tx.update(..., flush=True)` does the same with it.

    Args:
        tx: the transformation.
        state: its state after any number of updates.
        params: the parameters that belong to this state.
        extra_args: what else the transformation needs, such as `value=`, which does not count.

    Returns:
        The parameters and the state after the step.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.guard(funcopt.accumulate(funcopt.sgd(1.0), every=4))
    >>> params, state = jnp.array([0.0]), tx.init(jnp.array([0.0]))
    >>> for grad in (1.0, 3.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    >>> params, state = funcopt.flush(tx, state, params)
    >>> params
    Array([-2.], dtype=float32)
    """
    waiting = {name for each in answering(state, Waits) for name in path_names(each.waiting())}
    if not waiting:
        return params, state

    zeros = jax.tree.map(lambda x: jnp.zeros_like(x) if _moves(x) else None, params)
    update: Any = optax.with_extra_args_support(tx).update
    updates, new = update(zeros, state, params, **{"flush": True, "weight": 0.0, **extra_args})
    names = iter(path_names(updates))
    updates = jax.tree.map(lambda u: u if next(names) in waiting else None, updates)
    # A wrapper around, such as a momentum or a monitor, has not seen a micro-batch.
    state = jax.tree.map(
        lambda old, new: new if can_answer(new, Waits) else old,
        state, new, is_leaf=lambda x: can_answer(x, Waits),
    )  # fmt: skip
    return apply_updates(params, updates), state


def _moves(x: object) -> bool:
    return isinstance(x, float | complex) or is_inexact(x)
