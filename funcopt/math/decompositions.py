"""Decompositions of matrices, of which a CPU makes one after the other.

LAPACK's functions in jaxlib spread a batch over the threads of XLA's CPU client, and wait for it on
one of these: as many batches as there are threads wait for each other for ever (jaxlib 0.10.2).
Where they are one by one, no batch waits; other backends have functions for batches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


def one_by_one(decompose: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """`decompose` of the last two axes; of many matrices, a CPU loops over them."""
    looped = jax.custom_batching.sequential_vmap(decompose)

    @jax.custom_jvp
    def decomposed(x: Array) -> Any:
        return jax.lax.platform_dependent(x, cpu=looped, default=decompose)

    @decomposed.defjvp
    def derivative(primals: tuple[Array], tangents: tuple[Array]) -> Any:
        return jax.jvp(decompose, primals, tangents)

    def of_each(x: Array) -> Any:
        mapped = decomposed
        for _ in x.shape[:-2]:
            mapped = jax.vmap(mapped)
        return mapped(x)

    return of_each


@one_by_one
def eigh(x: Inexact[Array, "n n"]) -> tuple[Float[Array, " n"], Inexact[Array, "n n"]]:
    """The eigenvalues of a Hermitian matrix, the smallest first, and its eigenvectors."""
    values, vectors = jnp.linalg.eigh(x)
    return values, vectors


@one_by_one
def left_singular(x: Inexact[Array, "m n"]) -> Inexact[Array, "m k"]:
    """The left singular vectors of a matrix, those of the largest singular values first."""
    return jnp.linalg.svd(x, full_matrices=False)[0]


@one_by_one
def qr(x: Inexact[Array, "m n"]) -> tuple[Inexact[Array, "m k"], Inexact[Array, "k n"]]:
    """The orthogonal and the triangular factor of a matrix."""
    basis, triangle = jnp.linalg.qr(x)
    return basis, triangle
