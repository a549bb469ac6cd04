"""optax's schedules: funcopt's, which are exact and print as their call, where both have one."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import optax.schedules

import funcopt

if TYPE_CHECKING:
    from optax.schedules import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

NAMES = tuple(
    name
    for name in dir(optax.schedules)
    if name != "Schedule" and inspect.isfunction(getattr(funcopt, name, None))
)


def _schedule(name: str) -> Callable[..., Any]:
    ours, theirs = getattr(funcopt, name), getattr(optax.schedules, name)

    @wraps(ours)
    def factory(*args: Any, **kwargs: Any) -> Any:
        try:
            return ours(*args, **kwargs)
        except ValueError:  # optax gives a meaning to some of it, such as no steps at all
            return theirs(*args, **kwargs)

    return factory


def __getattr__(name: str) -> Any:
    return getattr(optax.schedules, name)


globals().update({name: _schedule(name) for name in NAMES})


def __dir__() -> list[str]:
    return dir(optax.schedules)
