"""Primal averaging: gradients are taken between an optimizer's own sequence z and its average x.

    y = (1 − β) z + β x            where gradients are taken: the parameters in training
    z ← z + u
    x ← x + c (z − x)

Of the three only y and z are kept, and x is recovered from them; beside half-precision parameters,
in which steps of an average would round away, x is kept in float32 too.
"""

from typing import Annotated, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array
from optax import Params

from ..core.tree_rule import ExactColumn, Step
from ..math.columns import Column, axpy, minus
from .mixed import mixed


@runtime_checkable
class WithShare(Protocol):
    """Numbers among which is β, of the point where the next gradient is taken."""

    @property
    def b1(self) -> Array: ...


class PrimalSlots(NamedTuple):
    """`x` is None where it is recovered from the parameters, `z` and β."""

    z: ExactColumn
    x: Annotated[Column | None, "exact"]

    def eval_params(self, params: Params, numbers: WithShare) -> Params:
        if self.x is not None:
            return mixed(params, self.x, lambda y, x: x)
        return mixed(params, self.z, lambda y, z, b1: (y - (1 - b1) * z) / b1, numbers.b1)


def averaged(
    slots: PrimalSlots,
    y: Column,
    u: Column,
    c: Array | float,
    b1: Array | float,
    old_b1: Array,
    step: Step,
) -> tuple[Column, PrimalSlots]:
    """The steps of y, and the slots after z has moved by u."""
    z = axpy(1, u, slots.z)
    if slots.x is None:
        slots = step.renew(slots, z=z)
        # z - x and x - z before this step, from what is there after it: nothing is copied.
        zyu = list(zip(slots.z, y, u, strict=True))
        ahead = [(a - b - (1 - old_b1) * d) / old_b1 for a, b, d in zyu]
        apart = [(b - a + d) / old_b1 for a, b, d in zyu]
        # As a sum of small steps, which is 0 at a rate of 0.
        steps = [
            b1 * c * a + (1 - b1) * d + (b1 - old_b1) * b
            for a, b, d in zip(ahead, apart, u, strict=True)
        ]
        return steps, slots
    slots = step.renew(slots, z=z, x=axpy(c, minus(z, slots.x), slots.x))
    to_x, to_z = minus(slots.x or [], y), minus(slots.z, y)
    return axpy(b1, to_x, [(1 - b1) * each for each in to_z]), slots
