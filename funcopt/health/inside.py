"""What a transformation is made of, as far as a monitor around it wants to know."""

from collections.abc import Iterator
from typing import Any

import jax
import optax

from ..lift import Lifted
from ..transformation import GradientTransformation
from ..wrappers.accumulate import _Accumulate
from ..wrappers.guard import _Guard


def members(tx: GradientTransformation) -> list[Any]:
    """The transformations among the arguments of `tx`, or the one that its factory returns."""
    body = tx.body()
    if isinstance(body, GradientTransformation):
        return [body]

    def is_transformation(x: Any) -> bool:
        return isinstance(x, optax.GradientTransformation)

    arguments = jax.tree.leaves(tuple(tx.arguments.values()), is_leaf=is_transformation)
    return [x for x in arguments if is_transformation(x)]


def lifted(tx: Any) -> Iterator[Lifted]:
    """The chains of rules in `tx`, in the order of their states."""
    if not isinstance(tx, GradientTransformation):
        return
    body = tx.body()
    if isinstance(body, Lifted):
        yield body
    else:
        for member in members(tx):
            yield from lifted(member)


def micro_batches(tx: Any) -> int:
    """How many updates of `tx` make one step: more than 1 where it accumulates."""
    if not isinstance(tx, GradientTransformation):
        return 1
    body = tx.body()
    own = body.every if isinstance(body, _Accumulate) else 1
    if not isinstance(own, int):
        raise TypeError(
            f"monitor: the every of accumulate inside of it is {own!r}, but a monitor has to know "
            "it as an integer. Put the monitor inside: accumulate(monitor(tx), every)."
        )
    return own * max(map(micro_batches, members(tx)), default=1)


def judge_of(tx: Any) -> _Guard | None:
    """The guard that `tx` is, if it judges the gradients of one device as they come."""
    body = tx.body() if isinstance(tx, GradientTransformation) else None
    return body if isinstance(body, _Guard) and body.axis_name is None else None
