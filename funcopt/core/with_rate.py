"""The learning rate of a transformation, replaced wherever it is."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import optax
from optax import ScalarOrSchedule

from .arguments import is_number
from .chain import chain
from .partition import partition
from .transformation import GradientTransformation


def with_rate(
    tx: optax.GradientTransformation, rate: ScalarOrSchedule, *, keep_ratios: bool = False
) -> GradientTransformation:
    """`tx` with another learning rate, however deep in chains and wrappers it is.

    Every argument `learning_rate` is replaced: in the one member of a chain that has one, in what
    a wrapper wraps, and in all groups of a `partition`, which have the same rate then. Schedules
    are replaced like numbers.

    Args:
        tx: a transformation of funcopt.
        rate: a number, at least 0, or a schedule.
        keep_ratios: where groups have numbers that differ, the largest becomes `rate` and the
            others keep their ratio to it.

    Raises:
        TypeError: `tx` is not of funcopt; what optax made does not tell its arguments.
        ValueError: there is no rate, there are several in one chain, one is optax's, or the
            ratios of schedules are asked for.

    >>> import funcopt
    >>> tx = funcopt.guard(funcopt.chain(funcopt.clip(1.0), funcopt.adam(1e-3)))
    >>> funcopt.with_rate(tx, 0.1)
    guard(inner=chain(clip(max_delta=1.0), adam(learning_rate=0.1)))
    """
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"with_rate: {tx!r} given, whose learning rate cannot be replaced; expected a "
            "transformation of funcopt. What optax makes does not tell its arguments: use a "
            "function of the rate, such as lambda rate: optax.adam(rate)."
        )
    found: list[Any] = learning_rates(tx)
    if not found:
        raise ValueError(
            f"with_rate: {tx!r} has no learning rates that could be replaced; use a function of "
            "the rate, such as lambda rate: funcopt.chain(..., funcopt.adam(rate))."
        )
    if not keep_ratios or not differ(found):
        return _changed(tx, lambda old: rate)
    if not all(map(is_number, [*found, rate])):
        raise ValueError(
            f"with_rate: {tx!r} has schedules that differ, whose ratio is not a number; expected "
            "numbers, or keep_ratios=False, which gives all groups the same rate."
        )
    largest = max(found)
    return _changed(tx, lambda old: rate if old == largest else rate * (old / largest))


def learning_rates(tx: GradientTransformation) -> list[ScalarOrSchedule]:
    """Every learning rate in `tx`, numbers and schedules; those of groups one after the other."""
    found: list[ScalarOrSchedule] = []
    _changed(tx, lambda old: (found.append(old), old)[1])
    return found


def nested(tx: GradientTransformation) -> Iterator[GradientTransformation]:
    """`tx` and every transformation of funcopt that it was made from."""
    yield tx
    for x in tx.arguments.values():
        inside = x.values() if isinstance(x, Mapping) else x if type(x) is tuple else [x]
        for each in inside:
            if isinstance(each, GradientTransformation):
                yield from nested(each)


def differ(rates: list[Any]) -> bool:
    """Whether these learning rates are not all the same."""
    first: Any = rates[0]
    return not all(
        np.array_equal(first, x) if is_number(first) and is_number(x) else first == x for x in rates
    )


def _changed(tx: Any, change: Callable[[Any], Any]) -> Any:
    """`tx` with `change(rate)` for every learning rate below."""
    if not isinstance(tx, GradientTransformation):
        return tx
    arguments = tx.arguments
    changes = {}
    for name, x in arguments.items():
        if name == "learning_rate" and x is not None:
            changes[name] = change(x)
        elif isinstance(x, GradientTransformation):
            changes[name] = _changed(x, change)
        elif isinstance(x, Mapping) and (tx.factory, name) == (partition, "transforms"):
            changes[name] = {label: _group(label, each, change) for label, each in x.items()}
        elif isinstance(x, tuple) and tx.factory is chain:
            changes[name] = tuple(_changed(each, change) for each in x)
            with_one = [each for each in x if _has_rate(each)]
            if len(with_one) > 1:
                raise ValueError(
                    f"with_rate: {tx!r} has {len(with_one)} learning rates, one after the other, "
                    "whose product counts: which one is meant? Use a function of the rate, such "
                    "as lambda rate: funcopt.adam(rate)."
                )
    return tx.replace(**changes)


def _group(label: str, tx: Any, change: Callable[[Any], Any]) -> Any:
    if tx is not None and not isinstance(tx, GradientTransformation):
        raise ValueError(
            f"with_rate: the group {label!r} of a partition is of optax, which does not tell its "
            f"learning rate: {tx!r}. Expected a transformation of funcopt, or None for parameters "
            "that stay where they are."
        )
    return _changed(tx, change)


def _has_rate(tx: Any) -> bool:
    return isinstance(tx, GradientTransformation) and bool(learning_rates(tx))
