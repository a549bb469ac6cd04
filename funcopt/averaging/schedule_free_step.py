"""Schedule-free learning: averaging in place of a decaying rate.

    y_t = (1 − β) z_t + β x_t              where gradients are taken: the parameters in training
    z_{t+1} = z_t + base update at y_t     the base optimizer's own sequence, without momentum
    w_t = (max η_i)^p,  c_t = w_t / Σ w_i
    x_{t+1} = (1 − c_t) x_t + c_t z_{t+1}  the average: what `funcopt.eval_params` returns

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), eqs. 4 to 6 and algorithm 1. What is kept
of x, y and z is told in `primal`.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax import OptState

from ..core.arguments import DType, NonNegative, OpenDecayRate, OptionalNonNegative
from ..core.chain import chain
from ..core.metrics import rates
from ..core.paths import Mask
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import (
    Common,
    CommonNumber,
    OutermostAs,
    Start,
    Step,
    Sums,
    TreeRule,
    tree_rule,
)
from ..math.columns import Column
from ..math.safe import safe_divide
from ..storage import Storage
from .primal import PrimalSlots, averaged


class ScheduleFreeNumbers(NamedTuple):
    """`lr` is the rate in force, by which steps are weighted."""

    lr: Annotated[Array, OutermostAs("lr"), Common]
    b1: CommonNumber
    max_lr: CommonNumber
    weight_sum: CommonNumber


@tree_rule(slots=PrimalSlots, numbers=ScheduleFreeNumbers)
class ScheduleFree(TreeRule):
    learning_rate: OptionalNonNegative
    b1: OpenDecayRate
    weight_lr_power: NonNegative
    mask: Mask

    def init(self, x: Column, start: Start):
        numbers = self._rate(start.inner, start), *map(start.number, (self.b1, 0, 0))
        slots = PrimalSlots(x, x if start.in_half else None)
        return slots, ScheduleFreeNumbers(*numbers)

    def update(
        self, g: Column, slots: PrimalSlots, was: ScheduleFreeNumbers, x: Column, step: Step
    ):
        u, inner = step.run()
        lr = self._rate(inner, step)
        max_lr = jnp.maximum(was.max_lr, lr)
        weight = max_lr**self.weight_lr_power
        weight_sum = was.weight_sum + weight
        c = safe_divide(weight, weight_sum)
        steps, slots = averaged(slots, x, u, c, self.b1, was.b1, step)
        numbers = ScheduleFreeNumbers(lr, jnp.asarray(self.b1, step.real), max_lr, weight_sum)
        return steps, slots, numbers, inner

    def _rate(self, inner: OptState, now: Sums) -> Float[Array, ""]:
        if self.learning_rate is not None:
            return jnp.asarray(self.learning_rate, now.real)
        found = list(rates(inner).values())
        if len(found) != 1:
            raise ValueError(
                f"schedule_free: the base optimizer reports {len(found) or 'no'} learning rate"
                f"{'s' * (len(found) != 1)}, so give schedule_free its learning_rate."
            )
        return jnp.array(found[0], now.real)  # a copy: both states may be donated


def made_schedule_free(
    base: optax.GradientTransformation,
    rule: ScheduleFree,
    state_dtype: DType,
    storage: Storage,
) -> LiftedTree:
    # A chain knows what to do with a gate, and with extra arguments.
    return LiftedTree(rule, storage, chain(base), {"z": state_dtype})
