"""Tables of what there is: all names in groups, and one name at a glance."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group
from rich.jupyter import JupyterMixin
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..drawing.prose import Prose
from ..drawing.sheet import Sheet
from .kinds import GROUPS

if TYPE_CHECKING:
    from .catalogue import Catalogue, Entry
    from .show import Shown


def catalogue(what: "Catalogue") -> "Entries":
    """Every name in its group."""
    return Entries(what)


@dataclass(frozen=True)
class Entries(JupyterMixin):
    """Names and what they are, in groups; with memory and paper where there is room."""

    what: "Catalogue"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        width = options.max_width
        for place, (group, entries) in enumerate(self.what.groups.items()):
            if place:
                yield Text()
            yield Text.assemble((group.capitalize(), "bold"), (f": {GROUPS[group]}", "dim"))
            yield entry_list(entries) if width < 60 else entry_table(entries, wide=width >= 110)


def entry_list(entries: "tuple[Entry, ...]") -> Group:
    """Each name above what it is."""
    return Group(
        *(
            Group(Text(entry.name, style="cyan"), Padding(Text(entry.summary), (0, 0, 0, 2)))
            for entry in entries
        )
    )


def entry_table(entries: "tuple[Entry, ...]", *, wide: bool) -> Table:
    """A line for each entry, or a few where what it is does not fit."""
    sized = wide and any(entry.state_bytes is not None for entry in entries)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=sized)
    for name in ("name", *(["state B/param", "paper"] if sized else []), "what it is"):
        table.add_column(name, no_wrap=name != "what it is")
    for entry in entries:
        size = "" if entry.state_bytes is None else f"{entry.state_bytes:g}"
        more = [Text(size, justify="right"), Text(entry.paper)] if sized else []
        table.add_row(Text(entry.name, style="cyan"), *more, Text(entry.summary))
    return table


def shown(what: "Shown") -> Group:
    """A name at a glance, section by section."""
    parts: list = [Text.assemble((what.call, "bold"), f"  {what.summary}"), Text()]
    if what.signature:
        parts += [Prose(what.signature), Text()]
    if what.mathematics:
        parts += [Prose(what.mathematics), Text()]
    if any(row.pytorch or row.optax for row in what.defaults):
        parts += [defaults(what), Text()]
    if what.memory:
        sizes = ", ".join(f"{size:g} for a {kind} one" for kind, size in what.memory.items())
        kept = ", ".join(f"{name} ({dtype})" for name, dtype in what.slots.items()) or "nothing"
        memory = f"  bytes a parameter: {sizes}; {kept}"
        parts += [Text.assemble(("Memory", "bold"), memory), Text()]
    if what.paper:
        parts += [Text.assemble(("Cite", "bold"), f"  {what.paper.short}: {what.paper.title}")]
        parts += [Prose(what.paper.bibtex())]
    return Group(*parts)


def defaults(what: "Shown") -> Sheet:
    """The defaults beside PyTorch's and optax's, differences in colour."""
    names = ["optax"] if what.pytorch is None else [what.pytorch, "optax"]
    rows = []
    for row in what.defaults:
        theirs = [row.optax] if what.pytorch is None else [row.pytorch, row.optax]
        rows.append([row.argument, Text(row.funcopt, style="bold"), *(
            Text("-", style="dim")
            if other is None
            else Text(f"{other} ≠", style="yellow")
            if row.differs(other)
            else Text(other)
            for other in theirs
        )])  # fmt: skip
    return Sheet(
        heads=["argument", "funcopt", *names],
        rows=rows,
        styles=[None] * len(rows),
        left=frozenset({"argument", "funcopt", *names}),
        key="argument",
    )
