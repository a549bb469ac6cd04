"""Mean squares of the rows and of the columns of blocks of a matrix, and their inverse roots.

    left ← b2 left + (1 − b2) G Gᴴ,  right ← b2 right + (1 − b2) Gᴴ G      sums where b2 is None
    root ← (x' + eps λmax(x') I)^−exponent            x' = x / (1 − b2ᵗ), where x is either of both

of each block by itself. A root that cannot be computed is the last one that could, and is counted.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Inexact, Int

from ..core.arguments import Length
from ..math.blocks import block_grid
from ..math.inverse_roots import inverse_root
from ..math.moments import ema, unbiased
from ..math.renewal import renewed
from ..math.varying import varying_like

Matrix = Inexact[Array, "inputs outputs"]
Blocks = Inexact[Array, "k n r c"]
Squares = Inexact[Array, "k n r r"]
Sides = tuple[Array, Array]
Roots = tuple[Sides, Array]


class InverseRoot(NamedTuple):
    """How roots are taken of means with the decay `b2`, or of sums."""

    b2: ArrayLike | None
    eps: ArrayLike
    relative_eps: bool
    exponent: ArrayLike


def side_blocks(param: Matrix, size: Length, diagonal: float) -> Sides:
    """A multiple of the identity for the rows of each block, and one for its columns."""
    k, n, rows, columns = block_grid(param.shape, size)

    def square(side: int) -> Squares:
        eye = diagonal * jnp.eye(side, dtype=param.dtype)
        return varying_like(jnp.broadcast_to(eye, (k, n, side, side)), param)

    return square(rows), square(columns)


def mean_outer(mean: Squares, x: Blocks, decay: ArrayLike | None) -> Squares:
    """The mean of x xᴴ of each block, or its sum."""
    outer = jnp.matmul(x, x.conj().mT, precision="highest")
    return mean + outer if decay is None else ema(mean, outer, decay)


def kept_roots(
    which: Int[Array, ""], kept: Roots, squares: Sides, how: InverseRoot, t: Int[Array, ""]
) -> Roots:
    """Both inverse roots, and how often in sequence they could not be computed.

    They are taken anew where `which` is 1, else kept.
    """
    return renewed(which, [_roots_again], kept, (how, squares, t), ())[0]


def _roots_again(kept: Roots, given: tuple[InverseRoot, Sides, Array]) -> Roots:
    """The inverse roots of both sides; where one is not finite, what was there before."""
    (b2, eps, relative, exponent), squares, t = given
    found, counts = [], []
    for x, last, failed in zip(squares, *kept, strict=True):
        x = x if b2 is None else unbiased(x, b2, t)
        root = inverse_root(x, exponent, eps, relative)
        fine = jnp.all(jnp.isfinite(root), (-2, -1))
        found.append(jnp.where(fine[..., None, None], root, last))
        counts.append(jnp.where(fine, 0, failed + 1))
    return (found[0], found[1]), jnp.stack(counts)
