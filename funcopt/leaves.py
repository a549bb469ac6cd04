"""Parameters, gradients and slots, leaf by leaf, checked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from optax import Params, Updates

from .partition import path_name, path_names


class Leaf(NamedTuple):
    grad: Array
    param: Array | None
    slots: tuple[Array, ...]


def parameters(params: Params) -> tuple[list[Array], Any]:
    """The parameters in the type of the arithmetic, and their structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    return [_parameter(path, leaf) for path, leaf in leaves], structure


def _parameter(path: tuple, leaf: Any) -> Array:
    if not isinstance(leaf, float | complex) and not _is_array(leaf):
        raise TypeError(
            f"The parameter {path_name(path)!r} is {leaf!r}, which is not an array. If this is an "
            "Equinox module, give `init` its arrays only: "
            "`tx.init(eqx.filter(model, eqx.is_inexact_array))`."
        )
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"The parameter {path_name(path)!r} has dtype {dtype.name}; only floating-point and "
            "complex parameters can be optimized. Take it out of the tree, or convert it."
        )
    return jnp.asarray(leaf).astype(jnp.result_type(jnp.float32, dtype))


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape")


def gradients_beside(
    updates: Updates, params: Params | None, columns: Sequence[Sequence[Array]]
) -> tuple[list[Leaf], Any]:
    """Each gradient with its parameter and its slots, and the structure of the gradients.

    Structures may differ between `init` and `update` (Flax NNX wraps leaves in the one only), and
    parameters may hold anything where there is no gradient (an Equinox model), so leaves are
    matched by their order, and their shapes are checked.
    """
    grads, structure = jax.tree.flatten(updates)
    params_ = [None] * len(grads) if params is None else _matching(updates, params, len(grads))
    if any(len(column) != len(grads) for column in columns):
        raise ValueError(
            f"There are {len(grads)} gradients, but the state was made for {len(columns[0])} "
            f"parameters. The gradients are: {_some(path_names(updates))}. Give `update` a "
            "gradient for every parameter that was given to `init`."
        )
    rows = zip(*columns, strict=True) if columns else [()] * len(grads)
    leaves = [Leaf(g, p, row) for g, p, row in zip(grads, params_, rows, strict=True)]
    for i, leaf in enumerate(leaves):
        problem = _problem(leaf)
        if problem:
            raise problem[0](f"The gradient of {path_names(updates)[i]!r} {problem[1]}")
    return leaves, structure


def _problem(leaf: Leaf) -> tuple[type[Exception], str] | None:
    beside = leaf.slots[:1] if leaf.param is None else (leaf.param,)
    if not isinstance(leaf.grad, float | complex) and not _is_array(leaf.grad):
        return TypeError, f"is {leaf.grad!r}, which is not an array."
    dtype = jnp.result_type(leaf.grad)
    if dtype == jax.dtypes.float0 or not jnp.issubdtype(dtype, jnp.inexact):
        return TypeError, (
            f"has dtype {dtype}; only floating-point and complex parameters can be optimized. "
            "Take the parameter out of the tree, or convert it."
        )
    for x in beside:
        if jnp.shape(leaf.grad) != jnp.shape(x):
            return ValueError, (
                f"has shape {jnp.shape(leaf.grad)}, but the parameter has shape {jnp.shape(x)}. "
                "Shapes are not broadcast: check the loss function, or a missing sum or mean."
            )
    if leaf.param is not None and jnp.iscomplexobj(leaf.grad) and not jnp.iscomplexobj(leaf.param):
        return TypeError, f"is complex ({dtype.name}), but the parameter is real."
    return None


def _matching(updates: Updates, params: Params, count: int) -> list[Any]:
    leaves = jax.tree.leaves(params)
    if len(leaves) == count:
        return leaves

    def is_none(x):
        return x is None

    paths, structure = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError as error:
        missing = [n for n in path_names(params) if n not in set(path_names(updates))]
        extra = [n for n in path_names(updates) if n not in set(path_names(params))]
        raise ValueError(
            f"Gradients and parameters differ: without a gradient: {_some(missing)}; without a "
            f"parameter: {_some(extra)}."
        ) from error
    for (path, grad), part in zip(paths, parts, strict=True):
        if grad is None and any(map(_wants_gradient, jax.tree.leaves(part))):
            raise ValueError(
                f"The parameter {path_name(path)!r} has no gradient (None). Give zeros to leave "
                "it where it is, or take it out of the parameters as well."
            )
    return [part for (_, grad), part in zip(paths, parts, strict=True) if grad is not None]


def _wants_gradient(x: Any) -> bool:
    return _is_array(x) and jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _some(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")
