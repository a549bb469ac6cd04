"""Factors by patterns, made of factors by path.

Paths that differ in their numbers only, as those of layers do, are one pattern where all of them
have one factor.
"""

import re
from collections.abc import Iterable, Mapping


def factors_by_pattern(factors: Mapping[str, float]) -> dict[str, float]:
    r"""Factors by regular expressions that match whole paths, without those that are 1.

    Where all are 1, an empty pattern, which is found in every path, has it.

    Args:
        factors: by the path of a parameter.

    >>> factors_by_pattern({"h/0/w": 0.5, "h/1/w": 0.5, "in/w": 1.0, "out/w": 0.5})
    {'^(?:h/\\d+/w|out/w)$': 0.5}
    >>> factors_by_pattern({"in/w": 1.0})
    {'': 1.0}
    """
    families: dict[str, set[float]] = {}
    for path, factor in factors.items():
        families.setdefault(_family(path), set()).add(factor)
    found: dict[float, dict[str, None]] = {}
    for path, factor in factors.items():
        family = _family(path)
        same = len(families[family]) == 1
        if factor != 1:
            found.setdefault(factor, {})[family if same else re.escape(path)] = None
    patterns = {_either(paths): factor for factor, paths in found.items()}
    return patterns or {"": 1.0}


def _family(path: str) -> str:
    return re.sub(r"\d+", r"\\d+", re.escape(path))


def _either(paths: Iterable[str]) -> str:
    several = list(paths)
    return f"^{several[0]}$" if len(several) == 1 else f"^(?:{'|'.join(several)})$"
