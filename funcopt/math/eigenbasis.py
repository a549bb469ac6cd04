"""Bases of eigenvectors of Hermitian matrices that change slowly, and matrices in such bases.

The largest eigenvalue comes first. A basis that is None is the identity.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

Left = Inexact[Array, "m m"] | None
Right = Inexact[Array, "n n"] | None
Sides = tuple[Left, Right]


def eigenbasis(x: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """The eigenvectors of a Hermitian matrix, as columns whose largest element is positive."""
    basis = jnp.linalg.eigh(x)[1][:, ::-1]
    top = jnp.take_along_axis(basis, jnp.argmax(jnp.abs(basis), 0)[None], 0)
    return basis * phase(top).conj()


def followed(
    x: Inexact[Array, "n n"], basis: Inexact[Array, "n n"], sort: bool = True
) -> tuple[Inexact[Array, "n n"], Int[Array, " n"] | None]:
    """The eigenvectors of `x`, from those of a matrix near it by one step of the power method.

    With them the order in which the old columns have become those of the new basis, None where they
    are not sorted by what they say of eigenvalues.
    """
    product = jnp.matmul(x, basis, precision="highest")
    order = jnp.argsort(-jnp.sum(basis.conj() * product, 0).real) if sort else None
    basis, triangle = jnp.linalg.qr(product if order is None else product[:, order])
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


def rotated(x: Inexact[Array, "m n"], left: Left, right: Right) -> Inexact[Array, "m n"]:
    """The matrix in these bases of its columns and of its rows."""
    x = x if left is None else left.conj().T @ x
    return x if right is None else x @ right


def restored(x: Inexact[Array, "m n"], left: Left, right: Right) -> Inexact[Array, "m n"]:
    """The matrix that is `x` in these bases."""
    x = x if left is None else left @ x
    return x if right is None else x @ right.conj().T


def outer(x: Inexact[Array, "m n"]) -> Inexact[Array, "m m"]:
    """x xᴴ."""
    return jnp.matmul(x, x.conj().T, precision="highest")
