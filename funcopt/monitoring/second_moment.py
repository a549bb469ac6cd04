"""Which second moments there are in a state, as the algorithms themselves say."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import number_at
from ..core.feedback import bind_feedback
from ..core.leaves import Absent, is_kept
from ..core.lift import Lifted, LiftedState
from ..core.paths import path_name, path_names
from ..core.rule import Divisor
from ..core.state_fields import by_path
from ..core.tree_lift import LiftedTree, TreeState
from ..math.choice import where
from ..math.moments import bias_correction
from ..storage import declared
from ..storage.kept import Coded, decoded
from .inside import algorithms
from .sample import SecondMoment, numbers_of


def divisors(
    tx: Any, before: Any, after: Any, names: list[str], shapes: list[tuple[int, ...]]
) -> list[SecondMoment | None]:
    """For each parameter what its step was divided by, None where that is not known.

    Nor is it known of the factors of layers that are stacked along another axis than the first.

    Args:
        tx: the transformation, whose algorithms say what they divide by.
        before, after: its state, before and after the step.
        names, shapes: the paths of the parameters, and their shapes.
    """
    bodies = list(algorithms(tx))
    old, new = (list(_states(state, bodies)) for state in (before, after))
    found: dict[str, SecondMoment] = {}
    if len(bodies) == len(old) == len(new):
        for body, a, b in zip(bodies, old, new, strict=True):
            if _is_of(body, a) and _is_of(body, b):
                found = {**_of_one(body, a, b), **found}
    known = [found.get(name) for name in names]
    return [
        x if x is None or jnp.shape(x.new) == shape else None
        for x, shape in zip(known, shapes, strict=True)
    ]


def _is_of(body: Any, state: Any) -> bool:
    """Whether a state is one of this body."""
    if isinstance(body, Lifted):
        return isinstance(state, LiftedState)
    if isinstance(body, LiftedTree):
        return isinstance(state, TreeState) and isinstance(state.slots, body.rule.slots)
    return isinstance(state, body.state)


def _states(node: Any, bodies: list[Any]) -> Iterator[Any]:
    if any(_is_of(body, node) for body in bodies):
        yield node
        return
    for child in jax.tree.leaves(node, is_leaf=lambda x: x is not node):
        if child is not node:
            yield from _states(child, bodies)


def _of_one(body: Any, before: Any, after: Any) -> dict[str, SecondMoment]:
    if isinstance(body, LiftedTree):
        rule = _at_step(bind_feedback(body.rule, before.feedback), before.count)
        divisor = rule.divides_by(before.numbers)
        if divisor is None or not isinstance(before.slots, rule.slots):
            return {}
        a, b = _by_parameter(before.slots), _by_parameter(after.slots)
        steps = _steps(before.slots, a)
        moments = _moments(divisor, [*a.values()], [*b.values()], before.count, steps)
        return dict(zip(a, moments, strict=True))
    if not isinstance(body, Lifted):
        numbers = {name: x for name, x in vars(body).items() if name not in body.static}
        record = type(body)(
            **vars(body) | _at_step(bind_feedback(numbers, before.feedback), before.count)
        )
        divisor = record.divides_by(before)
        trees = divisor.squares(before), divisor.squares(after)
        names = path_names(trees[0])
        a, b = map(jax.tree.leaves, trees)
        divisor = divisor._replace(squares=lambda slot: slot)
        return dict(zip(names, _moments(divisor, a, b, before.count), strict=True))
    if tuple(each.slots for each in body.rules) != tuple(map(type, before.slots)):
        return {}
    _, rules = bind_feedback((body.learning_rate, body.rules), before.feedback)
    found: dict[str, SecondMoment] = {}
    for rule, old, new in zip(rules, before.slots, after.slots, strict=True):
        divisor = _at_step(rule, before.count).divides_by()
        if divisor is not None:
            a, b = _by_parameter(old), _by_parameter(new)
            moments = _moments(divisor, [*a.values()], [*b.values()], before.count, _steps(old, a))
            found |= zip(a, moments, strict=True)
    return found


def _by_parameter(slots: Any) -> dict[str, Any]:
    """The slots of each parameter that has them, by its path."""
    paths = [path_name(p) for p, _ in jax.tree.leaves_with_path(slots[0], is_leaf=is_kept)]
    columns = zip(*(map(_wide, jax.tree.leaves(x, is_leaf=is_kept)) for x in slots), strict=True)
    rows = {path: type(slots)(*column) for path, column in zip(paths, columns, strict=True)}
    return {path: row for path, row in rows.items() if any(x is not None for x in row)}


def _steps(slots: Any, paths: Iterable[str]) -> list[float]:
    """The distance of neighbouring codes of the magnitudes of each parameter; 0 without codes."""
    found = dict.fromkeys(paths, 0.0)
    for name, tree in zip(slots._fields, slots, strict=True):
        if declared(type(slots), name) == "nonnegative":
            for path, x in by_path(tree).items():
                if isinstance(x, Coded):
                    found[path] = max(found[path], x.codec.step)
    return [*found.values()]


def _wide(kept: Any) -> Array | None:
    """A slot as an array."""
    if isinstance(kept, Coded):
        return decoded(kept, jnp.zeros([], float).dtype)
    return None if isinstance(kept, Absent) else kept


def _at_step(numbers: Any, step: Array) -> Any:
    """Numbers instead of schedules."""

    def at(x: Any) -> Any:
        return number_at("hyperparameter", x, step) if callable(x) else x

    return jax.tree.map(at, numbers, is_leaf=callable)


def _moments(
    divisor: Divisor,
    old: list[Any],
    new: list[Any],
    count: Array,
    steps: Iterable[float] = itertools.repeat(0.0),
) -> Iterator[SecondMoment]:
    """Of each parameter, whose slots are in `old` and `new`, in codes at a distance of `steps`."""
    t = count + 1
    updates = divisor.updates or (lambda t: t)

    def weight(t: Array) -> Array:
        steps = jnp.maximum(updates(t), 1)
        if divisor.decay is None:
            return steps.astype(float)
        if not divisor.corrected:
            return jnp.ones([], float)
        return bias_correction(divisor.decay, steps, jnp.zeros([], float).dtype)

    before, now = weight(count), weight(t)
    eps = _number(divisor.eps) + jnp.sqrt(_number(divisor.eps_root))
    # Of a sum the mean is looked at, and what is small beside it.
    floor = eps / jnp.sqrt(now) if divisor.decay is None else eps
    decay: Any = 1.0 if divisor.decay is None else divisor.decay
    decay = decay(t) if callable(decay) else decay
    share = 1.0 if divisor.decay is None or divisor.maximum else 1 - decay
    fresh = jnp.zeros([], bool)
    if divisor.restarts is not None:
        fresh = t % divisor.restarts == 0
    one = jnp.ones_like(now)
    weights = (before, now) if divisor.divided is None else (one, one)
    numbers = numbers_of(
        where(fresh, 0, decay), share, floor, *weights, divisor.maximum, 0, divisor.forgets
    )
    own = {0.0: numbers}
    for a, b, step in zip(old, new, steps, strict=False):
        squares = divisor.squares(a), divisor.squares(b)
        divided = squares
        if divisor.divided is not None:
            divided = divisor.divided(a, before), divisor.divided(b, now)
        if step not in own:
            own[step] = numbers.at[-2].set(step)
        yield SecondMoment(*squares, *divided, own[step])


def _number(x: Any) -> Array:
    return jnp.asarray(x, float)
