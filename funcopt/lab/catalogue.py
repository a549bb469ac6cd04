"""What there is: every optimizer and schedule, one line each."""

import csv
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import funcopt

from .candidates import optimizers
from .papers import PAPERS


@dataclass(frozen=True)
class Entry:
    """One optimizer or schedule; `state_bytes` is for each float32 parameter."""

    name: str
    kind: str
    summary: str
    state_bytes: float | None
    paper: str


@dataclass(frozen=True)
class Catalogue:
    """Every optimizer and every schedule of the package."""

    entries: tuple[Entry, ...]

    def table(self):
        """A `rich.table.Table` of all entries."""
        from .tables import catalogue

        return catalogue(self)

    def plot(self, ax=None):
        """State bytes of each optimizer, drawn on `ax`; returns the axes."""
        from . import plots

        return plots.on(ax, plots.state_sizes, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each entry."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Entry.__dataclass_fields__)
            writer.writerows(vars(entry).values() for entry in self.entries)
        return path


def catalogue() -> Catalogue:
    """Every optimizer and schedule: one line, memory, paper.

    >>> [entry.state_bytes for entry in catalogue().entries if entry.name == "adam"]
    [8.0]
    """
    found = [
        Entry(
            name=name,
            kind="optimizer",
            summary=first_line(factory),
            state_bytes=slot_bytes(factory(1e-3)),
            paper=PAPERS[name].short if name in PAPERS else "",
        )
        for name, factory in sorted(optimizers().items())
    ]
    found += [
        Entry(name, "schedule", first_line(factory), None, "")
        for name, factory in sorted(schedules().items())
    ]
    return Catalogue(tuple(found))


def schedules() -> dict[str, Callable[..., Any]]:
    """Every factory of schedules that funcopt exports.

    >>> "cosine_decay_schedule" in schedules()
    True
    """
    return {
        name: thing
        for name, thing in vars(funcopt.schedules).items()
        if inspect.isfunction(thing) and hasattr(thing, "__wrapped__")
    }


def first_line(thing: Callable) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def slots(tx: Any, dtype: str = "float32") -> dict[str, Any]:
    """The arrays that `tx` keeps for a parameter of `dtype`, by name, as shapes and dtypes.

    >>> sorted(slots(funcopt.adam(1e-3)))
    ['mu', 'nu']
    """
    param = jax.ShapeDtypeStruct((1024, 512), dtype)
    state = jax.eval_shape(tx.init, param)
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {
        jax.tree_util.keystr(path[-1:], simple=True): leaf for path, leaf in leaves if leaf.size > 1
    }


def slot_bytes(tx: Any, dtype: str = "float32") -> float:
    """Bytes that `tx` keeps for each parameter of `dtype`, without the few scalars of its state.

    >>> slot_bytes(funcopt.sgd(0.1, momentum=0.9)), slot_bytes(funcopt.adam(1e-3), "bfloat16")
    (4.0, 8.0)
    """
    return sum(leaf.size * leaf.dtype.itemsize for leaf in slots(tx, dtype).values()) / (1024 * 512)
