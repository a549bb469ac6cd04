"""The eigenbases of the covariance of a matrix of gradients that is nearest to a product of two.

    left ← beta left + (1 − beta) G R diag(1 / b) Rᴴ Gᴴ / n         G is m x n
    right ← beta right + (1 − beta) Gᴴ L diag(1 / a) Lᴴ G / m
    a_i ← max(c⁻², beta a_i + (1 − beta) mean_j |Lᴴ G R|²_ij / b_j)     c = max(10, min(m, 4000))
    b_j ← max(c⁻², beta b_j + (1 − beta) mean_i |Lᴴ G R|²_ij / a_i)     the same of n
    at the first step L, R ← the eigenvectors of G Gᴴ and Gᴴ G, a, b ← 0.1
    each `frequency` steps after it L ← the orthogonal factor of left L by QR, and directions turn
    with `whitens`, u = L (u_ij / (√(a_i b_j) + eps)) Rᴴ

Lin et al., 2026 (https://arxiv.org/abs/2509.03378), as in the authors' program: each side is
weighed by the inverse of the other, which minimizes the Kullback-Leibler divergence, and columns
are not sorted, so that eigenvalues and mean squares stay with theirs.
"""

from functools import partial
from typing import NamedTuple, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import DecayRate, Length, NonNegative, Steps
from ..core.basis import Basis
from ..core.record import record
from ..core.rule import Accumulator, Clock, Exact
from ..math.eigenbasis import outer, restored, rotated
from ..math.moments import abs_sq, divide_by_root, ema, full_real
from .eigenbasis import first_and_each, first_square
from .turning import by_eigenvectors, by_power, turning

S = TypeVar("S", bound=tuple)
Matrix = Inexact[Array, "inputs outputs"]
Square = Inexact[Array, "n n"] | None
Other = Inexact[Array, "m m"] | None
Values = Float[Array, " n"] | None
Weights = Float[Array, "1 m"] | None


class KLEigenbasisSlots(NamedTuple):
    """The covariances of both sides, their eigenvectors and the means of their eigenvalues."""

    left: Exact | None
    right: Exact | None
    left_basis: Exact | None
    right_basis: Exact | None
    left_values: Accumulator | None
    right_values: Accumulator | None


@record
class KLEigenbasis(Basis):
    """The eigenvectors of covariances of rows and of columns, each weighed by the other."""

    beta: DecayRate = 0.98
    frequency: Steps = 10
    max_precond_dim: Length = 10000
    whitens: bool = False
    eps: NonNegative = 1e-8

    slots = KLEigenbasisSlots

    def init(self, param: Matrix) -> KLEigenbasisSlots:
        squares = [first_square(n, param, self.max_precond_dim) for n in param.shape]
        bases = (first_square(n, param, self.max_precond_dim, 1) for n in param.shape)
        values = (None if x is None else full_real(x[0], 0.1) for x in squares)
        return KLEigenbasisSlots(*squares, *bases, *values)

    def of(self, x: Matrix, slots: KLEigenbasisSlots) -> Matrix:
        return rotated(x, slots.left_basis, slots.right_basis)

    def back(self, x: Matrix, slots: KLEigenbasisSlots) -> Matrix:
        if self.whitens:
            ones = abs_sq(jnp.ones_like(x))
            of_rows = ones if slots.left_values is None else slots.left_values[:, None] * ones
            both = of_rows if slots.right_values is None else of_rows * slots.right_values[None]
            x = divide_by_root(x, both, self.eps)
        return restored(x, slots.left_basis, slots.right_basis)

    def after(
        self, grad: Matrix, slots: KLEigenbasisSlots, inner: S, update: Matrix, clock: Clock
    ) -> tuple[KLEigenbasisSlots, S, Matrix]:
        left, right, left_basis, right_basis, a, b = slots
        size = abs_sq(self.of(grad, slots))
        rows, columns = (_weights(x, clock) for x in (a, b))
        left = self.covariance(left, grad, right_basis, columns, clock)
        right = self.covariance(right, grad.conj().T, left_basis, rows, clock)
        a, b = self.values(a, size, columns, clock), self.values(b, size.T, rows, clock)
        which = clock.choose(first_and_each(clock.t, self.frequency), 0)
        renewals = by_eigenvectors, partial(by_power, sort=False)
        squares, bases = (left, right), (left_basis, right_basis)
        bases, inner, update = turning(which, renewals, squares, bases, inner, update)
        return KLEigenbasisSlots(left, right, *bases, a, b), inner, update

    def covariance(
        self, mean: Square, grad: Matrix, other: Other, weights: Weights, clock: Clock
    ) -> Square:
        if mean is None:
            return None
        weighed = rotated(grad, None, other)
        if weights is not None:
            weighed = weighed * jnp.sqrt(weights).astype(weighed.dtype)
        return clock.choose(ema(mean, outer(weighed) / grad.shape[1], self.beta), mean)

    def values(
        self, mean: Values, size: Float[Array, "n m"], weights: Weights, clock: Clock
    ) -> Values:
        """The mean of eigenvalues, bounded from below; the first step leaves it."""
        if mean is None:
            return None
        least = float(max(10, min(mean.size, 4000))) ** -2
        seen = jnp.mean(size if weights is None else size * weights, 1)
        new = jnp.maximum(ema(mean, seen, self.beta), least)
        return clock.choose(jnp.where(clock.t == 1, mean, new), mean)


def _weights(values: Values, clock: Clock) -> Weights:
    """The inverses of eigenvalues, and 1 at the first step, when there are none."""
    return None if values is None else jnp.where(clock.t == 1, 1, 1 / values)[None]
