"""How bases of eigenvectors follow the mean squares that they are of, and a rule's slots with them.

by_eigenvectors     Q ← the eigenvectors of S, the largest eigenvalue first
by_power            Q ← the orthogonal factor of S Q by QR: one step of the power method, for
                    which the columns of Q may be sorted before it by Re diag(Qᴴ S Q)
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from jaxtyping import Array, Inexact, Int

from ..core.basis import turned
from ..math.eigenbasis import Sides, eigenbasis, followed, in_order, restored, rotated
from ..math.renewal import renewed

S = TypeVar("S", bound=tuple)
Orders = tuple[Int[Array, " m"] | None, Int[Array, " n"] | None]
Renewal = Callable[[Sides, Sides], tuple[Sides, Orders]]


def by_eigenvectors(squares: Sides, bases: Sides) -> tuple[Sides, Orders]:
    del bases  # eigenvectors are found anew
    left, right = (None if x is None else eigenbasis(x) for x in squares)
    return (left, right), (None, None)


def by_power(squares: Sides, bases: Sides, *, sort: bool = True) -> tuple[Sides, Orders]:
    (left, rows), (right, columns) = (
        (q, None) if x is None or q is None else followed(x, q, sort)
        for x, q in zip(squares, bases, strict=True)
    )
    return (left, right), (rows, columns)


def turning(
    which: Int[Array, ""],
    renewals: Sequence[Renewal],
    squares: Sides,
    bases: Sides,
    inner: S,
    update: Inexact[Array, "m n"],
) -> tuple[Sides, S, Inexact[Array, "m n"]]:
    """The bases after the renewal of this number, 0 for none, and the slots of a rule in them.

    Before it, in the bases as they are, the update is made, and returned.
    """

    def made(renewal: Renewal):
        def turn(kept: tuple[Sides, S], squares: Sides) -> tuple[Sides, S]:
            bases, inner = kept
            new, orders = renewal(squares, bases)
            return new, turned(
                inner,
                update.shape,
                directions=lambda x: rotated(restored(x, *bases), *new),
                magnitudes=lambda x: in_order(x, *orders),
            )

        return turn

    (bases, inner), update = renewed(
        which, [made(renewal) for renewal in renewals], (bases, inner), squares, update
    )
    return bases, inner, update
