"""Gradients whose elements that are not a number are 0."""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import block


def zero_nans(p, g, slots, t, lr):
    """One step of descent; slot `nan_count`."""
    nan = np.isnan(g)
    count = (slots or {"nan_count": np.zeros(())})["nan_count"] + nan.sum()
    return p - lr * np.where(nan, 0, g), {"nan_count": count}


ROWS = [
    block(
        "zero_nans",
        funcopt.zero_nans,
        reference=zero_nans,
        uneven=True,
        optax=optax.zero_nans,
    ),
]
