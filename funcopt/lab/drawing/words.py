"""Numbers and counts as people read them."""

import math
from typing import Any

BLOCKS = "▁▂▃▄▅▆▇█"  # heights, for a curve on one line


def digits(number: float, count: int) -> str:
    """A number with `count` significant digits, zeros at the end included.

    >>> digits(0.1, 3), digits(123.4, 3), digits(0.0000123, 2)
    ('0.100', '123', '1.2e-05')
    """
    return f"{number:#.{count}g}".removesuffix(".")


def plural(count: int, thing: str) -> str:
    """A count with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def finite(value: Any) -> Any:
    """`value` with every infinite or NaN number replaced by None, as JSON wants it.

    >>> finite({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
