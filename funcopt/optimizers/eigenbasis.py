"""The bases in which the mean squares of a matrix of gradients are diagonal.

    left ← beta left + (1 − beta) G Gᴴ,  right ← beta right + (1 − beta) Gᴴ G
    at the first step L, R ← their eigenvectors, the largest eigenvalue first
    each `frequency` steps after it:
        magnitudes ← their rows and columns in the order of Re diag(Lᴴ left L), as L then has it
        L ← the orthogonal factor of left L by QR       one step of the power method
        directions ← the same matrices in the new bases

or, with `by="eigh"`, L, R ← their eigenvectors, in each step whose number `frequency` divides, and
magnitudes stay. Bases change after the step, so that no gradient is rotated by what it has a part
in. A side that is longer than `max_precond_dim` keeps the identity.

Vyas et al., 2025, Algorithm 3 (https://arxiv.org/abs/2409.11321); Frans et al., 2025
(https://arxiv.org/abs/2506.07254), by eigenvectors. What the rule in the basis keeps of directions
of gradients turns with it, which is exact; mean squares cannot, and follow their eigenvectors.
"""

from typing import Annotated, Literal, NamedTuple, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from ..core.arguments import Choice, DecayRate, Length, Steps
from ..core.basis import Basis
from ..core.record import record
from ..core.rule import Clock, Exact
from ..math.eigenbasis import outer, restored, rotated
from ..math.moments import ema
from ..math.varying import varying_like
from .turning import by_eigenvectors, by_power, turning

S = TypeVar("S", bound=tuple)
Matrix = Inexact[Array, "inputs outputs"]
Square = Inexact[Array, "n n"]


class EigenbasisSlots(NamedTuple):
    """The mean squares of both sides, and their eigenvectors; None of a side without them."""

    left: Exact | None
    right: Exact | None
    left_basis: Exact | None
    right_basis: Exact | None


@record
class Eigenbasis(Basis):
    """The eigenvectors of the mean squares of rows and of columns."""

    beta: DecayRate = 0.95
    frequency: Steps = 10
    max_precond_dim: Length = 10000
    by: Annotated[Literal["qr", "eigh"], Choice(("qr", "eigh"))] = "qr"

    slots = EigenbasisSlots

    def init(self, param: Matrix) -> EigenbasisSlots:
        squares = (first_square(n, param, self.max_precond_dim) for n in param.shape)
        bases = (first_square(n, param, self.max_precond_dim, 1) for n in param.shape)
        return EigenbasisSlots(*squares, *bases)

    def of(self, x: Matrix, slots: EigenbasisSlots) -> Matrix:
        return rotated(x, slots.left_basis, slots.right_basis)

    def back(self, x: Matrix, slots: EigenbasisSlots) -> Matrix:
        return restored(x, slots.left_basis, slots.right_basis)

    def after(
        self, grad: Matrix, slots: EigenbasisSlots, inner: S, update: Matrix, clock: Clock
    ) -> tuple[EigenbasisSlots, S, Matrix]:
        left, right, *bases = slots
        left = self.mean(left, grad, clock)
        right = self.mean(right, grad.conj().T, clock)
        new, inner, update = turning(
            clock.choose(self.which(clock.t), 0),
            (by_eigenvectors,) if self.by == "eigh" else (by_eigenvectors, by_power),
            (left, right),
            (bases[0], bases[1]),
            inner,
            update,
        )
        return EigenbasisSlots(left, right, *new), inner, update

    def mean(self, squares: Square | None, grad: Inexact[Array, "n m"], clock: Clock):
        if squares is None:
            return None
        return clock.choose(ema(squares, outer(grad), self.beta), squares)

    def which(self, t: Int[Array, ""]) -> Int[Array, ""]:
        """0 where the bases stay, else the number of how they are renewed."""
        if self.by == "eigh":
            return jnp.where((t == 1) | (t % self.frequency == 0), 1, 0)
        return first_and_each(t, self.frequency)


def first_square(n: int, param: Matrix, longest: Length, diagonal: float = 0.0) -> Square | None:
    """A multiple of the identity for a side of this length, None where it is to have no basis."""
    if not 0 < n <= longest or not param.size:
        return None
    return varying_like(diagonal * jnp.eye(n, dtype=param.dtype), param)


def first_and_each(t: Int[Array, ""], frequency: Steps) -> Int[Array, ""]:
    """1 in the first step, 2 each so many steps after it, else 0."""
    return jnp.where(t == 1, 1, jnp.where((t - 1) % frequency == 0, 2, 0))
