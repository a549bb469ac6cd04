"""A rule in the bases in which the mean squares of a matrix of gradients are diagonal.

    g = Q_Lᴴ G Q_R                                   and `inner` is applied to g
    u = Q_L (its update) Q_Rᴴ
    left ← beta left + (1 − beta) G Gᴴ,  right ← beta right + (1 − beta) Gᴴ G
    at the first step Q_L, Q_R ← their eigenvectors, the largest eigenvalue first
    each `frequency` steps after it:
        nu ← its rows and columns in the order of Re diag(Qᴴ left Q), which Q then has, too
        Q ← the orthogonal factor of left Q by QR       one step of the power method
        mu ← the same matrix in the new bases

Statistics change after the step, so that no gradient is rotated by what it has a part in. A side
that is longer than `max_precond_dim` keeps the identity. Of the inner rule's slots the mean of
gradients turns with the basis, which is exact; mean squares cannot, and follow their eigenvectors.
"""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int

from ..core.arguments import DecayRate, Length, Steps
from ..core.rule import Accumulator, Clock, Exact, Rule, Signed, rule
from ..math.eigenbasis import (
    eigenbasis,
    followed,
    outer,
    placed_like,
    restored,
    rotated,
    whole,
)
from ..math.moments import ema
from ..math.varying import varying_like
from .moment_slots import Moments


class BasisSlots(NamedTuple):
    """Moments in the basis, the mean squares of both sides, and their eigenvectors."""

    basis_mu: Signed
    basis_nu: Accumulator
    left: Exact | None
    right: Exact | None
    left_basis: Exact | None
    right_basis: Exact | None


def _with_moments(where: str, x: object) -> Rule:
    if not isinstance(x, Rule) or x.acts_on != "element" or x.slots is not Moments:
        raise TypeError(
            f"{where} must be a rule for elements that keeps a mean and a mean square, such as "
            f"rules.Adam(), got {x!r}."
        )
    return x


WithMoments = Annotated[Rule, _with_moments]


@rule(acts_on="matrix", slots=BasisSlots)
class InEigenbasis(Rule):
    """Apply a rule for elements, which keeps a mean and a mean square, in an eigenbasis."""

    inner: WithMoments
    beta: DecayRate = 0.95
    frequency: Steps = 10
    max_precond_dim: Length = 10000

    def init(self, param: Inexact[Array, "inputs outputs"]) -> BasisSlots:
        mu, nu = self.inner.init(param)
        inputs, outputs = param.shape

        def zeros(n: int) -> Array | None:
            if not 0 < n <= self.max_precond_dim:
                return None
            return varying_like(jnp.zeros((n, n), param.dtype), param)

        return BasisSlots(mu, nu, zeros(inputs), zeros(outputs), zeros(inputs), zeros(outputs))

    def update(
        self, grad: Inexact[Array, "inputs outputs"], slots: BasisSlots, param, clock: Clock
    ):
        del param  # it is in no basis
        bases = slots.left_basis, slots.right_basis
        moments = Moments(whole(slots.basis_mu), whole(slots.basis_nu))
        g = whole(grad)
        update, (mu, nu) = self.inner.update(rotated(g, *bases), moments, None, clock)
        left = self.mean(slots.left, g)
        right = self.mean(slots.right, g.conj().T)
        turned = BasisSlots(mu, nu, left, right, *bases)
        new = jax.lax.switch(self.case(clock.t), (_as_it_is, _turned, _first), turned)
        kept = {name: x for name, x in new._asdict().items() if x is not None}
        kept["basis_mu"] = placed_like(new.basis_mu, slots.basis_mu)
        kept["basis_nu"] = placed_like(new.basis_nu, slots.basis_nu)
        return placed_like(restored(update, *bases), grad), clock.renew(slots, **kept)

    def mean(self, squares: Array | None, grad: Inexact[Array, "m n"]) -> Array | None:
        return None if squares is None else ema(squares, outer(grad), self.beta)

    def case(self, t: Int[Array, ""]) -> Int[Array, ""]:
        """0 where the basis stays, 1 where it follows, 2 at the first step."""
        return jnp.where(t == 1, 2, jnp.where((t - 1) % self.frequency == 0, 1, 0))


def _as_it_is(slots: BasisSlots) -> BasisSlots:
    return slots


def _first(slots: BasisSlots) -> BasisSlots:
    mu, nu, left, right, _, _ = slots
    q_left = None if left is None else eigenbasis(left)
    q_right = None if right is None else eigenbasis(right)
    return BasisSlots(mu, nu, left, right, q_left, q_right)


def _turned(slots: BasisSlots) -> BasisSlots:
    mu, nu, left, right, q_left, q_right = slots
    mu = restored(mu, q_left, q_right)
    if left is not None and q_left is not None:
        q_left, order = followed(left, q_left)
        nu = nu[order]
    if right is not None and q_right is not None:
        q_right, order = followed(right, q_right)
        nu = nu[:, order]
    return BasisSlots(rotated(mu, q_left, q_right), nu, left, right, q_left, q_right)
