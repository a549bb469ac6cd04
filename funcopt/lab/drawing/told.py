"""How a record of the lab prints: as its answer, and in a notebook with its table and picture."""

import html
import io
from typing import Any, TypeVar

from ...monitoring import svg

C = TypeVar("C", bound=type)
WIDTH = 110  # columns of a table in a notebook


def told(cls: C) -> C:
    """Decorate a record that has a `headline()`, so that it prints as that instead of its arrays.

    >>> @told
    ... class Answer:
    ...     def headline(self):
    ...         return "adam leads"
    >>> Answer()
    <Answer: adam leads>
    """

    def answer(self: Any) -> str:
        return f"<{type(self).__name__}: {self.headline()}>"

    type.__setattr__(cls, "__repr__", answer)
    if hasattr(cls, "table"):
        type.__setattr__(cls, "_repr_html_", page)
    return cls


def page(record: Any) -> str:
    """The headline, the table and, where one can be drawn, the picture as a part of a page."""
    from rich.console import Console

    screen = Console(width=WIDTH, record=True, file=io.StringIO(), force_jupyter=False)
    screen.print(record.table())
    table = html.escape(screen.export_text())
    parts = [
        f"<p><b>{html.escape(record.headline())}</b></p>",
        f'<pre style="overflow-x: auto; line-height: 1.25">{table}</pre>',
    ]
    figure = picture(record)
    if figure is not None:
        parts.append(svg.drawn(figure, record.headline()))
    return "\n".join(parts)


def picture(record: Any) -> Any:
    """The figure that `record.plot()` draws; None where there is nothing to draw."""
    if not hasattr(record, "plot"):
        return None
    try:
        drawn = record.plot()
    except (ValueError, IndexError):  # a schedule answers no gradient; nothing was finished
        return None
    return getattr(drawn, "figure", drawn)
