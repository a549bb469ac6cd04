"""One optimization step, and how updates are added to parameters."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from ..math.dtypes import common_dtype
from .answers import Writes
from .paths import path_name, path_names, some
from .transformation import opened

Tree = TypeVar("Tree")
State = TypeVar("State")


def apply_updates(params: Tree, updates: Any) -> Tree:
    """Add updates to parameters: `params + updates`, each in its parameter's dtype.

    Where the update is None the parameter stays, so that parameters may be a whole Equinox model;
    where the parameter is None it stays None.

    Args:
        params: a tree of arrays.
        updates: a tree like it, of arrays of the same shapes, or None.

    Raises:
        ValueError: a shape differs, or the trees do.

    >>> import funcopt
    >>> funcopt.apply_updates({"w": 1.0}, {"w": -0.25})
    {'w': Array(0.75, dtype=float32)}
    """
    return _combined(params, updates, _add)


def _combined(params: Tree, updates: Any, combine: Callable[[Any, Any], Array]) -> Tree:
    """`combine(param, update)` for each parameter that has an update; the others as they are."""

    def is_none(x):
        return x is None

    changes, structure = jax.tree.flatten(updates, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError:
        ours, theirs = path_names(params), path_names(updates)
        if sorted(ours) == sorted(theirs):
            raise ValueError(
                "apply_updates: updates and parameters have the same names in different "
                f"containers or another order: {some(theirs)} and {some(ours)}. Take gradients "
                "with respect to the tree that is updated, so that both are of one kind."
            ) from None
        raise ValueError(
            "apply_updates: updates and parameters are different trees. Parameters without an "
            f"update: {some([name for name in ours if name not in theirs])}. Updates without a "
            f"parameter: {some([name for name in theirs if name not in ours])}."
        ) from None
    new = []
    for i, (update, param) in enumerate(zip(changes, parts, strict=True)):
        if update is None or param is None:
            new.append(param)
            continue
        if jnp.shape(update) != jnp.shape(param):
            path = jax.tree_util.tree_leaves_with_path(updates, is_leaf=is_none)[i][0]
            raise ValueError(
                f"The update of {path_name(path)!r} has shape {jnp.shape(update)}, but the "
                f"parameter has shape {jnp.shape(param)}."
            )
        new.append(combine(param, update))
    return jax.tree.unflatten(structure, new)


def _add(param: Array, update: Array) -> Array:
    dtype, wide = jnp.result_type(param), common_dtype(param, update)
    # Shapes are equal already: `lax.add` has no promotion to trace.
    total = jax.lax.add(jnp.asarray(param, wide), jnp.asarray(update, wide))
    return jax.lax.convert_element_type(total, dtype)


def step(
    tx: optax.GradientTransformation,
    grads: Any,
    state: State,
    params: Tree,
    **extra_args: Any,
) -> tuple[Tree, State]:
    """One optimization step: `tx.update` and `apply_updates` in one.

    What keeps weights more precisely than parameters are, such as `master_weights`, writes these
    itself.

    Gradients point uphill. For a complex parameter `jax.grad` gives the conjugate of that: take
    `jax.tree.map(jnp.conj, grads)`.

    >>> import funcopt
    >>> tx = funcopt.sgd(0.5)
    >>> params, state = funcopt.step(tx, {"w": 1.0}, tx.init({"w": 1.0}), {"w": 1.0})
    >>> params
    {'w': Array(0.5, dtype=float32)}
    """
    body: Any = opened(tx)
    if isinstance(body, Writes):
        written: Any = body.written
        new, new_state = written(grads, state, params, **extra_args)
        return _combined(params, new, lambda _, whole: whole), new_state
    update: Any = optax.with_extra_args_support(tx).update
    updates, new_state = update(grads, state, params, **extra_args)
    return apply_updates(params, updates), new_state
