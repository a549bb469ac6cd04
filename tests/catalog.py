"""One row for every algorithm and configuration that is worth proving.

Tests run over rows and read what differs from the columns; none asks for a name.

`ROWS` are the optimizers: `row.factory(learning_rate)` makes one. `BLOCKS` are the building blocks,
which know no rate and return a direction: both stand beside their references, in
`tests/reference/`, and are gathered here. `NESTED` are compositions, without a reference of their
own. `ALL` is all of them.

>>> row = next(row for row in ROWS if row.name == "adam-nesterov")
>>> row.factory(1e-3), row.slots, row.needs_params
(adam(learning_rate=0.001, nesterov=True), ('mu', 'nu'), False)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import funcopt
from tests import reference
from tests.row import DECAYING, MOMENTS, Row


def spelled(x: Any) -> str:
    """`x` as the name of a case: without addresses, which differ between the workers of a run."""
    return re.sub(r" at 0x\w+", "", repr(x))


def each(rows: tuple[Row, ...], where: Callable[[Row], Any] = lambda row: True) -> Any:
    """Parametrise a test by row."""
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.name) for row in rows if where(row)]
    )


def each_kind(rows: tuple[Row, ...], where: Callable[[Row], Any] = lambda row: True) -> Any:
    """The same, for laws of the mechanism, which most rows leave to `funcopt.lift`.

    The lift calls a rule with one leaf, in the type of the arithmetic, and knows of it how many
    slots it has, whether it needs parameters, has a rate and takes a mask: of rows that are alike
    in that, the first implies the others, which are marked `every_row` and run by `.ci/run`. A row
    with an `update` of its own is a kind of its own.
    """
    cases, kinds = [], set()
    for row in filter(where, rows):
        marks = [pytest.mark.every_row] if row.kind in kinds else []
        cases.append(pytest.param(row, id=row.name, marks=marks))
        kinds.add(row.kind)
    return pytest.mark.parametrize("row", cases)


def each_rule(rows: tuple[Row, ...], where: Callable[[Row], Any] = lambda row: True) -> Any:
    """The same, for laws of a rule, whatever its numbers are and whichever rules stand around it.

    A row all of whose rules, with the choices that they make, other rows have too is implied by
    those, and run by `.ci/run`. What is no rules alone is always run.
    """
    cases, seen = [], set()
    for row in filter(where, rows):
        rules = row.rules()
        marks = [pytest.mark.every_row] if rules and rules <= seen else []
        cases.append(pytest.param(row, id=row.name, marks=marks))
        seen |= rules
    return pytest.mark.parametrize("row", cases)


def tell(rows: tuple[Row, ...]) -> Iterator[str]:
    """A table of the columns that are capabilities, in Markdown."""
    head = ("row", "acts on", "slots", "complex", "needs parameters", "optax")
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        same = "same" if row.optax and not row.optax_differs else row.optax_differs
        slots = ", ".join(f"`{name}`" for name in row.slots) or "none"
        marks = ["yes" if x else "no" for x in (row.complex, row.needs_params)]
        yield f"| {' | '.join([row.name, row.acts_on, slots, *marks, same])} |"


GATHERED = [row for module in reference.MODULES for row in getattr(module, "ROWS", ())]
ROWS: tuple[Row, ...] = tuple(row for row in GATHERED if row.rate is not None)
BLOCKS: tuple[Row, ...] = tuple(row for row in GATHERED if row.rate is None)


def clipped_adamw(learning_rate: Any) -> Any:
    return funcopt.chain(
        funcopt.clip_by_global_norm(1.0), funcopt.adamw(learning_rate, weight_decay=0.1)
    )


def accumulated_l2(learning_rate: Any) -> Any:
    return funcopt.chain(
        funcopt.add_decayed_weights(0.1),
        funcopt.trace(0.9),
        funcopt.chain(funcopt.lift(funcopt.rules.Clip(1.0)), funcopt.descend(learning_rate)),
    )


def own_rules(learning_rate: Any) -> Any:
    return funcopt.optimizer(
        funcopt.rules.Clip(1.0),
        funcopt.rules.Adam(b2=0.95),
        funcopt.Momentum(0.5),
        funcopt.Decay(0.1),
        learning_rate=learning_rate,
    )


def guarded(learning_rate: Any) -> Any:
    clip = funcopt.clip_by_global_norm(1.0)
    return funcopt.guard(
        funcopt.chain(clip, funcopt.adamw(learning_rate, weight_decay=0.1)), check_updates=True
    )


def accumulated(learning_rate: Any) -> Any:
    return funcopt.accumulate(funcopt.guard(funcopt.sgd(learning_rate, momentum=0.9)), every=1)


def rolled_back(learning_rate: Any) -> Any:
    return funcopt.rollback(funcopt.guard(funcopt.adam(learning_rate)), every=2, patience=2)


def loss_scaled(learning_rate: Any) -> Any:
    return funcopt.loss_scale(funcopt.sgd(learning_rate), init_scale=1.0)


def mastered(learning_rate: Any) -> Any:
    return funcopt.master_weights(funcopt.sgd(learning_rate, momentum=0.9), "float32")


def monitored(learning_rate: Any) -> Any:
    return funcopt.monitor(funcopt.sgd(learning_rate, momentum=0.9), every=2, history=2)


def noisy_sgd(learning_rate: Any) -> Any:
    return funcopt.noisy_sgd(learning_rate, key=7)


NESTED: tuple[Row, ...] = (
    Row("guarded", guarded, slots=MOMENTS, acts_on="tree", needs_params=True, **DECAYING),
    Row("accumulated", accumulated, slots=("trace",), acts_on="tree", keeps_moving=True),
    Row(
        "rolled-back",
        rolled_back,
        slots=MOMENTS,
        acts_on="tree",
        needs_params=True,
        keeps_moving=True,
    ),
    Row(
        "master-weights",
        mastered,
        slots=("trace",),
        wraps=True,
        needs_params=True,
        keeps_moving=True,
        lands=True,
    ),
    Row(
        "monitored",
        monitored,
        slots=("trace",),
        records_value=True,
        acts_on="tree",
        needs_params=True,
        keeps_moving=True,
    ),
    Row("loss-scaled", loss_scaled, acts_on="tree"),
    Row(
        "clipped-adamw", clipped_adamw, slots=MOMENTS, acts_on="tree", needs_params=True, **DECAYING
    ),
    Row("l2-in-chains", accumulated_l2, slots=("trace",), needs_params=True, **DECAYING),
    Row("own-rules", own_rules, **DECAYING),
    Row(
        "noisy-sgd",
        noisy_sgd,
        acts_on="array",
        moves_on_zero_gradient=True,
        keeps_moving=True,
        random=True,
    ),
)

ALL: tuple[Row, ...] = (*ROWS, *BLOCKS, *NESTED)
