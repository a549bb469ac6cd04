"""Generalized primal averaging: an exponential average of an optimizer's points, within training.

    y = mu_y x + (1 − mu_y) z      where gradients are taken: the parameters in training
    z ← z + base update            the base optimizer's own sequence, its decay that of z
    x ← mu_x x + (1 − mu_x) z      what `funcopt.eval_params` returns

Defazio et al., 2025 (https://arxiv.org/abs/2512.17131). With both numbers equal to μ and descent
of the rate η it is Nesterov's momentum μ at the rate (1 − μ) η, with mu_y = 1 heavy ball's; with
mu_x = 1 − 1/t, weighted by rates, it is schedule-free.
"""

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from ..core.arguments import Base, DecayRate, DType, Hyperparameter, OptionalDecayRate, Within
from ..core.paper import Paper
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import CommonNumber, Start, Step, TreeRule, tree_rule
from ..math.columns import Column
from ..storage import Storage
from .primal import PrimalSlots, averaged
from .schedule_free_step import ScheduleFree, made_schedule_free

Share = Annotated[Hyperparameter, Within(0, 1, "(]")]


class GpaNumbers(NamedTuple):
    """`b1` is mu_y of the point where the next gradient is taken."""

    b1: CommonNumber


@tree_rule(slots=PrimalSlots, numbers=GpaNumbers)
class Gpa(TreeRule):
    mu_x: DecayRate
    mu_y: Share

    def init(self, x: Column, start: Start):
        return PrimalSlots(x, x if start.in_half else None), GpaNumbers(start.number(self.mu_y))

    def seen(self, x: Column, slots: PrimalSlots) -> Column:
        del x  # the base optimizer decays its own sequence
        return slots.z

    def update(self, g: Column, slots: PrimalSlots, was: GpaNumbers, x: Column, step: Step):
        u, inner = step.run()
        steps, slots = averaged(slots, x, u, 1 - self.mu_x, self.mu_y, was.b1, step)
        return steps, slots, GpaNumbers(jnp.asarray(self.mu_y, step.real)), inner


GPA = Paper(
    "Defazio, Aaron and Mishchenko, Konstantin and Raman, Parameswaran and Shi, Hao-Jun Michael "
    "and Xiao, Lin",
    "Smoothing DiLoCo with Primal Averaging for Faster Training of LLMs",
    2025,
    "https://arxiv.org/abs/2512.17131",
)


@transformation(paper=GPA)
def gpa(
    base_optimizer: Base,
    mu_x: OptionalDecayRate = 0.9967,
    mu_y: Share = 0.7,
    state_dtype: DType = None,
    *,
    storage: Storage = None,
):
    """GPA: train between an optimizer's points and their exponential average.

    Take gradients at the parameters as usual; evaluate and serve at `funcopt.eval_params(tx, state,
    params)`. The learning rate has the schedule that the base optimizer would have.

    Args:
        base_optimizer: a funcopt or optax optimizer, such as `adamw(rate)`. What it does with
            parameters, such as decay, it does with its own sequence z.
        mu_x: of the average in itself, in [0, 1), or a schedule; the authors take 0.9^(1/H) where
            DiLoCo takes H steps between its averages: 0.9967 for 32, 0.9934 for 16, 0.9984 for 64.
            At 0 this is the base optimizer. None for the mean of all points, weighted by squared
            rates: `schedule_free(base_optimizer, b1=mu_y)`.
        mu_y: how much of the average is in the parameters, in (0, 1], or a schedule; 0.7 to 0.9.
        state_dtype: in which z is kept; None for float32, or float64 for such parameters. Steps
            below half a unit in the last place of z are lost in half precision.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Slot: z, in float32 for half-precision parameters, beside which the average is kept too.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.gpa(funcopt.sgd(1.0), mu_x=0.5, mu_y=0.5), jnp.array([8.0])
    >>> state = tx.init(params)
    >>> for _ in range(2):
    ...     params, state = funcopt.step(tx, jnp.array([4.0]), state, params)
    >>> params, state.z, funcopt.eval_params(tx, state, params)
    (Array([1.5], dtype=float32), Array([0.], dtype=float32), Array([3.], dtype=float32))

    Source: https://arxiv.org/abs/2512.17131, and https://github.com/facebookresearch/optimizers,
    whose `eval_interp_coeff` is mu_x and `train_interp_coeff` mu_y; it lets the decay of z move x.
    """
    if mu_x is None:
        rule = ScheduleFree(None, mu_y, 2.0, None)
        return made_schedule_free(base_optimizer, rule, state_dtype, storage)
    return LiftedTree(Gpa(mu_x, mu_y), storage, gated(base_optimizer), {"z": state_dtype})
