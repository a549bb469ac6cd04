"""funcopt's schedules, called as optax's: each made when it is used."""

from functools import wraps
from typing import TYPE_CHECKING, Any

import optax.schedules

import funcopt

if TYPE_CHECKING:
    from optax.schedules import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in funcopt.schedules.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours, theirs = getattr(funcopt.schedules, name), getattr(optax.schedules, name)

    @wraps(ours)
    def factory(*args: Any, **kwargs: Any) -> Any:
        try:
            return ours(*args, **kwargs)
        except ValueError:  # optax gives a meaning to some of it, such as no steps at all
            return theirs(*args, **kwargs)

    return globals().setdefault(name, factory)
