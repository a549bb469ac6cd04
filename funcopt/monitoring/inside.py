"""The parts of a transformation that a monitor around it reads: wrappers, spikes, counts."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool

from ..core.answers import Accumulates, Waits, answering
from ..core.lift import Lifted
from ..core.transformation import GradientTransformation
from ..core.tree_lift import LiftedTree
from ..safety.baseline import Judges, SpikeLimits


def members(tx: GradientTransformation) -> list[Any]:
    """The transformations among the arguments of `tx`, or those that its factory makes."""
    body = tx.body()
    if isinstance(body, GradientTransformation):
        return [body]

    def is_transformation(x: Any) -> bool:
        return isinstance(x, optax.GradientTransformation)

    for where in (tx.arguments, getattr(body, "__dict__", {})):
        leaves = jax.tree.leaves(tuple(where.values()), is_leaf=is_transformation)
        found = [x for x in leaves if is_transformation(x)]
        if found:
            return found
    return []


def algorithms(tx: Any) -> Iterator[Any]:
    """What says what it divides by, in the order of states: chains of rules, and other bodies."""
    body = tx.body() if isinstance(tx, GradientTransformation) else tx
    if isinstance(body, LiftedTree) and body.inner is not None:
        yield from algorithms(body.inner)
    elif isinstance(body, Lifted | LiftedTree) or hasattr(body, "divides_by"):
        yield body
    elif isinstance(tx, GradientTransformation):
        for member in members(tx):
            yield from algorithms(member)


def micro_batches(tx: object) -> int:
    """How many updates of `tx` make one step: more than 1 where it accumulates."""
    if not isinstance(tx, GradientTransformation):
        return 1
    body = tx.body()
    own = body.every if isinstance(body, Accumulates) else 1
    if not isinstance(own, int):
        raise TypeError(
            f"monitor: the every of accumulate inside of it is {own!r}, but a monitor has to know "
            "it as an integer. Put the monitor inside: accumulate(monitor(tx), every)."
        )
    return own * max(map(micro_batches, members(tx)), default=1)


def makes_a_step(tx: object, state: object, flush: ArrayLike) -> Bool[Array, ""]:
    """Whether the next update is one that what accumulates passes on."""
    rounds, states = list(_accumulations(tx)), list(answering(state, Waits))
    if len(rounds) != len(states):
        return jnp.ones([], bool)
    last = [body.is_last(s, flush) for body, s in zip(rounds, states, strict=True)]
    return jnp.stack([jnp.ones([], bool), *last]).all()


def _accumulations(tx: object) -> Iterator[Accumulates]:
    if not isinstance(tx, GradientTransformation):
        return
    body = tx.body()
    if isinstance(body, Accumulates):
        yield body
    for member in members(tx):
        yield from _accumulations(member)


def limits_of(tx: object) -> SpikeLimits | None:
    """By what `tx` judges the gradients of one device as they come, if it is what does."""
    body = tx.body() if isinstance(tx, GradientTransformation) else None
    return body.limits() if isinstance(body, Judges) else None
