"""The fields of the records that a state is made of: trees of the parameters, and all else."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import Params

from ..storage.kept import Coded
from .leaves import is_kept
from .paths import path_name, path_names


class Field(NamedTuple):
    """What a record of the class `record` has under a name, the n-th of a state.

    `beside` are the paths of the parameters whose slots the record around it keeps.
    """

    name: str
    tree: Any
    record: type
    beside: tuple[str, ...]
    place: int


def _is_tuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields") and not is_kept(x)


def _below(node: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(node, is_leaf=lambda y: y is not node) if x is not node]


@dataclass(frozen=True)
class Records:
    """Tells the records of a state from parameters that are named tuples, and finds their fields.

    `names` are the parameters' paths, `containers` the classes of named tuples among them.
    """

    names: frozenset[str]
    containers: frozenset[type]

    @staticmethod
    def beside(params: Params) -> "Records":
        return Records(frozenset(path_names(params)), frozenset(_named_tuples(params)))

    def fields(self, state: Any) -> list[Field]:
        """The fields of all records in a state that have no record inside."""
        return [Field(*each, place) for place, each in enumerate(self._fields(state))]

    def _fields(
        self, node: Any, beside: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, Any, type, tuple[str, ...]]]:
        if self._is_record(node):
            if hasattr(node, "slots"):
                beside = tuple(sorted({path for x in _below(node.slots) for path in by_path(x)}))
            for name, x in zip(node._fields, node, strict=True):
                if self._has_records(x):
                    yield from self._fields(x, beside)
                else:
                    yield name, x, type(node), beside
        else:
            for x in _below(node):
                if not is_kept(x):
                    yield from self._fields(x, beside)

    def all(self, node: Any) -> Iterator[Any]:
        """Every record below, those around others first."""
        if self._is_record(node):
            yield node
        for x in _below(node):
            if not is_kept(x):
                yield from self.all(x)

    def replaced(self, node: Any, trees: Iterator[Any]) -> Any:
        """The state with these trees in the places of its `fields`."""
        if self._is_record(node):
            new = (self.replaced(x, trees) if self._has_records(x) else next(trees) for x in node)
            return type(node)(*new)
        if is_kept(node):
            return node
        return jax.tree.map(
            lambda x: x if x is node else self.replaced(x, trees),
            node,
            is_leaf=lambda y: y is not node,
        )

    def is_slot(self, tree: Any) -> bool:
        """Whether it is a tree of numbers beside parameters, and no number of the whole state."""
        found = _numbers(tree)
        number = _is_number(tree) and not isinstance(tree, Coded)
        return bool(found) and not number and self.names.issuperset(found)

    def may_be_slot(self, tree: Any) -> bool:
        """The same of a tree that may be beside parameters of other names."""
        return bool(_numbers(tree)) and ("" in self.names or not _is_number(tree))

    def _is_record(self, x: Any) -> bool:
        return _is_tuple(x) and type(x) not in self.containers

    def _has_records(self, x: Any) -> bool:
        below = jax.tree.leaves(x, is_leaf=lambda y: self._is_record(y) or is_kept(y))
        return any(self._is_record(y) and not isinstance(y, optax.MaskedNode) for y in below)


def by_path(tree: Any) -> dict[str, Any]:
    """What is kept of each parameter, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_kept)
    return {path_name(path): x for path, x in leaves}


def _numbers(tree: Any) -> list[str]:
    """The paths of a tree that has numbers and no flags; none of another one."""
    found = by_path(tree)
    flags = (not is_kept(x) and jnp.issubdtype(jnp.result_type(x), bool) for x in found.values())
    return [] if any(flags) else [*found]


def _is_number(tree: Any) -> bool:
    return jax.tree_util.all_leaves([tree]) and np.shape(tree) == ()


def _named_tuples(node: Any) -> Iterator[type]:
    if _is_tuple(node):
        yield type(node)
    for x in _below(node):
        yield from _named_tuples(x)


def by_name(fields: Iterable[Field]) -> dict[str, list[Field]]:
    """Fields, those of a name together."""
    found: dict[str, list[Field]] = {}
    for each in fields:
        found.setdefault(each.name, []).append(each)
    return found


def alike(ours: list[Field], theirs: list[Field]) -> dict[int, Any]:
    """What goes to the places of ours: where one field of each side is in records of one class
    beside the same parameters, or else the only one of its name.
    """
    found: dict[int, Any] = {}
    for key in (_whole_key, _name):
        left = [_alone(x, key) for x in ([y for y in ours if y.place not in found], theirs)]
        pairs = {k: (x, left[1][k]) for k, x in left[0].items() if k in left[1]}
        found |= {x.place: y.tree for x, y in pairs.values()}
        used = {y.place for _, y in pairs.values()}
        theirs = [y for y in theirs if y.place not in used]
    return found


def _whole_key(x: Field) -> Any:
    return x.name, x.record, x.beside


def _name(x: Field) -> Any:
    return x.name


def _alone(fields: list[Field], key: Callable[[Field], Any]) -> dict[Any, Field]:
    """The fields whose key no other one has."""
    times = Counter(map(key, fields))
    return {key(x): x for x in fields if times[key(x)] == 1}
