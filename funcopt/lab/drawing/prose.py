"""Docstrings on a screen of any width: paragraphs are filled, formulas and code stay."""

import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.text import Text

AUTHORS = 92  # columns from where on a line of a docstring ends because it is full
ITEM = re.compile(r"(- |\w+(, \w+)*: )")


@dataclass(frozen=True)
class Prose:
    """Text that is filled to the width of the screen, indented by `indent`."""

    text: str
    indent: int = 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        for line in filled(self.text, options.max_width - self.indent):
            yield Text(" " * self.indent + line, no_wrap=True, overflow="fold")


def filled(text: str, width: int) -> list[str]:
    """The lines of `text` for a screen of `width` columns.

    >>> filled("a formula = 1\\n\\nand " + "words " * 17 + "and\\nmore words", 60)[2:]
    ['and words words words words words words words words words',
    'words words words words words words words words and more',
    'words']
    """
    lines: list[str] = []
    for line in paragraphs(text):
        blank = re.match(r" *", line)
        depth = blank.end() if blank else 0
        item = ITEM.match(line.strip())
        further = depth + (2 if item and item[0] == "- " else 4 if item else 0)
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=" " * min(further, width // 3),
            drop_whitespace=True,
            break_on_hyphens=False,
        ) or [""]
    return lines


def paragraphs(text: str) -> list[str]:
    """The lines of `text`, those joined of which the first was full."""
    lines = text.splitlines()
    joined: list[str] = lines[:1]
    for before, line in itertools.pairwise(lines):
        words = line.split()
        apart = any(each.lstrip().startswith((">>>", "...")) for each in (before, line))
        apart |= not words or not before.strip() or ITEM.match(line.strip()) is not None
        if not apart and len(before) + len(words[0]) >= AUTHORS:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined
