"""The stochastic Polyak step: as far as the loss is above what can be reached.

    η = scaling min( (f(x) − f*) / (‖g‖² + eps), max_learning_rate )
    x ← x − η g

Loizou, Vaswani, Laradji & Lacoste-Julien, 2020 (https://arxiv.org/abs/2002.10542), eq. 3, SPS_max;
their 1/c is `scaling`. With the positive part of f(x) − f*, SPS₊: Garrigos, Gower & Schaipp, 2023
(https://arxiv.org/abs/2307.14528).
"""

from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp

from ..core.arguments import AxisName, Choice, NonNegative, Rate, Real
from ..core.paper import AISTATS, Paper
from ..core.rule import NoSlots
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..core.tree_rule import Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, scaled
from ..math.safe import safe_divide

VariantName = Literal["sps", "sps+"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class PolyakSgdNumbers(NamedTuple):
    """`lr` is the rate that the last loss asked for."""

    lr: Reported


@tree_rule(numbers=PolyakSgdNumbers, needs_params=False, needs_value=True)
class PolyakSgd(TreeRule):
    max_learning_rate: NonNegative
    scaling: NonNegative
    f_min: Real
    eps: NonNegative
    variant: VariantName
    axis_name: AxisName

    def init(self, x: Column, start: Start):
        return NoSlots(), PolyakSgdNumbers(start.number(0))

    def update(self, g: Column, slots: NoSlots, was: PolyakSgdNumbers, x: None, step: Step):
        gap = step.value - self.f_min
        gap = jnp.maximum(gap, 0) if self.variant == "sps+" else gap
        lr = safe_divide(gap, step.square_norm(g) + self.eps)
        lr = self.scaling * jnp.minimum(lr, self.max_learning_rate)
        return scaled(-lr, g), slots, PolyakSgdNumbers(lr)


POLYAK_SGD = Paper(
    "Loizou, Nicolas and Vaswani, Sharan and Laradji, Issam and Lacoste-Julien, Simon",
    "Stochastic Polyak Step-size for SGD: An Adaptive Learning Rate for Fast Convergence",
    2021,
    "https://arxiv.org/abs/2002.10542",
    booktitle=AISTATS,
)


@transformation(paper=POLYAK_SGD)
def polyak_sgd(
    max_learning_rate: Rate = 1.0,
    scaling: Rate = 1.0,
    f_min: Real = 0.0,
    eps: NonNegative = 0.0,
    variant: Variant = "sps",
    *,
    axis_name: AxisName = None,
):
    """SGD with the stochastic Polyak step size (SPS). `update` needs the loss as `value=`.

    η = scaling min((value − f_min) / (‖g‖² + eps), max_learning_rate)

    Args:
        max_learning_rate: the largest step, at least 0, or a schedule.
        scaling: a factor of the step, at least 0, or a schedule; the paper's 1/c, with c = 1/2
            for its experiments.
        f_min: a lower bound of the loss, 0 where the model can interpolate the data.
        eps: at least 0, added to the squared norm of the gradient.
        variant: `"sps+"` does not step while the loss is below `f_min`; `"sps"` then climbs.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    A zero gradient makes no step. (optax makes none either where the squared norm is below
    2.2e-16, and so stops short.)

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.polyak_sgd(), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(5):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(funcopt.current_lr(state)), float(loss(params))
    (0.25, 0.01367...)

    Source: https://arxiv.org/abs/2002.10542, eq. 3.
    """
    return LiftedTree(PolyakSgd(max_learning_rate, scaling, f_min, eps, variant, axis_name))
