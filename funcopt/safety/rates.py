"""The learning rates that a transformation is about to use, known before its step is made."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from ..core.arguments import number_at
from ..core.feedback import bind_feedback
from ..core.lift import Lifted
from ..core.transformation import GradientTransformation
from ..core.tree_lift import LiftedTree


@runtime_checkable
class Counting(Protocol):
    """A state that counts steps, for schedules, some of which may listen to a metric."""

    count: Int[Array, ""]
    feedback: tuple


def rates_are_finite(tx: object, state: object) -> Bool[Array, ""]:
    """Whether all rates are finite that schedules and arrays in `tx` have for its next step.

    No other scheduled number may be NaN. Numbers of Python were checked when they were given.
    Transformations of optax do not tell theirs.
    """
    fine = list(_fine(tx, state))
    return jnp.stack(fine).all() if fine else jnp.ones([], bool)


def _fine(tx: object, state: object) -> Iterator[Array]:
    body = tx
    while isinstance(body, GradientTransformation):
        body = body.body()
    if isinstance(state, Counting):
        yield from _fine_numbers(body, state)
    for member, inside in _inside(body, state):
        yield from _fine(member, inside)


def _fine_numbers(body: object, state: Counting) -> Iterator[Array]:
    """For each rate, and each schedule, whether its number at the next step can be computed with.

    What listens to a metric goes by what it has heard so far.
    """
    rate = getattr(body, "learning_rate", None)
    if isinstance(body, Lifted):
        numbers = (rate, body.rules)
    elif isinstance(body, LiftedTree):
        rate, numbers = getattr(body.rule, "learning_rate", None), body.rule
    else:
        static = getattr(body, "static", ())
        numbers = {name: x for name, x in vars(body).items() if name not in static}
    own = jax.tree.leaves(numbers, is_leaf=callable)
    there = jax.tree.leaves(bind_feedback(numbers, state.feedback), is_leaf=callable)
    for x, number in zip(own, there, strict=True):
        if x is rate and (callable(x) or isinstance(x, jax.Array)):
            yield jnp.isfinite(number_at("learning_rate", number, state.count))
        elif callable(x):
            yield ~jnp.isnan(number_at("a schedule", number, state.count))


def _inside(body: Any, state: Any) -> list[tuple[object, object]]:
    """The transformations in `body` with their states, as far as these are there."""
    if hasattr(body, "members"):
        return list(zip(body.members, state)) if isinstance(state, tuple | list) else []  # noqa: B905
    if hasattr(body, "moving"):
        groups = getattr(state, "inner", {})
        return [(tx, groups[label]) for label, tx in body.moving.items() if label in groups]
    if hasattr(body, "inner") and hasattr(state, "inner"):
        return [(body.inner, state.inner)]
    return []
