"""The space of the first singular vectors of a gradient, in which others are seen for a while.

    P ← the first `rank` left singular vectors of G     in the first step and each `every` after it
    g = Pᴴ G                    the inputs projected; or G P, with right ones, the outputs
    u = P (its update)          or (its update) Pᴴ

Zhao et al., 2024 (https://arxiv.org/abs/2403.03507), Algorithm 1. It projects the shorter side; of
the longer one less is remembered. P is of the gradient that it is then applied to. What the rule in
this basis remembers has fewer numbers, and stays as it is when P changes.
"""

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import Choice, Length, Steps
from ..core.basis import Basis
from ..core.record import record
from ..core.rule import Clock, Exact
from ..math.eigenbasis import leading, restored, rotated
from ..math.renewal import renewed
from ..math.varying import varying_like

Matrix = Inexact[Array, "inputs outputs"]
SideName = Literal["shorter", "longer"]
SIDES = ("shorter", "longer")
Finding = Literal["svd", "eigh"]
FINDINGS = ("svd", "eigh")


class SubspaceSlots(NamedTuple):
    """P of the inputs or P of the outputs; None of the side that is not projected."""

    left_projector: Exact | None
    right_projector: Exact | None


@record
class GradientSubspace(Basis):
    """The first singular vectors of a gradient, for one side of the matrix."""

    rank: Length = 128
    every: Steps = 200
    side: Annotated[SideName, Choice(SIDES)] = "shorter"
    by: Annotated[Finding, Choice(FINDINGS)] = "svd"

    slots = SubspaceSlots

    def init(self, param: Matrix) -> SubspaceSlots:
        inputs, outputs = param.shape
        rank = min(self.rank, inputs, outputs)
        of_inputs = inputs <= outputs if self.side == "shorter" else inputs >= outputs
        zero = jnp.zeros((inputs if of_inputs else outputs, rank), param.dtype)
        zero = varying_like(zero, param)
        return SubspaceSlots(zero, None) if of_inputs else SubspaceSlots(None, zero)

    def before(self, grad: Matrix, slots: SubspaceSlots, clock: Clock) -> SubspaceSlots:
        due = (clock.t - 1) % self.every == 0
        which = clock.choose(due.astype(jnp.int32), 0)

        def found(old: Array, x: Inexact[Array, "m n"]) -> Array:
            return leading(x, old.shape[1], self.by)

        def again(old: Array | None, x: Inexact[Array, "m n"]) -> Array | None:
            return None if old is None else renewed(which, [found], old, x, ())[0]

        left, right = slots
        return SubspaceSlots(again(left, grad), again(right, grad.conj().T))

    def of(self, x: Matrix, slots: SubspaceSlots) -> Inexact[Array, "m n"]:
        return rotated(x, slots.left_projector, slots.right_projector)

    def back(self, x: Inexact[Array, "m n"], slots: SubspaceSlots) -> Matrix:
        return restored(x, slots.left_projector, slots.right_projector)
