"""What algorithms report: NamedTuples of numbers, and how those of all leaves become one."""

from collections.abc import Callable, Container, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ..math.dtypes import common_dtype
from ..math.norm import norm


class ReportedAs(str):
    """Marks a number as one that is reported, by this name; by its own where it is empty."""


class OutermostAs(ReportedAs):
    """The same, where what is wrapped reports no number of that name."""


class Common:
    """Marks a number that follows from the count alone, so that all devices agree on it."""


class Reducer(str):
    """Marks a field of a report by how those of all leaves become one number."""


class Counted(NamedTuple):
    """Several numbers to be averaged, told by their sum `total` and how many they are."""

    total: ArrayLike
    of: ArrayLike


Number = Array
"""A number that a tree rule remembers."""
Reported = Annotated[Array, ReportedAs("")]
"""A number that a tree rule remembers and reports, under the name of its field."""
CommonNumber = Annotated[Array, Common]
"""A number that a tree rule remembers, which follows from the count alone."""
Norm = Annotated[ArrayLike, Reducer("norm")]
"""A number of a report: the root of the sum of squares of those of all leaves."""
Largest = Annotated[ArrayLike, Reducer("largest")]
"""A number of a report: the largest of those of all leaves."""
Smallest = Annotated[ArrayLike, Reducer("smallest")]
"""A number of a report: the smallest of those of all leaves."""
Mean = Annotated[ArrayLike | Counted, Reducer("mean")]
"""A number of a report: the mean of those of all leaves, or of all their units."""
Total = Annotated[ArrayLike, Reducer("total")]
"""A number of a report: the sum of those of all leaves."""


class NoReport(NamedTuple):
    """The report of a rule that reports nothing."""


REDUCERS: dict[str, Callable[[Array], Array]] = {
    "norm": norm,
    "largest": jnp.max,
    "smallest": jnp.min,
    "mean": jnp.sum,
    "total": jnp.sum,
}

R = TypeVar("R", bound=tuple)


@cache
def _marks(report: type, mark: type) -> dict[str, str]:
    hints = get_type_hints(report, include_extras=True)
    found = {name: [m for m in get_args(x)[1:] if isinstance(m, mark)] for name, x in hints.items()}
    return {name: str(marks[0]) for name, marks in found.items() if marks}


def check_report(report: type) -> None:
    """Refuse a class of reports that does not say how those of all leaves become one.

    Raises:
        TypeError: a field is not annotated by a known reducer, or has no default.
    """
    reducers = _marks(report, Reducer)
    fields: tuple[str, ...] = report._fields  # type: ignore[attr-defined]
    for name in fields:
        if reducers.get(name) not in REDUCERS:
            known = "Norm, Largest, Smallest, Mean or Total"
            told = f"the reducer {reducers[name]!r}" if name in reducers else "no reducer"
            raise TypeError(f"{report.__name__}.{name} has {told}; annotate it with {known}.")
        if name not in report._field_defaults:  # type: ignore[attr-defined]
            raise TypeError(
                f"{report.__name__}.{name} has no default, which is what it is before the first "
                f"update: `{name}: ... = 0.0`."
            )


@cache
def _names(report: type) -> list[tuple[str, str, bool]]:
    """The names of what is reported, the fields that they are of, and whether they may yield."""
    found = []
    for field, hint in get_type_hints(report, include_extras=True).items():
        marks = get_args(hint)[1:]
        named = [m for m in marks if isinstance(m, ReportedAs)]
        if not named and any(isinstance(m, Reducer) for m in marks):
            named = [ReportedAs()]
        found += [(str(m) or field, field, isinstance(m, OutermostAs)) for m in named]
    return found


def reported(numbers: Any, inside: Container[str] = ()) -> dict[str, Array]:
    """The numbers that are reported, by the names under which they are.

    `inside` has the names of what the wrapped transformation reports.
    """
    return {
        name: getattr(numbers, field)
        for name, field, yields in _names(type(numbers))
        if not (yields and name in inside)
    }


@cache
def common(report: type) -> frozenset[str]:
    """The fields that are the same on all devices."""
    hints = get_type_hints(report, include_extras=True)
    return frozenset(field for field, hint in hints.items() if Common in get_args(hint)[1:])


def of_leaf(report: R) -> R:
    """The report of one leaf: of fields with a number for each unit, one number, and the count."""
    reducers, defaults = _marks(type(report), Reducer), report._field_defaults  # type: ignore[attr-defined]

    def one(name: str, x: Any) -> tuple[Array, Array]:
        if isinstance(x, Counted):  # of each layer where they are stacked
            total = jnp.sum(x.total)
            return total, jnp.sum(x.of).astype(total.dtype)
        x = jnp.asarray(x)
        x = x.astype(common_dtype(jnp.float32, x))
        size = jnp.full([], x.size, x.dtype)
        if not x.size:
            return jnp.full([], 0 if reducers[name] == "mean" else defaults[name], x.dtype), size
        return (REDUCERS[reducers[name]](x) if x.ndim else x), size

    return type(report)(*(one(*item) for item in report._asdict().items()))  # type: ignore[attr-defined]


def together(reports: Sequence[R]) -> R:
    """The report of all leaves, from those of each."""
    report = type(reports[0])
    reducers = _marks(report, Reducer)

    def one(name: str, parts: Sequence[tuple[Array, Array]]) -> Float[Array, ""]:
        widest = common_dtype(*(x for x, _ in parts))
        numbers = jnp.stack([x.astype(widest) for x, _ in parts])
        if reducers[name] != "mean":
            return REDUCERS[reducers[name]](numbers)
        counts = jnp.stack([n.astype(widest) for _, n in parts])
        return jnp.sum(numbers) / jnp.maximum(jnp.sum(counts), 1)

    columns = zip(*reports, strict=True)
    return report(*(one(*item) for item in zip(report._fields, columns, strict=True)))  # type: ignore[attr-defined]
