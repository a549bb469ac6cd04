"""The learning rates that a transformation is about to use, known before its step is made."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ..lift import Lifted
from ..schedules.listening import listens, spoken
from ..transformation import GradientTransformation
from ..value import number_at


def rates_are_finite(tx: Any, state: Any) -> Bool[Array, ""]:
    """Whether all rates are finite that schedules and arrays in `tx` have for its next step.

    A rate that is a number in Python was checked when it was given. Transformations of optax do not
    tell theirs.
    """
    rates = [jnp.isfinite(x) for x in _rates(tx, state)]
    return jnp.stack(rates).all() if rates else jnp.ones([], bool)


def _rates(tx: Any, state: Any) -> Iterator[Array]:
    body = tx
    while isinstance(body, GradientTransformation):
        body = body.body()
    if hasattr(body, "learning_rate") and hasattr(state, "count"):
        rate = _spoken(body, state)
        if callable(rate) or isinstance(rate, jax.Array):
            yield number_at("learning_rate", rate, state.count)
    for member, inside in _inside(body, state):
        yield from _rates(member, inside)


def _spoken(body: Any, state: Any) -> Any:
    """The rate; one that listens to a metric as a function of the step, by what it has heard."""
    rate = body.learning_rate
    if not listens(rate):
        return rate
    if isinstance(body, Lifted):
        return spoken((rate, body.rules), state.feedback)[0]
    return spoken(vars(body), state.feedback)["learning_rate"]


def _inside(body: Any, state: Any) -> list[tuple[Any, Any]]:
    """The transformations in `body` with their states, as far as these are there."""
    if hasattr(body, "members"):
        return list(zip(body.members, state)) if isinstance(state, tuple | list) else []  # noqa: B905
    if hasattr(body, "moving"):
        groups = getattr(state, "inner", {})
        return [(tx, groups[label]) for label, tx in body.moving.items() if label in groups]
    for own, there in (
        ("inner", "inner"),
        ("base", "base_optimizer_state"),
        ("direction", "direction_state"),
    ):
        if hasattr(body, own) and hasattr(state, there):
            return [(getattr(body, own), getattr(state, there))]
    return []
