"""Batches, as people have them: stacked, one after the other, or made by a function."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.given import as_arrays, is_stream
from ...core.paths import path_names

EXPECTED = (
    "arrays whose first axis counts the batches, the same for all; an iterable of batches; or a "
    "function (key, step) -> batch"
)


def is_function(x: Any) -> bool:
    """Whether `x` is a function rather than a tree of arrays, which may be callable as well."""
    return callable(x) and jax.tree.leaves(x) == [x]


def stacked(batches: Any, count: int, fits: Callable[[Any], bool]) -> Any:
    """`batches` as arrays whose first axis counts them; a function as it is.

    Of an iterable at most `count` batches are taken, those of the first one's shapes. A list is a
    tree of arrays if `fits(batch)` says so of what would be a batch then, and otherwise an
    iterable.
    """
    if is_stream(batches):
        return _stack(list(itertools.islice(iter(batches), count)))
    if is_function(batches):
        return batches
    if isinstance(batches, list) and _alike(batches) and not _fits_as_tree(batches, fits):
        containers = not jax.tree_util.all_leaves(batches)
        if containers or fits(as_arrays(batches[0])):
            return _stack(batches[:count])
    arrays = as_arrays(batches)
    shapes = [leaf.shape for leaf in jax.tree.leaves(arrays)]
    counts = {shape[0] for shape in shapes if shape}
    if len(counts) != 1 or not all(shapes) or 0 in counts:
        raise ValueError(f"batches: leaves of the shapes {shapes} given, expected {EXPECTED}.")
    return _numeric(arrays)


def batch_at(batches: Any, key: jax.Array) -> Callable[[Any], Any]:
    """`step -> batch`, for one run, from what `stacked` returns."""
    if is_function(batches):
        return lambda step: batches(key, step)
    count = jax.tree.leaves(batches)[0].shape[0]
    order = jax.random.permutation(key, count)

    def at(step: Any) -> Any:
        place = order[step % count]
        # Where the rows of a batch are spread over an explicit mesh, `leaf[place]` is refused.
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, place, 0, False), batches)

    return at


def finite(tree: Any) -> jax.Array:
    """Whether every floating-point number in `tree` is finite."""
    flags = [
        jnp.all(jnp.isfinite(x))
        for x in jax.tree.leaves(tree)
        if jnp.issubdtype(jnp.result_type(x), jnp.inexact)
    ]
    return jnp.all(jnp.stack(flags)) if flags else jnp.asarray(True)


def _alike(batches: list) -> bool:
    """Whether all members have one structure, as batches have."""
    return len({jax.tree.structure(each) for each in batches}) == 1


def _fits_as_tree(batches: list, fits: Callable[[Any], bool]) -> bool:
    arrays = as_arrays(batches)
    if not all(leaf.ndim for leaf in jax.tree.leaves(arrays)):
        return False
    return fits(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), arrays))


def _stack(batches: list) -> Any:
    if not batches:
        raise ValueError(
            "batches: the iterable gave no batch. A generator that was used before is empty: make "
            "a new one."
        )
    batches = [as_arrays(batch) for batch in batches]
    first = batches[0]
    for batch in batches:
        if jax.tree.structure(batch) != jax.tree.structure(first):
            raise ValueError(
                f"batches: one has the leaves {path_names(batch)}, the first one "
                f"{path_names(first)}; expected batches of the same structure."
            )
    shapes = [leaf.shape for leaf in jax.tree.leaves(first)]
    whole = [each for each in batches if [x.shape for x in jax.tree.leaves(each)] == shapes]
    join = lambda *x: (jnp if isinstance(x[0], jax.Array) else np).stack(x)  # noqa: E731
    return _numeric(jax.tree.map(join, *whole))


def _numeric(arrays: Any) -> Any:
    for name, leaf in zip(path_names(arrays), jax.tree.leaves(arrays), strict=True):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OUSM":
            raise TypeError(
                f"batches: {name or 'the batch'!r} is an array of {leaf.dtype}, which JAX cannot "
                f"compute with; expected {EXPECTED}, of numbers."
            )
    return jax.tree.map(jnp.asarray, arrays)
