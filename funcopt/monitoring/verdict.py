"""What a verdict is, and how its numbers and layers are written."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .readings import Readings


@dataclass(frozen=True)
class HealthVerdict:
    """One thing that is wrong.

    `value` is the number that crossed `threshold`, of the worst layer; `layers` are those that are
    affected, in order, empty where it is the run as a whole. `since` is the step from which on it
    holds, None where that is not known.
    """

    name: str
    severity: Literal["alarm", "warning"]
    layers: tuple[str, ...]
    value: float
    threshold: float
    evidence: str
    advice: str
    since: int | None = None


def in_words(x: float) -> str:
    """A factor for a person: 2.5, 61, 1,300, 2 million, 10¹²."""
    if not x < 1e9:
        return f"10{str(round(np.log10(x))).translate(SUPERSCRIPT)}" if np.isfinite(x) else "inf"
    if x >= 1e6:
        return f"{x / 1e6:.0f} million"
    digits = 2 - len(f"{x:.0f}")
    return f"{round(x, digits):,.0f}" if x >= 10 else f"{x:.2g}"


SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def names_of(seen: Readings, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, here in zip(seen.layers, rows, strict=True) if here)
