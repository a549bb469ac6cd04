"""One self-contained web page about a comparison: no script, no network, pictures inside."""

import importlib.resources
import json
from collections.abc import Mapping
from html import escape
from string import Template
from typing import TYPE_CHECKING

from ...monitoring.svg import inline
from .table import footnotes, header, row

if TYPE_CHECKING:
    from .comparison import Comparison

CAPTIONS = {
    "loss_by_rate": "Which learning rate?",
    "learning_curves": "How fast at its best rate?",
    "forgiveness": "How exact must the learning rate be?",
}
READING = (
    "Each optimizer was trained at every learning rate with every seed; for one seed all start "
    "from the same parameters and see the same batches. Numbers are medians over the seeds, "
    "ranges and bands go from the smallest to the largest seed. A run diverged when a loss was not "
    "finite, or when it ended twice as bad as both guessing and its own start; it counts as "
    "infinitely bad. “Decades within 2x” is the width of the learning rates whose "
    "loss is at most twice the optimizer's best, and at least a tenth better than guessing. Steps "
    "to the target are those of the training "
    "loss at the best rate. State is optimizer memory for each parameter in bytes."
)


def page(
    comparison: "Comparison", wide: Mapping[str, str], narrow: Mapping[str, str] | None = None
) -> str:
    """The page; `wide` are the SVG pictures by name, `narrow` the same for a phone."""
    template = importlib.resources.files("funcopt.lab.comparison") / "report.html"
    pictures = (section(name, wide[name], (narrow or {}).get(name)) for name in wide)
    return Template(template.read_text("utf-8")).substitute(
        title=escape(f"funcopt: {comparison.task.name}"),
        headline=escape(comparison.headline()),
        what=escape(f"{comparison.task.summary}. {comparison.plan.description()}."),
        warning="<p><b>Interrupted: this is what was done.</b></p>"
        if comparison.interrupted
        else "",
        table=ranking(comparison),
        notes="\n".join(f'<p class="soft">{escape(note)}</p>' for note in footnotes(comparison)),
        pictures="\n".join(pictures),
        reading=escape(READING),
        command=escape(comparison.plan.command()),
        config=escape(json.dumps(comparison.config(), indent=2)),
    )


def section(name: str, wide: str, narrow: str | None) -> str:
    """A picture below its question, in the form that fits the screen."""
    said = CAPTIONS[name]
    if narrow is None:
        drawn = f'<div class="card picture">{inline(wide, said)}</div>'
    else:
        drawn = "\n".join(
            f'<div class="card picture {form}">{inline(svg, said)}</div>'
            for form, svg in (("wide", wide), ("narrow", narrow))
        )
    return f"<section>\n<h2>{escape(said)}</h2>\n{drawn}\n</section>"


def ranking(comparison: "Comparison") -> str:
    """The ranking as an HTML table."""
    names = [escape(name) for name in header(comparison)]
    heads = "".join(f'<th scope="col">{name}</th>' for name in names)
    lines = []
    for place, verdict in enumerate(comparison.verdicts, start=1):
        cells = (escape(str(cell)) for cell in row(comparison, verdict, place))
        said = (
            f'<td data-name="{name}" data-place="{place}">{cell}</td>'
            if name == "optimizer"
            else f'<td data-name="{name}">{cell}</td>'
            for name, cell in zip(names, cells, strict=True)
        )
        lines.append(f"<tr>{''.join(said)}</tr>")
    rows = "\n".join(lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>"
