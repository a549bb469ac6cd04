"""How transformations carry schedules that listen: their state, what they hear, what they say."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .schedule import Schedule

T = TypeVar("T")


def listens(x: Any) -> bool:
    return isinstance(x, Schedule) and x.listens


def _listeners(numbers: Any) -> list[Schedule]:
    return [x for x in jax.tree.leaves(numbers, is_leaf=callable) if listens(x)]


def begin(numbers: Any) -> tuple:
    """The states of all schedules among `numbers` that listen."""
    return tuple(each.init() for each in _listeners(numbers))


def hear(numbers: Any, states: tuple, value: Any, metric: Any, step: Array) -> tuple:
    """The states after `metric`, or where that was not given after `value`, the loss of the step.

    One that is not finite is no news: it leaves everything as it was.
    """
    listeners = _listeners(numbers)
    if not listeners:
        return states
    name, heard = ("value", value) if metric is None else ("metric", metric)
    if heard is None:
        raise ValueError(
            f"{listeners[0]!r} listens to a metric: call `tx.update(grads, state, params, "
            "metric=metric)`, or with `value=loss` to let it listen to the loss. Where there is "
            "nothing new to tell, give metric=jnp.nan."
        )
    if jnp.ndim(heard):
        raise ValueError(f"{name} must be a scalar, got an array of shape {jnp.shape(heard)}.")
    heard = jnp.asarray(heard, jnp.float32)
    news = jnp.isfinite(heard)
    return tuple(
        jax.tree.map(
            lambda new, old: jnp.where(news, new, old), each.observe(old, heard, step), old
        )
        for each, old in zip(listeners, states, strict=True)
    )


def spoken(numbers: T, states: tuple) -> T:
    """`numbers`, with every schedule that listens as a plain function of the step."""
    fill = iter(states)

    def function(x: Any) -> Callable | Any:
        return partial(x.at, state=next(fill)) if listens(x) else x

    return jax.tree.map(function, numbers, is_leaf=callable)
