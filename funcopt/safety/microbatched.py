"""The mean loss and gradient of several micro-batches that are all at hand."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from ..core.transformation import Tree
from ..math.choice import where
from ..math.dtypes import common_dtype
from ..math.global_norm import square_sum
from ..math.varying import varying_along, varying_axes
from .accumulate import running_mean, share_of

P = TypeVar("P")
B = TypeVar("B")
Loss = TypeVar("Loss")
"""A number, or with it what else a loss function returns."""


def microbatched(
    value_and_grad: Callable[[P, B], tuple[Loss, Tree]],
    params: P,
    batches: B,
    weights: ArrayLike | None = None,
) -> tuple[Loss, Tree]:
    """The mean loss and gradient over micro-batches, one after the other in a `lax.scan`.

    Where all micro-batches of a step are at hand, this needs no wrapper: the optimizer runs once.
    Call it inside of `jit`; outside, each call compiles its loop anew.

    Args:
        value_and_grad: `(params, batch) -> (loss, grads)`, such as `jax.value_and_grad(loss_fn)`;
            or `((loss, aux), grads)`, as with `has_aux=True`.
        params: a tree of arrays.
        batches: a tree of arrays whose first axis counts the micro-batches.
        weights: how much each micro-batch counts, at least 0, such as its number of tokens; None
            counts all alike. One that has no weight, or one out of its range, is left out.

    Returns:
        The mean loss and the mean gradients in float32 or wider, over the micro-batches whose loss
        and gradients are finite; NaN where there is none, which a `guard` skips. With aux, it is
        `((loss, aux), grads)`, and aux has what every micro-batch gave, along a first axis of its
        own: `jax.tree.map(lambda x: x[-1], aux)` is that of the last one.

    Raises:
        ValueError: the loss is no scalar, or `weights` has not one number for each micro-batch.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w, x: jnp.mean((w - x) ** 2)
    >>> batches = jnp.array([[1.0], [2.0], [jnp.nan]])
    >>> funcopt.microbatched(jax.value_and_grad(loss), jnp.array(0.0), batches)
    (Array(2.5, dtype=float32), Array(-3., dtype=float32))
    >>> tokens = jnp.array([3, 1, 1])
    >>> funcopt.microbatched(jax.value_and_grad(loss), jnp.array(0.0), batches, tokens)
    (Array(1.75, dtype=float32), Array(-2.5, dtype=float32))
    """
    first = jax.tree.map(lambda x: x[0], batches)
    shapes = jax.eval_shape(value_and_grad, params, first)
    has_aux = isinstance(shapes[0], tuple)
    measure: Callable[[P, B], tuple[Any, Tree]] = value_and_grad
    loss, grads = (shapes[0][0] if has_aux else shapes[0]), shapes[1]
    if jnp.shape(loss):
        raise ValueError(
            f"microbatched: the loss must be a scalar, got shape {jnp.shape(loss)}. Give the mean "
            "over the micro-batch."
        )
    count = jax.tree.leaves(batches)[0].shape[0]
    if weights is not None and jnp.shape(weights) != (count,):
        raise ValueError(
            f"microbatched: weights must have one number for each of the {count} micro-batches, "
            f"got shape {jnp.shape(weights)}."
        )

    def add(carry, row):
        mean, total = carry
        batch, weight = row
        told, new_grads = measure(params, batch)
        new_loss, aux = told if has_aux else (told, None)
        leaves = [x for x in jax.tree.leaves(new_grads) if jnp.size(x)]
        w = jnp.ones_like(total) if weight is None else weight.astype(total.dtype)
        ok = jnp.isfinite(square_sum(leaves)) & jnp.isfinite(new_loss) & jnp.isfinite(w) & (w >= 0)
        first, total = total == 0, total + where(ok, w, 0)
        share = share_of(w, total)
        counts = ok & (w > 0)
        mean = jax.tree.map(
            lambda old, new: running_mean(old, new, counts, first, share), mean,
            (new_loss, new_grads),
        )  # fmt: skip
        return (mean, total), aux

    axes = varying_axes(loss, *jax.tree.leaves(grads), 1.0 if weights is None else weights)

    def zeros(x: ArrayLike | jax.ShapeDtypeStruct) -> Array:
        return varying_along(
            jnp.zeros(jnp.shape(x), common_dtype(jnp.float32, jnp.result_type(x))), axes
        )

    mean = jax.tree.map(zeros, (loss, grads))
    total = zeros(jax.ShapeDtypeStruct((), _real(loss, *jax.tree.leaves(grads))))
    weights = None if weights is None else jnp.asarray(weights)
    (mean, total), aux = jax.lax.scan(add, (mean, total), (batches, weights))
    loss, grads = jax.tree.map(lambda x: where(total > 0, x, jnp.nan), mean)
    return cast(Loss, (loss, aux) if has_aux else loss), grads


def _real(*shapes: jax.ShapeDtypeStruct) -> np.dtype:
    return jnp.finfo(common_dtype(jnp.float32, *(x.dtype for x in shapes))).dtype
