"""How transformations carry schedules that listen: their state, what they hear, what they say."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..math.dtypes import cast
from .arguments import is_number
from .schedule import Schedule, listens
from .steps import real

T = TypeVar("T")


def _listeners(numbers: Any) -> list[Schedule]:
    return [x for x in jax.tree.leaves(numbers, is_leaf=callable) if listens(x)]


def init_feedback(numbers: Any) -> tuple:
    """The states of all schedules among `numbers` that listen."""
    return tuple(each.init() for each in _listeners(numbers))


def update_feedback(numbers: Any, states: tuple, value: Any, metric: Any, step: Array) -> tuple:
    """The states after `metric`, or where that was not given after `value`, the loss of the step.

    One that is not finite is no news: it leaves everything as it was.
    """
    listeners = _listeners(numbers)
    _check_memories(listeners, states)
    if not listeners:
        return states
    name, heard = ("value", value) if metric is None else ("metric", metric)
    if heard is None:
        raise ValueError(
            f"{listeners[0]!r} listens to a metric: call `tx.update(grads, state, params, "
            "metric=metric)`, or with `value=loss` to let it listen to the loss. Where there is "
            "nothing new to tell, give metric=jnp.nan."
        )
    if not is_number(heard):
        raise TypeError(f"{name} must be a number, got {heard!r}.")
    if jnp.ndim(heard):
        raise ValueError(f"{name} must be a scalar, got an array of shape {jnp.shape(heard)}.")
    heard = real(heard)
    news = jnp.isfinite(heard)
    heard = jnp.where(news, heard, 0)

    def after(each: Schedule, old: Any) -> Any:
        new = each.observe(jax.tree.map(_widened, old), heard, step)
        return jax.tree.map(lambda n, o: jnp.where(news, cast(n, o.dtype), o), new, old)

    return tuple(after(each, old) for each, old in zip(listeners, states, strict=True))


def _widened(x: Array) -> Array:
    """A number of a state that was made where floats are narrower, as wide as they are here."""
    return real(x) if x.dtype == jnp.float32 else x


def _check_memories(listeners: list[Schedule], states: Any) -> None:
    """Refuse a state that was made with other schedules than these."""
    expected = tuple(each.memory for each in listeners)
    what_to_do = (
        "A state goes on with schedules that listen as those did which it was made with. To go on "
        "with others, make a state with `tx.init(params)`, whose `feedback` begins anew, and carry "
        "over what shall stay: `state._replace(feedback=tx.init(params).feedback)` where the "
        "state is not nested in another one."
    )
    if len(states) != len(expected):
        speakers = ", ".join(map(repr, listeners)) or "no schedule"
        kept = ", ".join(map(_name, states)) or "nothing"
        raise ValueError(
            f"The state remembers {kept} of the metric, but {speakers} of this transformation "
            f"listens to it. {what_to_do}"
        )
    for each, memory, state in zip(listeners, expected, states, strict=True):
        if jax.tree.structure(memory) != jax.tree.structure(state):
            raise ValueError(
                f"The state is of another schedule than {each!r}, which keeps {_name(memory)} of "
                f"the metric: got {_name(state)}. {what_to_do}"
            )
        found = list(map(jnp.shape, jax.tree.leaves(state)))
        wanted = [x.shape for x in jax.tree.leaves(memory)]
        if found != wanted:
            names = [
                jax.tree_util.keystr(path, simple=True, separator="/")
                for path, _ in jax.tree.leaves_with_path(memory)
            ]
            name, has, should = next(
                row for row in zip(names, found, wanted, strict=True) if row[1] != row[2]
            )
            raise ValueError(
                f"What the state remembers for {each!r} has another shape: {name} is {has}, "
                f"expected {should}. Is it the state of several runs at once? Then map over it "
                "with jax.vmap."
            )


def _name(memory: Any) -> str:
    """The classes of a memory: of one schedule its own, of several in one those of each."""
    if hasattr(memory, "_fields"):
        return type(memory).__name__
    parts = [_name(each) for each in memory if each != ()] if isinstance(memory, tuple) else []
    return " and ".join(parts) or f"a {type(memory).__name__}"


def bind_feedback(numbers: T, states: tuple) -> T:
    """`numbers`, with every schedule that listens as a plain function of the step."""
    _check_memories(_listeners(numbers), states)
    fill = iter(states)

    def function(x: Any) -> Callable | Any:
        return partial(x.at, state=next(fill)) if listens(x) else x

    return jax.tree.map(function, numbers, is_leaf=callable)
