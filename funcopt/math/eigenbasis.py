"""Bases of eigenvectors of Hermitian matrices that change slowly, and matrices in such bases.

The largest eigenvalue comes first. A basis that is None is the identity.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from .norm import is_sharded

Left = Inexact[Array, "m m"] | None
Right = Inexact[Array, "n n"] | None


def eigenbasis(x: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """The eigenvectors of a Hermitian matrix, as columns whose largest element is positive."""
    basis = jnp.linalg.eigh(x)[1][:, ::-1]
    top = jnp.take_along_axis(basis, jnp.argmax(jnp.abs(basis), 0)[None], 0)
    return basis * phase(top).conj()


def followed(
    x: Inexact[Array, "n n"], basis: Inexact[Array, "n n"]
) -> tuple[Inexact[Array, "n n"], Int[Array, " n"]]:
    """The eigenvectors of `x`, from those of a matrix near it by one step of the power method, and
    the order in which the old columns have become those of the new basis.
    """
    product = jnp.matmul(x, basis, precision="highest")
    order = jnp.argsort(-jnp.sum(basis.conj() * product, 0).real)
    basis, triangle = jnp.linalg.qr(product[:, order])
    return basis * phase(jnp.diagonal(triangle))[None], order


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


def whole(x: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """The matrix on every device of an explicit mesh, where a product of parts has no place."""
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec(None, None)) if is_sharded(x) else x


def placed_like(x: Inexact[Array, "m n"], like: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """`x` in parts on an explicit mesh as `like` is."""
    return jax.sharding.reshard(x, jax.typeof(like).sharding.spec) if is_sharded(like) else x
