"""Mean gradients between inverse roots of the mean squares of their rows and of their columns.

    left ← b2 left + (1 − b2) G Gᴴ,  right ← b2 right + (1 − b2) Gᴴ G      sums where b2 is None
    each `frequency` steps from `start` on, where left' = left / (1 − b2ᵗ):
        left_root ← (left' + eps λmax(left') I)^−exponent,  and right_root
    grad_mu ← b1 grad_mu + (1 − b1) G,  M = grad_mu / (1 − b1ᵗ)
    D = left_root M right_root
    u = (‖A‖ / ‖D‖) D                       where A is the step of `graft`, a simpler method, of M

of each block of a matrix by itself; until `start`, u = A. A root that cannot be computed is the
last one that could, and is counted. Sources: see `shampoo`.
"""

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import (
    Choice,
    DecayRate,
    Length,
    NonNegative,
    OptionalDecayRate,
    Steps,
)
from ..core.report import Total
from ..core.rule import Accumulator, Clock, Exact, Rule, Signed, rule
from ..math.blocks import block_grid, blocked, unblocked
from ..math.inverse_roots import inverse_root
from ..math.moments import abs_sq, divide_by_root, ema, times, unbiased, zeros_real
from ..math.norm import norm
from ..math.renewal import renewed
from ..math.safe import safe_divide
from ..math.varying import varying_like

GraftName = Literal["adam", "rmsprop", "adagrad", "sgd", "none"]
Graft = Annotated[GraftName, Choice(("adam", "rmsprop", "adagrad", "sgd", "none"))]
Matrix = Inexact[Array, "inputs outputs"]
Blocks = Inexact[Array, "k n r c"]
Sides = tuple[Array, Array]
Roots = tuple[Sides, Array]


class InverseRootSlots(NamedTuple):
    """A mean gradient, mean squares of both sides of each block with their roots, how often in
    sequence a root could not be computed, and the mean square of the simpler method.
    """

    grad_mu: Signed
    left: Exact
    right: Exact
    left_root: Exact
    right_root: Exact
    failures: Accumulator
    graft_nu: Accumulator | None


class InverseRootReport(NamedTuple):
    """`failed_roots` is the number of roots in use that are older than they should be."""

    failed_roots: Total = 0.0


@rule(
    acts_on="matrix",
    slots=InverseRootSlots,
    report=InverseRootReport,
    decay_of={"grad_mu": "b1", "graft_nu": "graft_b2"},
)
class BetweenInverseRoots(Rule):
    """The mean gradient between inverse roots, as long as the step of a simpler method."""

    b1: DecayRate = 0.9
    b2: OptionalDecayRate = 0.999
    eps: NonNegative = 1e-6
    relative_eps: bool = True
    exponent: NonNegative = 0.25
    block_size: Length = 1024
    frequency: Steps = 10
    start: Steps = 10
    graft: GraftName = "adam"
    graft_b2: DecayRate = 0.999
    graft_eps: NonNegative = 1e-8

    def init(self, param: Matrix) -> InverseRootSlots:
        k, n, r, c = block_grid(param.shape, self.block_size)

        def squares(size: int, diagonal: float) -> Blocks:
            eye = diagonal * jnp.eye(size, dtype=param.dtype)
            return varying_like(jnp.broadcast_to(eye, (k, n, size, size)), param)

        nu = None if self.graft in ("sgd", "none") else zeros_real(param)
        failures = varying_like(jnp.zeros((2, k, n), zeros_real(param).dtype), param)
        left, right, left_root, right_root = (
            squares(size, x) for x in (0.0, 1.0) for size in (r, c)
        )
        mu = jnp.zeros_like(param)
        return InverseRootSlots(mu, left, right, left_root, right_root, failures, nu)

    def update(self, grad: Matrix, slots: InverseRootSlots, param, clock: Clock):
        del param  # a direction asks only for gradients
        g = blocked(grad, self.block_size)
        left = clock.choose(self.mean(slots.left, outer(g), self.b2), slots.left)
        right = clock.choose(self.mean(slots.right, outer(g.conj().mT), self.b2), slots.right)
        (left_root, right_root), failures = self.roots((left, right), slots, clock)
        kept = {} if slots.graft_nu is None else {"graft_nu": self.squares(slots.graft_nu, grad)}
        moments = clock.renew(slots, grad_mu=ema(slots.grad_mu, grad, self.b1), **kept)
        mu, nu = moments.grad_mu, moments.graft_nu
        slots = InverseRootSlots(mu, left, right, left_root, right_root, failures, nu)
        mu = unbiased(slots.grad_mu, self.b1, clock.t)
        m = blocked(mu, self.block_size)
        direction = slots.left_root @ m @ slots.right_root
        if self.graft != "none":
            simple = blocked(self.simple(mu, slots.graft_nu, clock), self.block_size)
            early = clock.t < self.start
            longer = safe_divide(block_norms(simple), block_norms(direction))
            direction = jnp.where(early, simple, times(longer, direction))
        report = InverseRootReport(jnp.sum(slots.failures > 0).astype(slots.failures.dtype))
        return unblocked(direction, grad.shape), slots, report

    def mean(self, mean: Array, x: Array, decay: object) -> Array:
        return mean + x if decay is None else ema(mean, x, decay)

    def squares(self, nu: Float[Array, "m n"], grad: Matrix) -> Float[Array, "m n"]:
        return self.mean(nu, abs_sq(grad), None if self.graft == "adagrad" else self.graft_b2)

    def simple(self, mu: Matrix, nu: Float[Array, "m n"] | None, clock: Clock) -> Matrix:
        """The step of the simpler method."""
        if nu is None:
            return mu
        nu = unbiased(nu, self.graft_b2, clock.t) if self.graft == "adam" else nu
        return divide_by_root(mu, nu, self.graft_eps)

    def roots(self, squares: tuple[Array, Array], slots: InverseRootSlots, clock: Clock):
        """Both inverse roots, and how often in sequence they could not be computed."""
        t = clock.t
        due = (t == self.start) | ((t > self.start) & (t % self.frequency == 0))
        which = clock.choose(due.astype(jnp.int32), 0)
        kept = (slots.left_root, slots.right_root), slots.failures
        return renewed(which, [_roots_again], kept, (self, squares, t), ())[0]


def _roots_again(kept: Roots, given: tuple[BetweenInverseRoots, Sides, Array]) -> Roots:
    """The inverse roots of both sides; where one is not finite, what was there before."""
    self, squares, t = given
    found, counts = [], []
    for x, last, failed in zip(squares, *kept, strict=True):
        x = x if self.b2 is None else unbiased(x, self.b2, t)
        root = inverse_root(x, self.exponent, self.eps, self.relative_eps)
        fine = jnp.all(jnp.isfinite(root), (-2, -1))
        found.append(jnp.where(fine[..., None, None], root, last))
        counts.append(jnp.where(fine, 0, failed + 1))
    return (found[0], found[1]), jnp.stack(counts)


def outer(x: Blocks) -> Inexact[Array, "k n r r"]:
    """x xᴴ of each block."""
    return jnp.matmul(x, x.conj().mT, precision="highest")


def block_norms(x: Blocks) -> Float[Array, "k n 1 1"]:
    return norm(x, (-2, -1))
