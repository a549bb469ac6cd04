"""Rows that mean the same as a function of optax compute the same; the others say why not."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import optax
import pytest

from tests.catalog import BLOCKS, ROWS, Row, each, each_kind, each_rule
from tests.runs import problem, run

# optax converts types and ranks implicitly.
pytestmark = pytest.mark.default_promotion

PROVEN = ROWS + BLOCKS
REAL = problem().only("matrix")
COMPLEX = problem(complex_valued=True).only("matrix")


def optax_transformation(row: Row) -> Any:
    assert row.optax is not None
    if row.rate is not None:
        return row.optax(row.rate, **row.theirs())
    return optax.chain(row.optax(**row.theirs()), optax.scale(-row.descent_rate))


def compare(row: Row, given: Any, tolerance: float) -> None:
    ours = run(row.descending(), given)
    theirs = run(optax_transformation(row), given)
    for leaf, path in theirs.params.items():
        assert ours.params[leaf].dtype == path.dtype
        scale = abs(path).max()
        assert abs(path - given.p0[leaf]).max() > 0, "nothing moved"
        assert abs(ours.params[leaf] - path).max() <= tolerance * scale, leaf


@each_rule(PROVEN, where=lambda row: row.optax)
def test_same_in_float64(row):
    with jax.enable_x64(True):
        compare(row, REAL.astype("float64"), row.optax_float64)


# That it is the same algorithm is told in float64, how ours rounds beside the reference.
@each_kind(PROVEN, where=lambda row: row.optax)
def test_same_in_float32(row):
    compare(row, REAL, row.optax_rounds or 2 * row.float32)


@each_rule(PROVEN, where=lambda row: row.optax and not row.optax_differs)
def test_same_for_complex_parameters(row):
    with jax.enable_x64(True):
        compare(row, COMPLEX.astype("complex128"), row.optax_float64)


@each(PROVEN, where=lambda row: row.optax and not row.optax_kwargs)
def test_same_defaults(row):
    """What optax's function takes under the same name has the same default."""
    ours = inspect.signature(row.algorithm).parameters
    theirs = inspect.signature(row.optax).parameters
    shared = [name for name in ours if name in theirs]
    assert shared == [name for name in theirs if name in ours]
    for name in shared:
        # A rate of None means something else here, or is refused. A slot's dtype of None is that
        # of the arithmetic, or what `storage` says.
        if name not in ("learning_rate", "dtype_momentum"):
            assert ours[name].default == theirs[name].default, name


@each(PROVEN)
def test_every_row_has_a_counterpart_or_a_reason(row):
    assert row.optax is not None or row.optax_differs
