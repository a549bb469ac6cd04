"""A description on a screen: a line for each kind of parameter, reasons and totals below."""

import io
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions
from rich.jupyter import JupyterMixin
from rich.table import Table
from rich.text import Text

from ..core.description import Slot, sized

if TYPE_CHECKING:
    from .describe import Description, LeafDescription

SHORT = {"bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}
GAP = 2  # between columns
LONG = 16  # so many characters, beyond which slots go into a note
PLAIN = ((0,), (1,))
RIGHT = {"bytes", "arrays", "parameters", "per parameter"}


def written(what: "Description") -> str:
    """The table as text, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    screen = Console(width=width, file=io.StringIO(), record=True, force_jupyter=False)
    screen.print(Listing(what))
    return "\n".join(line.rstrip() for line in screen.export_text().splitlines())


@dataclass(frozen=True)
class Listing(JupyterMixin):
    """The description as something that rich can print, on a screen of any width."""

    what: "Description"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        lines, width = collapsed(self.what.rows), options.max_width
        columns, notes = _columns(lines), []
        if _width(columns) > width and "why" in columns:
            columns["why"] = _noted("why", [line.row.why for line in lines], notes)
        if _width(columns) > width:
            cells = [(x,) if len(x) > LONG else () for x in columns["slots"]]
            noted = zip(_noted("slots", cells, notes), columns["slots"], strict=True)
            columns["slots"] = [f"slots {number}" if number else x for number, x in noted]
        yield Text(textwrap.shorten(self.what.optimizer, 400, placeholder=" ..."), style="bold")
        yield Text(self.what.headline())
        yield Text(_common(self.what))
        yield from _sheets(columns, width)
        for note in notes:
            yield Text(note, style="dim")
        yield Text()
        yield from _sheets(_sums(self.what), width)


def _noted(head: str, column: Sequence[Sequence[str]], notes: list[str]) -> list[str]:
    """Cells with numbers in place of their texts, which are added to the notes."""
    texts = list(dict.fromkeys(x for cell in column for x in cell))
    notes += [f"{head} {number}: {text}" for number, text in enumerate(texts, 1)]
    return [", ".join(f"{texts.index(x) + 1}" for x in cell) for cell in column]


def _own_width(name: str, cells: list[str]) -> int:
    return max(map(len, (name, *cells)))


def _width(columns: dict[str, list[str]]) -> int:
    return sum(_own_width(*column) + GAP for column in columns.items()) - GAP


def _sheets(columns: dict[str, list[str]], width: int) -> Iterator:
    """A table; where it is wider than the screen, several that begin alike, or lists."""
    (key, first), *rest = columns.items()
    parts: list[dict[str, list[str]]] = [{key: first}]
    for name, cells in rest:
        if _width({**parts[-1], name: cells}) > width and len(parts[-1]) > 1:
            parts.append({key: first})
        parts[-1][name] = cells
    if any(_width(part) > width for part in parts):
        yield from _lists(list(columns), zip(*columns.values(), strict=True))
        return
    for place, part in enumerate(parts):
        if place:
            yield Text()
        yield _table(part)


def _table(columns: dict[str, list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in RIGHT else "left", no_wrap=True)
    rules = columns.get("rule", [""] * len(next(iter(columns.values()))))
    for rule, row in zip(rules, zip(*columns.values(), strict=True), strict=True):
        cells = [Text(x, style="cyan" if x == rule else "") for x in row]
        table.add_row(*cells, style="dim" if rule == "frozen" else "")
    return table


def _lists(names: list[str], rows: Any) -> Iterator:
    """Each row as lines of a head and a cell."""
    for first, *row in rows:
        yield Text(first, style="bold")
        for name, cell in zip(names[1:], row, strict=True):
            if cell:
                yield Text.assemble("  ", (f"{name}: ", "dim"), cell)


@dataclass(frozen=True)
class Line:
    """Parameters that are alike but for numbers in their paths, and for their rates."""

    rows: "Sequence[LeafDescription]"

    @property
    def row(self) -> "LeafDescription":
        return self.rows[0]

    @property
    def path(self) -> str:
        """With a star where their numbers differ, and how many they are."""
        pieces = [re.split(r"(\d+)", row.path) for row in self.rows]
        same = zip(*pieces, strict=True)
        path = "".join(column[0] if len(set(column)) == 1 else "*" for column in same)
        path = path or "the parameter"
        return path if len(self.rows) == 1 else f"{path} x {len(self.rows)}"


def collapsed(rows: "Sequence[LeafDescription]") -> list[Line]:
    """Rows that are alike as one line each, in the order of the first ones."""
    found: dict[Any, list[LeafDescription]] = {}
    for row in rows:
        kind = replace(row, path=re.sub(r"\d+", "*", row.path), rate_factor=1.0)
        found.setdefault(kind, []).append(row)
    return list(map(Line, found.values()))


def _columns(lines: list[Line]) -> dict[str, list[str]]:
    """A cell for each line, by the heads of columns, without those that say nothing."""
    rows = [line.row for line in lines]
    rates = {row.learning_rate for row in rows} - {None}
    modes = {row.decay for row in rows if row.decay}
    columns: dict[str, Callable[[Line], str]] = {
        "parameter": lambda line: line.path,
        "shape": lambda line: _shape(line.row),
        "matrix": lambda line: "" if line.row.matrix == PLAIN else _matrix(line.row),
        "layers": lambda line: _layers(line.row),
        "group": lambda line: line.row.group,
        "rule": lambda line: line.row.rule,
        "rate": lambda line: _rate(line, several=len(rates) > 1),
        "scale": lambda line: "" if line.row.scale == 1 else f"{line.row.scale:.3g}",
        "decay": lambda line: _decay(line.row, mode=len(modes) > 1),
        "slots": lambda line: ", ".join(map(_slot, line.row.slots)) or "none",
        "bytes": lambda line: sized(sum(row.bytes for row in line.rows)),
        "why": lambda line: "; ".join(line.row.why),
    }
    cells = {name: [told(line) for line in lines] for name, told in columns.items()}
    always = {"parameter", "shape", "rule", "slots", "bytes"}
    return {name: column for name, column in cells.items() if name in always or any(column)}


def _sums(what: "Description") -> dict[str, list[str]]:
    """Parameters and bytes, by rule, and by group where there are several."""
    groups = what.by_group if len(what.by_group) > 1 else ()
    totals = [*what.by_rule, *(replace(each, name=f"group {each.name}") for each in groups)]
    rows = [
        (each.name, f"{each.leaves}", f"{each.parameters:,}", each.bytes, each.bytes_per_parameter)
        for each in totals
    ]
    counts = ("counts, rates, reports", "", "", what.other_bytes, None)
    number = f"{what.parameters:,}"
    rows = [
        *rows,
        counts,
        ("all", f"{len(what.rows)}", number, what.bytes, what.bytes_per_parameter),
    ]
    return {
        "in total": [row[0] for row in rows],
        "arrays": [row[1] for row in rows],
        "parameters": [row[2] for row in rows],
        "bytes": [sized(row[3]) for row in rows],
        "per parameter": ["" if row[4] is None else f"{row[4]:.3g}" for row in rows],
    }


def _shape(row: "LeafDescription") -> str:
    text = "x".join(map(str, row.shape)) or "scalar"
    return text if row.dtype == "float32" else f"{text} {SHORT.get(row.dtype, row.dtype)}"


def _matrix(row: "LeafDescription") -> str:
    """The axes of inputs and outputs."""
    if row.matrix is None:
        return ""
    inputs, outputs = (",".join(map(str, axes)) for axes in row.matrix)
    return f"{inputs} to {outputs}"


def _layers(row: "LeafDescription") -> str:
    return ", ".join(f"{row.shape[axis]} along {axis}" for axis in row.stacked)


def _rate(line: Line, *, several: bool) -> str:
    """The rate where groups have several, and what it is multiplied by."""
    numbers: list[float] = []
    for row in line.rows:
        if isinstance(row.rate_factor, str):
            return f"x {_shown(row.rate_factor)}"
        numbers += row.rate_factor if isinstance(row.rate_factor, tuple) else [row.rate_factor]
    low, high = min(numbers), max(numbers)
    times = "" if low == high == 1 else f"x {low:.3g}" + f" to {high:.3g}" * (low != high)
    rate = line.row.learning_rate
    own = "" if not several or rate is None else _shown(rate)
    return f"{own} {times}".strip()


def _shown(number: float | str) -> str:
    """A number, or a schedule by its name."""
    return number.partition("(")[0] if isinstance(number, str) else f"{number:g}"


def _common(what: "Description") -> str:
    """The rate and the kind of decay where all have the same, on a line of their own."""
    rates = {row.learning_rate for row in what.rows} - {None}
    modes = {row.decay for row in what.rows} - {""}
    words = [f"learning rate {_shown(rate)}" for rate in rates if rate is not None]
    kinds = [f"decay {mode}" for mode in modes]
    told = [x for own in (words, kinds) if len(own) == 1 for x in own]
    return "; ".join(told) + "\n" * bool(told)


def _decay(row: "LeafDescription", *, mode: bool) -> str:
    if row.weight_decay is None:
        return ""
    return f"{row.decay} " * mode + _shown(row.weight_decay)


def _slot(slot: Slot) -> str:
    own = SHORT.get(slot.dtype, slot.dtype)
    return slot.name if slot.dtype == "float32" else f"{slot.name} {own}"
