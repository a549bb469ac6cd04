"""The state of one transformation from that of another: other storages, and optax's states."""

from collections.abc import Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import Params

from ..storage import coded_at_once
from ..storage.kept import Coded, decoded
from .arguments import is_tracer
from .leaves import Absent, is_kept
from .paths import path_name, some

State = TypeVar("State")
COUNTS = ("count",)


def convert_state(state: Any, tx: optax.GradientTransformation, params: Params) -> Any:
    """The state with which `tx` goes on from `state`, whose slots are kept in another way.

    `state` is that of the same transformation with another `storage=` or `mu_dtype`, so that a run
    that began in float32 goes on in 8 bits, or the other way around. Or one of the two is optax's:
    a live state of `optax.adamw` becomes that of `funcopt.adamw`, and back.

    Args:
        state: what `init` or `update` of the transformation so far has returned.
        tx: the transformation that goes on, of funcopt or of optax.
        params: the parameters.

    Returns:
        A state like `tx.init(params)`. Slots that both keep in the same way are the same bits,
        others are rounded to the nearest code once. Where the two are nested differently, slots and
        the count of steps go by their names, and all else is as `tx.init` makes it.

    Raises:
        ValueError: a slot is missing in `state` or would be lost, the same name is there several
            times, shapes or parameters differ.

    >>> import funcopt, jax.numpy as jnp, optax
    >>> params = {"w": jnp.ones((64, 64))}
    >>> adam = optax.adam(1e-3)
    >>> _, state = adam.update(params, adam.init(params), params)
    >>> in_bits = funcopt.convert_state(state, funcopt.adam(1e-3, storage="8bit"), params)
    >>> int(in_bits.count), in_bits.nu["w"].codes.codes.dtype.name
    (1, 'uint8')
    >>> back = funcopt.convert_state(in_bits, adam, params)
    >>> round(float(back[0].mu["w"][0, 0]), 4)
    0.1
    """
    target = tx.init(params)
    ours, structure = jax.tree_util.tree_flatten_with_path(target, is_leaf=is_kept)
    theirs = jax.tree_util.tree_leaves_with_path(state, is_leaf=is_kept)
    if [path for path, _ in ours] == [path for path, _ in theirs]:
        pairs = zip(ours, theirs, strict=True)
        return structure.unflatten([_as(path_name(p), new, x) for (p, new), (_, x) in pairs])
    return _by_names(target, state)


def _by_names(target: Any, state: Any) -> Any:
    found: dict[str, list[Any]] = {}
    for name, tree in _fields(state):
        found.setdefault(name, []).append(tree)
    wanted: dict[str, int] = {}
    for name, tree in _fields(target):
        if _is_slot(tree):
            wanted[name] = wanted.get(name, 0) + 1
    kept = {name: trees for name, trees in found.items() if any(map(_is_slot, trees))}
    missing = [name for name in wanted if name not in kept]
    lost = [name for name in kept if name not in wanted]
    if missing or lost:
        raise ValueError(
            f"convert_state: the state has the slots {some(sorted(kept))}, and the transformation "
            f"keeps {some(sorted(wanted))}. Give the state of the same algorithm, or begin anew "
            "with `tx.init(params)`."
        )
    for name, count in wanted.items():
        if len(kept[name]) != count:
            raise ValueError(
                f"convert_state: there are {len(kept[name])} slots {name!r} in the state and "
                f"{count} in the transformation, so that it is not known which is which. Convert "
                "the states of its parts one by one."
            )
    counts = [x for name in COUNTS for x in found.get(name, ())]
    known = [int(x) for x in counts if not is_tracer(x)]
    if len(set(known)) > 1:
        raise ValueError(
            f"convert_state: the state has counted {some(sorted(map(str, set(known))))} steps in "
            "several places, and there is one count. Convert the states of its parts one by one."
        )
    order = {name: iter(trees) for name, trees in kept.items()}

    def renewed(name: str, tree: Any) -> Any:
        if _is_slot(tree):
            return _tree_as(name, tree, next(order[name]))
        return jnp.asarray(counts[0], tree.dtype) if name in COUNTS and counts else tree

    return _with(target, renewed)


def _is_record(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields") and not is_kept(x)


def _has_records(x: Any) -> bool:
    below = jax.tree.leaves(x, is_leaf=lambda y: _is_record(y) or is_kept(y))
    return any(_is_record(y) and not isinstance(y, optax.MaskedNode) for y in below)


def _fields(node: Any) -> Iterator[tuple[str, Any]]:
    """The fields of all records in a state that have no record inside, by their names."""
    if _is_record(node):
        for name, x in zip(node._fields, node, strict=True):
            if _has_records(x):
                yield from _fields(x)
            else:
                yield name, x
    else:
        for x in jax.tree.leaves(node, is_leaf=lambda y: y is not node):
            if x is not node and not is_kept(x):
                yield from _fields(x)


def _with(node: Any, change: Any) -> Any:
    """The state with what `change` makes of such fields."""
    if _is_record(node):
        new = (
            _with(x, change) if _has_records(x) else change(name, x)
            for name, x in zip(node._fields, node, strict=True)
        )
        return type(node)(*new)
    if is_kept(node):
        return node
    return jax.tree.map(
        lambda x: x if x is node else _with(x, change), node, is_leaf=lambda y: y is not node
    )


def _is_slot(tree: Any) -> bool:
    """Whether it is a tree of floats, one for each parameter, and no number of the whole state."""
    leaves = jax.tree.leaves(tree, is_leaf=is_kept)
    alone = len(leaves) == 1 and leaves[0] is tree and not isinstance(tree, Coded)
    number = alone and np.ndim(leaves[0]) == 0
    return bool(leaves) and not number and all(map(_is_float, leaves))


def _is_float(x: Any) -> bool:
    return is_kept(x) or jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _tree_as(name: str, target: Any, tree: Any) -> Any:
    """A slot as another tree like it is kept; leaves go by their paths."""
    ours, structure = jax.tree_util.tree_flatten_with_path(target, is_leaf=is_kept)
    theirs = {
        path_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_kept)
    }
    names = [path_name(path) for path, _ in ours]
    if set(names) != set(theirs):
        raise ValueError(
            f"convert_state: the state's {name} is for the parameters {some(list(theirs))}, not "
            f"for {some(names)}."
        )
    rows = zip(names, ours, strict=True)
    return structure.unflatten([_as(f"{name} of {p!r}", new, theirs[p]) for p, (_, new) in rows])


def _as(where: str, target: Any, x: Any) -> Any:
    """What is kept of a slot or a number as `target` is kept."""
    if isinstance(target, Absent) or isinstance(x, Absent):
        if type(target) is type(x):
            return x
        raise ValueError(
            f"convert_state: {where} is kept by one of the two transformations and not by the "
            "other. Give the state of the same algorithm."
        )
    shapes = [y.shape if isinstance(y, Coded) else np.shape(y) for y in (x, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"convert_state: {where} has shape {shapes[0]}, and the transformation keeps "
            f"{shapes[1]}: the state was made for a parameter of another shape."
        )
    if isinstance(target, Coded):
        if isinstance(x, Coded) and x.codec == target.codec:
            return x
        return coded_at_once(
            target.codec, jnp.asarray(decoded(_array(x), jnp.float32), jnp.float32)
        )
    return decoded(_array(x), target.dtype).astype(target.dtype) if _is_float(x) else x


def _array(x: Any) -> Any:
    return x if isinstance(x, Coded) else jnp.asarray(x)
