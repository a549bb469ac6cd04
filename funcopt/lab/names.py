"""Names that people type, and what to say when there is no such thing."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UnknownName(ValueError):
    """A name that is not in the list, with the nearest ones that are."""


MOST = 15  # names that are listed in an error; of more, the nearest are


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownName:
    """The error that says what came, what is near it, and what there is.

    >>> str(unknown("task", "digit", ["digits", "deep_tanh"]))
    "unknown task 'digit'. Did you mean 'digits'? Available: deep_tanh, digits."
    """
    names = sorted(names)
    few = len(names) <= MOST
    near = difflib.get_close_matches(name.lower(), names, n=3 if few else 5, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    there = f"Available: {', '.join(names)}." if few else "`funcopt list` has all names."
    return UnknownName(f"unknown {kind} {name!r}.{hint} {there}")


def look_up(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, in whatever case the name is written, or the error of `unknown`.

    >>> look_up("task", "Digits", {"digits": 1})
    1
    """
    if name in table:
        return table[name]
    for known in table:  # functions, whose names are in small letters, before classes
        if known.lower() == name.lower():
            return table[known]
    raise unknown(kind, name, table)
