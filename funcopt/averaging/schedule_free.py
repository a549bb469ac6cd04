"""Schedule-free learning: averaging in place of a decaying rate.

    y_t = (1 − β) z_t + β x_t              where gradients are taken: the parameters in training
    z_{t+1} = z_t + base update at y_t     the base optimizer's own sequence, without momentum
    w_t = (max η_i)^p,  c_t = w_t / Σ w_i
    x_{t+1} = (1 − c_t) x_t + c_t z_{t+1}  the average: what `funcopt.eval_params` returns

Defazio et al., 2024 (https://arxiv.org/abs/2405.15682), eqs. 4 to 6 and algorithm 1.

What is kept of x, y and z is told in `primal`.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax import OptState

from ..core.arguments import (
    Base,
    DType,
    NonNegative,
    OpenDecayRate,
    OptionalNonNegative,
)
from ..core.chain import chain
from ..core.metrics import rates
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
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


SCHEDULE_FREE = Paper(
    "Defazio, Aaron and Yang, Xingyu Alice and Mehta, Harsh and Mishchenko, Konstantin and "
    "Khaled, Ahmed and Cutkosky, Ashok",
    "The Road Less Scheduled",
    2024,
    "https://arxiv.org/abs/2405.15682",
    booktitle=NEURIPS,
)


@transformation(paper=SCHEDULE_FREE)
def schedule_free(
    base_optimizer: Base,
    learning_rate: OptionalNonNegative = None,
    b1: OpenDecayRate = 0.9,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """Make an optimizer schedule-free: average its steps instead of letting its rate decay.

    Train and take gradients at the parameters as usual; evaluate and serve at
    `funcopt.eval_params(tx, state, params)`. Warm up, but do not decay. Statistics of batch
    normalization belong to the evaluated parameters: collect them again before evaluating.

    Args:
        base_optimizer: a funcopt or optax optimizer without momentum, which this takes the place
            of: `sgd(rate)`, `rmsprop(rate, 0.999, bias_correction=True, eps_in_sqrt=False)`.
        learning_rate: by which steps are weighted in the average. None takes the rate in force
            from the base optimizer's state, so that the two never differ; an optax optimizer does
            not tell its rate, so give it here again.
        b1: in (0, 1), or a schedule: how much of the average is in the parameters; it takes the
            place of momentum. 0.9 to 0.98.
        weight_lr_power: at least 0; a step's weight is the largest rate so far to this power.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    optax (0.2.8) reads the rate of the weights one step later than its base optimizer does, and
    keeps sums in the parameters' dtype; both are as in the authors' code here.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.schedule_free(funcopt.sgd(0.5)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(funcopt.eval_params(tx, state, params)["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2405.15682 and https://github.com/facebookresearch/schedule_free.
    """
    rule = ScheduleFree(learning_rate, b1, weight_lr_power, None)
    return made_schedule_free(base_optimizer, rule, state_dtype, storage)
