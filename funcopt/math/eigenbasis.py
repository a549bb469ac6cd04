"""Bases of eigenvectors of Hermitian matrices that change slowly, and matrices in such bases.

The largest eigenvalue comes first. A basis that is None is the identity.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from .decompositions import eigh, left_singular, qr

Left = Inexact[Array, "m m"] | None
Right = Inexact[Array, "n n"] | None
Sides = tuple[Left, Right]


def eigenbasis(x: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """The eigenvectors of a Hermitian matrix, as columns whose largest element is positive."""
    return upright(eigh(x)[1][:, ::-1])


def leading(x: Inexact[Array, "m n"], rank: int, by: str = "svd") -> Inexact[Array, "m rank"]:
    """The left singular vectors of the largest singular values, whose largest element is positive.

    With `by="eigh"` as eigenvectors of x xᴴ, which takes a fraction of the time and has half of the
    digits.
    """
    if by == "svd":
        return upright(left_singular(x)[:, :rank])
    largest = jnp.max(jnp.abs(x), initial=0)
    return eigenbasis(outer(x / jnp.where(largest > 0, largest, 1).astype(x.dtype)))[:, :rank]


def upright(vectors: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """The columns, each of which is unique but for a factor, with the largest element positive."""
    if not vectors.size:
        return vectors
    rows = jnp.argmax(jnp.abs(vectors), 0)
    return vectors * phase(jnp.take_along_axis(vectors, rows[None], 0)).conj()


def followed(
    x: Inexact[Array, "n n"], basis: Inexact[Array, "n n"], sort: bool = True
) -> tuple[Inexact[Array, "n n"], Int[Array, " n"] | None]:
    """The eigenvectors of `x`, from those of a matrix near it by one step of the power method.

    With them the order in which the old columns have become those of the new basis, None where they
    are not sorted by what they say of eigenvalues.
    """
    product = jnp.matmul(x, basis, precision="highest")
    order = jnp.argsort(-jnp.sum(basis.conj() * product, 0).real) if sort else None
    basis, triangle = qr(product if order is None else product[:, order])
    return basis * phase(jnp.diagonal(triangle))[None], order


def in_order(
    x: Inexact[Array, "m n"], rows: Int[Array, " m"] | None, columns: Int[Array, " n"] | None
) -> Inexact[Array, "m n"]:
    """The matrix with its rows and its columns in these orders, None for as they are."""
    x = x if rows is None else x[rows]
    return x if columns is None else x[:, columns]


def phase(x: Inexact[Array, "*p"]) -> Inexact[Array, "*p"]:
    """x / |x|, the sign of what is real; 1 where x is 0."""
    return jnp.where(x == 0, 1, jnp.sign(x))


def rotated(
    x: Inexact[Array, "m n"],
    left: Inexact[Array, "m r"] | None,
    right: Inexact[Array, "n s"] | None,
) -> Inexact[Array, "_ _"]:
    """The matrix in these bases of its columns and of its rows, which may be of a part of them."""
    x = x if left is None else left.conj().T @ x
    return x if right is None else x @ right


def restored(
    x: Inexact[Array, "r s"],
    left: Inexact[Array, "m r"] | None,
    right: Inexact[Array, "n s"] | None,
) -> Inexact[Array, "_ _"]:
    """The matrix that is `x` in these bases."""
    x = x if left is None else left @ x
    return x if right is None else x @ right.conj().T


def outer(x: Inexact[Array, "m n"]) -> Inexact[Array, "m m"]:
    """x xᴴ. Of many rows in halves, since what is below the diagonal is above it, too."""

    def product(a: Inexact[Array, "m n"], b: Inexact[Array, "k n"]) -> Inexact[Array, "m k"]:
        return jnp.matmul(a, b.conj().T, precision="highest")

    half = x.shape[0] // 2
    if half < 256:
        return product(x, x)
    top, bottom = x[:half], x[half:]
    across = product(top, bottom)
    return jnp.block([[product(top, top), across], [across.conj().T, product(bottom, bottom)]])
