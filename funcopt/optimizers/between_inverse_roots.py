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

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.arguments import DecayRate, Length, NonNegative, OptionalDecayRate, Steps
from ..core.paper import ICML, Paper
from ..core.report import Total
from ..core.rule import Accumulator, Clock, Exact, Rule, Signed, rule
from ..math.blocks import blocked, unblocked
from ..math.moments import ema, times, zeros_real
from ..math.norm import norm
from ..math.safe import safe_divide
from ..math.varying import varying_like
from .block_roots import Blocks, InverseRoot, Matrix, kept_roots, mean_outer, side_blocks
from .graft_step import GraftName, graft_squares, graft_step, has_squares

SHAMPOO = Paper(
    "Gupta, Vineet and Koren, Tomer and Singer, Yoram",
    "Shampoo: Preconditioned Stochastic Tensor Optimization",
    2018,
    "https://arxiv.org/abs/1802.09568",
    booktitle=ICML,
)


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

    corrects = ("b1", "graft_b2")

    def init(self, param: Matrix) -> InverseRootSlots:
        left, right = side_blocks(param, self.block_size, 0.0)
        roots = side_blocks(param, self.block_size, 1.0)
        nu = zeros_real(param) if has_squares(self.graft) else None
        failures = varying_like(jnp.zeros((2, *left.shape[:2]), zeros_real(param).dtype), param)
        return InverseRootSlots(jnp.zeros_like(param), left, right, *roots, failures, nu)

    def update(self, grad: Matrix, slots: InverseRootSlots, param, clock: Clock):
        del param  # a direction asks only for gradients
        g, t = blocked(grad, self.block_size), clock.t
        left = clock.choose(mean_outer(slots.left, g, self.b2), slots.left)
        right = clock.choose(mean_outer(slots.right, g.conj().mT, self.b2), slots.right)
        due = (t == self.start) | ((t > self.start) & (t % self.frequency == 0))
        roots, failures = kept_roots(
            clock.choose(due.astype(jnp.int32), 0),
            ((slots.left_root, slots.right_root), slots.failures),
            (left, right),
            InverseRoot(self.b2, self.eps, self.relative_eps, self.exponent),
            t,
        )
        nu = slots.graft_nu
        if nu is not None:
            nu = clock.choose(graft_squares(self.graft, nu, grad, self.graft_b2), nu)
        mu = clock.choose(ema(slots.grad_mu, grad, self.b1), slots.grad_mu)
        slots = InverseRootSlots(mu, left, right, *roots, failures, nu)
        mu = clock.unbiased(mu, self.b1)
        direction = slots.left_root @ blocked(mu, self.block_size) @ slots.right_root
        if self.graft != "none":
            simple = graft_step(self.graft, mu, nu, self.graft_b2, self.graft_eps, clock)
            simple = blocked(simple, self.block_size)
            longer = safe_divide(block_norms(simple), block_norms(direction))
            direction = jnp.where(t < self.start, simple, times(longer, direction))
        report = InverseRootReport(jnp.sum(slots.failures > 0).astype(slots.failures.dtype))
        return unblocked(direction, grad.shape), slots, report


def block_norms(x: Blocks) -> Float[Array, "k n 1 1"]:
    return norm(x, (-2, -1))
