"""Learning rates and seeds, as people write them."""

import math
from collections.abc import Sequence

import numpy as np


def parse_rates(given: str | Sequence[float]) -> np.ndarray:
    """Learning rates from `low:high:count`, from a list with commas, or from numbers; ascending.

    >>> parse_rates("1e-2:1:3").tolist()
    [0.01, 0.1, 1.0]
    """
    expected = "expected low:high:count such as 1e-4:1:12, or a list such as 0.01,0.1"
    try:
        if isinstance(given, str) and ":" in given:
            low, high, count = given.split(":")
            rates = np.geomspace(float(low), float(high), int(count))
        else:
            words = given.split(",") if isinstance(given, str) else given
            rates = np.asarray([float(word) for word in words])
    except (ValueError, TypeError):
        raise ValueError(f"lrs: cannot read {given!r}; {expected}.") from None
    if not rates.size or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"lrs: {given!r} must give positive finite rates; {expected}.")
    return np.unique(rates)


def parse_seeds(given: int | Sequence[int]) -> np.ndarray:
    """Seeds from their number, or themselves.

    >>> parse_seeds(3).tolist()
    [0, 1, 2]
    """
    seeds = np.arange(given) if isinstance(given, int) else np.asarray(list(given))
    if not seeds.size or seeds.dtype.kind not in "iu" or seeds.min() < 0:
        raise ValueError(f"seeds: {given!r} given, expected a positive count or whole numbers.")
    return seeds
