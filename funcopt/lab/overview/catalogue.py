"""What there is: every public name in groups, one line each."""

import csv
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_origin

import jax

import funcopt

from ...core.paper import Paper
from ..drawing.told import told
from ..training.candidates import optimizers
from .kinds import GROUPS, kind
from .traits import traits


@dataclass(frozen=True)
class Entry:
    """One public name; `kind` is its group, `state_bytes` is for each float32 parameter.

    `acts_on` is what an update looks at, `needs` what `update` must be given, where rules tell.
    """

    name: str
    kind: str
    summary: str
    state_bytes: float | None
    paper: str
    acts_on: str
    needs: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.kind, self.acts_on) if self.acts_on else (self.kind,)


@told
@dataclass(frozen=True)
class Catalogue:
    """Every public name of the package."""

    entries: tuple[Entry, ...]

    @property
    def groups(self) -> dict[str, tuple[Entry, ...]]:
        """The entries of each kind, in the order in which people look for them."""
        found = {
            kind: tuple(entry for entry in self.entries if entry.kind == kind) for kind in GROUPS
        }
        return {kind: entries for kind, entries in found.items() if entries}

    def matching(self, *, tag: str = "", needs: str = "", search: str = "") -> "Catalogue":
        """The entries with a tag, which need an argument, and in which a text is found.

        >>> [entry.name for entry in catalogue().matching(tag="matrix", search="Vyas").entries]
        ['soap']
        """
        for name, asked, there in (("tag", tag, self.tags), ("needs", needs, self.needs)):
            if asked and asked not in there:
                raise ValueError(f"{name} must be one of {', '.join(there)}, got {asked!r}.")
        text = search.lower()
        return Catalogue(
            tuple(
                entry
                for entry in self.entries
                if (not tag or tag in entry.tags)
                and (not needs or needs in entry.needs)
                and text in f"{entry.name} {entry.summary} {entry.paper}".lower()
            )
        )

    @property
    def tags(self) -> list[str]:
        """All tags of entries: their groups, and what they act on."""
        return list(dict.fromkeys(tag for entry in self.entries for tag in entry.tags))

    @property
    def needs(self) -> list[str]:
        """All that an entry may need."""
        return list(dict.fromkeys(name for entry in self.entries for name in entry.needs))

    def headline(self) -> str:
        """How many of what there are."""
        counts = (f"{len(entries)} x {kind}" for kind, entries in self.groups.items())
        return f"{len(self.entries)} names: {', '.join(counts)}"

    def table(self):
        """All entries in groups, for `rich.print`."""
        from .table import catalogue

        return catalogue(self)

    def plot(self, ax=None):
        """State bytes of each optimizer, drawn on `ax`; returns the axes."""
        from ..drawing.figures import on
        from .plot import state_sizes

        return on(ax, state_sizes, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each entry."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Entry.__dataclass_fields__)
            rows = ({**vars(entry), "needs": " ".join(entry.needs)} for entry in self.entries)
            writer.writerows(row.values() for row in rows)
        return path


def catalogue() -> Catalogue:
    """Every public name in groups: one line, and of optimizers their memory and paper.

    >>> [entry.state_bytes for entry in catalogue().entries if entry.name == "adam"]
    [8.0]
    >>> len(catalogue().entries) > 150
    True
    """
    with_state = optimizers()
    found = []
    for name, thing in sorted(public().items()):
        acts_on, needs = traits(thing)
        found.append(
            Entry(
                name=name,
                kind=kind(name, thing),
                summary=first_line(thing),
                state_bytes=slot_bytes(thing(1e-3)) if name in with_state else None,
                paper=cited(thing),
                acts_on=acts_on,
                needs=needs,
            )
        )
    return Catalogue(tuple(found))


def public() -> dict[str, Any]:
    """Everything that can be shown: the package's public names, and the lab's functions.

    >>> [name in public() for name in ("guard", "rules.Adam", "schedules.product", "lab.find_lr")]
    [True, True, True, True]
    """
    lab = vars(sys.modules["funcopt.lab"])
    experiments = {
        f"lab.{name}": thing
        for name, thing in lab.items()
        if inspect.isfunction(thing) and thing.__module__.startswith("funcopt.lab.")
    }
    own = {name: getattr(funcopt, name) for name in funcopt.__all__}
    further = {
        f"{place}.{name}": thing
        for place in ("rules", "schedules", "wrappers")
        for name in getattr(funcopt, place).__all__
        if (thing := getattr(getattr(funcopt, place), name)) is not own.get(name)
    }
    return own | further | experiments


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


def first_line(thing: Any) -> str:
    if get_origin(thing) is Annotated:  # whose own text is that of typing
        mark = thing.__metadata__[0]
        if mark in ("signed", "nonnegative", "exact"):
            return f"Marks a slot as {mark}, which says how it may be stored."
        return f"Marks a number of a report; that of all leaves is the {mark} of theirs."
    text = getattr(thing, "__doc__", None) or ""
    return inspect.cleandoc(text).split("\n")[0]


def cited(thing: Any) -> str:
    """The authors and the year of what is from a paper, else nothing.

    >>> cited(funcopt.adam), cited(funcopt.chain)
    ('Kingma & Ba, 2015', '')
    """
    paper: Paper | None = getattr(thing, "paper", None)
    return paper.short if paper else ""


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
