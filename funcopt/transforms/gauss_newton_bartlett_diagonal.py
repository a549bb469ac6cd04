"""The diagonal of the Gauss-Newton matrix of a cross-entropy, from labels that the model draws.

    y_b ~ softmax(logits_b),   ĝ = ∇ 1/B Σ_b CE(logits_b, y_b),   ĥ = B ĝ²

By Bartlett's identities E ĥ is the diagonal, whatever the true labels are, and never negative. Liu
et al., 2024, Algorithm 2 (https://arxiv.org/abs/2305.14342).
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..math.varying import AxisNames, named, sum_across
from .hutchinson_diagonal import check_real, wide

Params = TypeVar("Params")


def gauss_newton_bartlett_diagonal(
    logits: Callable[[Params], Float[Array, "*examples classes"]],
    params: Params,
    key: Array,
    *,
    where: Bool[Array, "*examples"] | None = None,
    axis_name: AxisNames = None,
) -> Params:
    """An estimate of the Hessian's diagonal, of a mean cross-entropy: for `sophia`.

    It takes one gradient, and is never negative. It leaves out the curvature of the model itself.

    Args:
        logits: of the parameters alone, along the last axis over classes or tokens; all axes before
            it count examples. `lambda params: model(params, inputs)`.
        params: a tree of real floating-point arrays.
        key: a key of `jax.random`, another one for each estimate.
        where: which examples count, as where there is padding; None for all.
        axis_name: the axes of `jax.shard_map` over which examples are split by hand. Where arrays
            are global, as under `jit` alone, None.

    Returns:
        A tree like the parameters, in float32 or wider: of the mean loss over all examples. Where
        none counts, zeros.

    Raises:
        ValueError: `where` is of another shape than the examples.
        TypeError: a parameter is not real.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> inputs = jnp.ones(10_000)
    >>> logits = lambda w: jnp.stack([w * inputs, -w * inputs], axis=-1)
    >>> h = funcopt.gauss_newton_bartlett_diagonal(logits, jnp.array(0.0), jax.random.key(0))
    >>> h.shape, bool(h >= 0)
    ((), True)

    Source: https://arxiv.org/abs/2305.14342, Algorithm 2.
    """
    check_real("gauss_newton_bartlett_diagonal", params)
    given, backward = jax.vjp(logits, params)
    scores = wide(given)
    for axis in named(axis_name):
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    labels = jax.random.categorical(key, scores)
    counts = jnp.ones(labels.shape, scores.dtype)
    if where is not None:
        if jnp.shape(where) != labels.shape:
            raise ValueError(
                f"gauss_newton_bartlett_diagonal: where has shape {jnp.shape(where)}, but the "
                f"examples of these logits have shape {labels.shape}."
            )
        counts = jnp.asarray(where).astype(scores.dtype)
    total = jnp.maximum(sum_across(jnp.sum(counts), axis_name), 1)
    slope = jax.nn.softmax(scores) - jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    (gradient,) = backward((slope * (counts / total)[..., None]).astype(given.dtype))
    return jax.tree.map(lambda g: total * sum_across(wide(g), axis_name) ** 2, gradient)
