"""Kinds of averages, and the arguments that each of them takes."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from ..core.arguments import Choice, Numeric, Within
from ..core.record import Static

NewestWeight = Within(0, math.inf, "()", schedule=False)
OlderWeight = Within(0, math.inf, "[)", schedule=False)


def check_weights(where: str, x: Sequence[Numeric]) -> tuple[Numeric, ...]:
    """Weights of points, the oldest first."""
    if not isinstance(x, tuple | list) or not x:
        raise TypeError(
            f"{where} must be weights of the latest points, the oldest first, such as (1, 2, 3); "
            f"got {x!r}."
        )
    older = [OlderWeight(f"{where}[{i}]", w) for i, w in enumerate(x[:-1])]
    return *older, NewestWeight(f"{where}[{len(older)}]", x[-1])


Window = Annotated[
    Numeric | None, Within(1, 2**20, schedule=False, optional=True, integer=True), Static
]
Gamma = Annotated[Numeric | None, Within(0, math.inf, "[)", schedule=False, optional=True)]
KINDS = ("ema", "uniform", "polynomial", "window")


def _kind(where: str, x: str | Sequence[Numeric]) -> object:
    return Choice(KINDS)(where, x) if isinstance(x, str) else check_weights(where, x)


Kind = Annotated[Literal["ema", "uniform", "polynomial", "window"] | Sequence[Numeric], _kind]


def check_kind(kind: str | Sequence[Numeric], **given: tuple) -> None:
    """Refuse the arguments of one kind of average beside another kind."""
    names = {"ema": "decay, debias and warmup are", "polynomial": "gamma is", "window": "window is"}
    for name, arguments in given.items():
        if kind != name and not all(x is None or x is False for x in arguments):
            raise ValueError(
                f"average: {names[name]} of kind={name!r}, got kind={kind!r}. Leave it out, or "
                f"give kind={name!r}."
            )
