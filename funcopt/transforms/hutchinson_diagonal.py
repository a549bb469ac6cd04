"""Hutchinson's estimate of the diagonal of a Hessian, from its products with random vectors.

    u_i = ±1,   ĥ = u ⊙ H u        E ĥ = diag H, since E u_i u_j = 0 for i ≠ j

Bekas, Kokiopoulou & Saad, 2007 (https://doi.org/10.1016/j.apnum.2007.01.003); Algorithm 1 of Liu
et al., 2024 (https://arxiv.org/abs/2305.14342), where u is normal, and the variance of ĥ_i is
larger by 2 H_ii².
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arguments import NumberOfSteps
from ..core.paths import path_codes, path_names
from ..math.dtypes import common_dtype

Params = TypeVar("Params")

SAMPLES = NumberOfSteps(1)


def hutchinson_diagonal(
    loss: Callable[[Params], Array], params: Params, key: Array, *, samples: int = 1
) -> Params:
    """An estimate of the Hessian's diagonal, of any loss: Hutchinson's, for `sophia`.

    It is right on average, and each sample is twice as long a computation as a gradient.

    Args:
        loss: of the parameters alone, a number: `lambda params: loss_fn(params, batch)`.
        params: where the Hessian is taken: a tree of real floating-point arrays.
        key: a key of `jax.random`, another one for each estimate. What a leaf draws depends on its
            path and not on its place.
        samples: of how many estimates it is the mean, at least 1.

    Returns:
        A tree like the parameters, in float32 or wider. On a batch that is split over devices by
        hand, as in `jax.shard_map`, the mean over devices is the estimate, as with gradients.

    Raises:
        ValueError, TypeError: `samples` is not a number from 1 on; a parameter is not real.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> loss = lambda w: jnp.sum(jnp.array([1.0, 10.0]) * w**2)
    >>> funcopt.hutchinson_diagonal(loss, jnp.ones(2), jax.random.key(0))
    Array([ 2., 20.], dtype=float32)

    Source: https://arxiv.org/abs/2305.14342, Algorithm 1.
    """
    count = SAMPLES("hutchinson_diagonal: samples", samples)
    check_real("hutchinson_diagonal", params)
    leaves, structure = jax.tree.flatten(params)
    codes = path_codes(params)

    def once(key: Array) -> list[Array]:
        signs = [
            jax.random.rademacher(jax.random.fold_in(key, code), jnp.shape(x), jnp.result_type(x))
            for code, x in zip(codes, leaves, strict=True)
        ]
        u = jax.tree.unflatten(structure, signs)
        products = jax.tree.leaves(jax.jvp(jax.grad(loss), (params,), (u,))[1])
        return [wide(s) * wide(x) for s, x in zip(signs, products, strict=True)]

    if count == 1:
        return jax.tree.unflatten(structure, once(key))
    # One after the other, so that memory is that of one.
    keys = jax.random.split(key, count)
    total, _ = jax.lax.scan(
        lambda sums, key: ([a + b for a, b in zip(sums, once(key), strict=True)], None),
        once(keys[0]),
        keys[1:],
    )
    return jax.tree.unflatten(structure, [x / count for x in total])


def wide(x: Array) -> Array:
    """`x` in float32 or wider."""
    return jnp.asarray(x).astype(common_dtype(jnp.float32, x))


def check_real(name: str, params: object) -> None:
    """Raise where a parameter has no Hessian in real numbers."""
    for path, x in zip(path_names(params), jax.tree.leaves(params), strict=True):
        if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            raise TypeError(
                f"{name}: the parameter {path!r} has dtype {jnp.result_type(x).name}; only real "
                "floating-point parameters have a diagonal here. Close over the others."
            )
