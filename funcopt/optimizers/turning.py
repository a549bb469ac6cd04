"""How bases of eigenvectors follow the mean squares that they are of, and a rule's slots with them.

by_eigenvectors     Q ← the eigenvectors of S, the largest eigenvalue first
by_power            Q ← the orthogonal factor of S Q by QR: one step of the power method, for
                    which the columns of Q may be sorted before it by Re diag(Qᴴ S Q)
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
from jaxtyping import Array, Int

from ..core.basis import turned
from ..math.eigenbasis import Sides, eigenbasis, followed, in_order, restored, rotated

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
    shape: tuple[int, ...],
) -> tuple[Sides, S]:
    """The bases after the renewal of this number, 0 for none, and the slots of a rule in them."""

    def as_it_is(squares: Sides, bases: Sides, inner: S) -> tuple[Sides, S]:
        del squares  # in most steps nothing is made of them
        return bases, inner

    def made(renewal: Renewal):
        def turn(squares: Sides, bases: Sides, inner: S) -> tuple[Sides, S]:
            new, orders = renewal(squares, bases)
            return new, turned(
                inner,
                shape,
                directions=lambda x: rotated(restored(x, *bases), *new),
                magnitudes=lambda x: in_order(x, *orders),
            )

        return turn

    branches = (as_it_is, *map(made, renewals))
    return jax.lax.switch(which, branches, squares, bases, inner)
