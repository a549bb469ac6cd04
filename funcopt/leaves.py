"""Parameters, gradients and slots, leaf by leaf, checked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from optax import Params, Updates

from .math.dtypes import common_dtype
from .partition import path_name, path_names, some


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
    return jnp.asarray(leaf).astype(common_dtype(jnp.float32, dtype))


def _is_array(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape")


def gradients_beside(
    updates: Updates, params: Params | None, slots: Sequence[Params]
) -> tuple[list[Leaf], Any]:
    """Each gradient with its parameter and its slots, and the structure of the gradients.

    Structures may differ between `init` and `update` (Flax NNX wraps leaves in the one only), and
    parameters may hold anything where there is no gradient (an Equinox model), so leaves are
    matched by their order, and their paths or shapes are checked.
    """
    grads, structure = jax.tree.flatten(updates)
    columns = [jax.tree.leaves(tree) for tree in slots]
    if any(len(column) != len(grads) for column in columns):
        raise _different("the state was made for", path_names(slots[0]), path_names(updates))
    beside = [None] * len(grads) if params is None else _matching(updates, params, bool(columns))
    rows = zip(*columns, strict=True) if columns else [()] * len(grads)
    leaves = [Leaf(g, p, row) for g, p, row in zip(grads, beside, rows, strict=True)]
    for i, leaf in enumerate(leaves):
        problem = _problem(leaf)
        if problem:
            raise problem[0](f"The gradient of {path_names(updates)[i]!r} {problem[1]}")
    return leaves, structure


def _different(what: str, params: list[str], grads: list[str]) -> ValueError:
    missing = [name for name in params if name not in set(grads)]
    extra = [name for name in grads if name not in set(params)]
    return ValueError(
        f"The {len(grads)} gradients do not match the {len(params)} parameters that {what}. "
        f"Parameters without a gradient: {some(missing)}. Gradients without a parameter: "
        f"{some(extra)}. Give one gradient for each; zeros leave a parameter where it is."
    )


def _problem(leaf: Leaf) -> tuple[type[Exception], str] | None:
    beside = leaf.slots[:1] if leaf.param is None else (leaf.param,)
    if not isinstance(leaf.grad, float | complex) and not _is_array(leaf.grad):
        return TypeError, f"is {leaf.grad!r}, which is not an array."
    if getattr(leaf.grad, "dtype", None) == jax.dtypes.float0:
        return TypeError, (
            "has dtype float0, which is JAX's gradient of an integer parameter. Take the parameter "
            "out of the tree, or convert it."
        )
    dtype = jnp.result_type(leaf.grad)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return TypeError, (
            f"has dtype {dtype.name}; only floating-point and complex parameters can be "
            "optimized. Take the parameter out of the tree, or convert it."
        )
    for x in beside:
        if jnp.shape(leaf.grad) != jnp.shape(x):
            return ValueError, (
                f"has shape {jnp.shape(leaf.grad)}, but the parameter has shape {jnp.shape(x)}. "
                "Shapes are not broadcast: check the loss function, or a missing sum or mean."
            )
    if leaf.param is None:
        return None
    kept = jnp.result_type(leaf.param)
    if not jnp.issubdtype(kept, jnp.inexact):
        return TypeError, f"has dtype {dtype.name}, but the parameter has dtype {kept.name}."
    if jnp.issubdtype(dtype, jnp.complexfloating) and jnp.issubdtype(kept, jnp.floating):
        return TypeError, (
            f"is complex ({dtype.name}), but the parameter is real ({kept.name}). Take the real "
            "part, or make the parameter complex."
        )
    return None


def _matching(updates: Updates, params: Params, state_agrees: bool) -> list[Any]:
    """The parameter of each gradient. Where a gradient is None there may be anything."""

    def is_none(x):
        return x is None

    if jax.tree.structure(updates) == jax.tree.structure(params):
        return jax.tree.leaves(params)
    names = path_names(updates)
    if path_names(params) == names:
        return jax.tree.leaves(params)
    paths, structure = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError:
        raise _different("were given", path_names(params), names) from None
    for (path, grad), part in zip(paths, parts, strict=True):
        if grad is not None and not jax.tree_util.all_leaves([part]):
            raise _different("were given", path_names(params), names)
        if grad is None and not state_agrees and any(map(_wants_gradient, jax.tree.leaves(part))):
            raise ValueError(
                f"The parameter {path_name(path)!r} has no gradient (None). Give zeros to leave "
                "it where it is, or take it out of the parameters as well."
            )
    return [part for (_, grad), part in zip(paths, parts, strict=True) if grad is not None]


def _wants_gradient(x: Any) -> bool:
    return _is_array(x) and jnp.issubdtype(jnp.result_type(x), jnp.inexact)
