"""One self-contained web page about a comparison: no script, no network, pictures inside."""

import importlib.resources
import json
import re
from html import escape
from string import Template

from .comparison import Comparison
from .tables import footnotes, header, row

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


def page(comparison: Comparison, drawings: dict[str, str]) -> str:
    """The page; `drawings` are the SVG pictures by name."""
    template = importlib.resources.files("funcopt.lab") / "report.html"
    pictures = (
        f'<h2>{escape(CAPTIONS[name])}</h2>\n<div class="card">{inline(svg)}</div>'
        for name, svg in drawings.items()
    )
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
        config=escape(json.dumps(comparison.config(), indent=2)),
    )


def inline(svg: str) -> str:
    """An SVG file as an element of a page: without prologue and without metadata."""
    svg = svg[svg.index("<svg") :]
    return re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)


def ranking(comparison: Comparison) -> str:
    """The ranking as an HTML table."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in header(comparison))
    lines = []
    for place, verdict in enumerate(comparison.verdicts, start=1):
        cells = (escape(str(cell)) for cell in row(comparison, verdict, place))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    rows = "\n".join(lines)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table>"
