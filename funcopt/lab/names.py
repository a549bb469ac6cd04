"""Names that people type, and what to say when there is no such thing."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name that is not in the list, with the nearest ones that are."""


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownName:
    """The error that says what came, what is near it, and what there is.

    >>> str(unknown("task", "digit", ["digits", "deep_tanh"]))
    "unknown task 'digit'. Did you mean 'digits'? Available: deep_tanh, digits."
    """
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return UnknownName(f"unknown {kind} {name!r}.{hint} Available: {', '.join(names)}.")


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, or the error of `unknown`.

    >>> look_up("task", "digits", {"digits": 1})
    1
    """
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]
