"""A table that hides nothing: it breaks into narrower ones where the screen is narrow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.jupyter import JupyterMixin
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2  # between columns


@dataclass(frozen=True)
class Sheet(JupyterMixin):
    """Rows of cells below `heads`, between a title and notes.

    Where they are wider than the screen, columns go on in further tables below, each beginning
    with the column `key`; where not even two columns fit, each row is a list. `left` are the heads
    of what is aligned to the left; `styles` has a style for each row.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    styles: Sequence[str | None]
    left: frozenset[str]
    key: str
    title: str = ""
    notes: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        if self.title:
            yield Text(self.title, style="bold")
        parts = self.parts(options.max_width)
        for place, chosen in enumerate(parts or ()):
            if place:
                yield Text()
            yield self.columns(chosen)
        if parts is None:
            yield from self.lists()
        for note in self.notes:
            yield Text(note, style="dim italic")

    def widths(self) -> list[int]:
        """How wide each column is."""
        return [
            max(Text(line).cell_len for cell in column for line in str(cell).split("\n"))
            for column in zip(self.heads, *self.rows, strict=True)
        ]

    def parts(self, width: int) -> list[list[int]] | None:
        """The columns of each table; None where no table fits."""
        widths, key = self.widths(), list(self.heads).index(self.key)
        parts: list[list[int]] = [[]]
        for column in range(len(self.heads)):
            grown = [*parts[-1], column]
            if sum(widths[c] + GAP for c in grown) - GAP > width:
                grown = [key, column]
                parts.append([])
            if column != key or len(parts) == 1:
                parts[-1] = grown
            if sum(widths[c] + GAP for c in parts[-1]) - GAP > width:
                return None
        return [part for part in parts if part]

    def columns(self, chosen: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for column in chosen:
            side = "left" if self.heads[column] in self.left else "right"
            table.add_column(self.heads[column], justify=side, no_wrap=True, vertical="bottom")
        for row, style in zip(self.rows, self.styles, strict=True):
            table.add_row(*(row[column] for column in chosen), style=style)
        return table

    def lists(self) -> Iterator:
        """Each row as lines of a head and a cell."""
        key = list(self.heads).index(self.key)
        for row, style in zip(self.rows, self.styles, strict=True):
            nameless = [str(cell) for cell, head in zip(row, self.heads, strict=True) if not head]
            yield Text(" ".join([*nameless, str(row[key])]), style=style or "bold")
            for column, head in enumerate(self.heads):
                cell = row[column]
                if column != key and str(cell) and head:
                    words = head.replace("\n", " ")
                    line = Text.assemble((f"{words}: ", "dim"), cell)
                    yield Padding(line, (0, 0, 0, 2), expand=False)
