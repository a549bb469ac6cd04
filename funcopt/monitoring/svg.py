"""Pictures as elements of a page: no two of them share an id, and each says what it shows."""

import hashlib
import html
import io
import re
from typing import Any


def drawn(figure: Any, label: str) -> str:
    """A matplotlib figure as an `<svg>` element; `label` is read out where it cannot be seen."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "funcopt"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return inline(file.getvalue(), label)


def inline(svg: str, label: str) -> str:
    """An SVG file as an element: without prologue and metadata, its ids its own.

    >>> print(inline('<?xml?><svg><g id="a"/><use href="#a"/></svg>', "A"))
    <svg role="img" aria-label="A"><title>A</title><g id="s9f98-a"/><use href="#s9f98-a"/></svg>
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    own = "s" + hashlib.sha256(svg.encode()).hexdigest()[:4] + "-"
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", svg)
    escaped = html.escape(label, quote=True)
    opening = f'<svg role="img" aria-label="{escaped}"'
    svg = svg.replace("<svg", opening, 1)
    return svg.replace(">", f"><title>{html.escape(label)}</title>", 1)
