"""DoWG: distance over gradients, each gradient weighted by the distance gone when it came.

    r_t² = max(r_{t-1}², ‖x_t − x_0‖²)
    v_t = v_{t-1} + r_t² ‖g_t‖²
    η_t = r_t² / (√v_t + eps)
    x_{t+1} = x_t − learning_rate η_t g_t

Khaled, Mishchenko & Jin, 2023 (https://arxiv.org/abs/2305.16284), algorithm 1.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ..averaging.kinds import Gamma
from ..averaging.running_average import within_average
from ..core.arguments import (
    AxisName,
    NonNegative,
    OptionalNonNegative,
    OptionalPositive,
    Positive,
    Rate,
)
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_rule import Number, Reported, Start, Step, TreeRule, tree_rule
from ..math.columns import Column, axpy, held, minus, scaled
from ..math.safe import safe_divide
from ..storage import Storage
from ..transforms.decay_kinds import L2Decay
from ..transforms.decay_rules import own_and_other
from .dog_step import DogSlots
from .estimate import OptionalFoundRateDecay


class DowgNumbers(NamedTuple):
    """`lr` is the rate in force, `distance` the largest distance from the start so far."""

    lr: Reported
    distance: Reported
    estim_sq_dist: Number
    weighted_sq_norm_grads: Number


@tree_rule(slots=DogSlots, numbers=DowgNumbers)
class Dowg(TreeRule):
    learning_rate: NonNegative
    init_estim_sq_dist: OptionalPositive
    eps: Positive
    weight_decay: OptionalNonNegative
    mask: Mask
    axis_name: AxisName

    decays_by = "l2"

    def init(self, x: Column, start: Start):
        r2 = start.number(self.eps if self.init_estim_sq_dist is None else self.init_estim_sq_dist)
        return DogSlots(x), DowgNumbers(start.number(0), jnp.sqrt(r2), r2, start.number(0))

    def update(self, g: Column, slots: DogSlots, was: DowgNumbers, x: Column, step: Step):
        g = axpy(1, g, step.decay(self.weight_decay, self.mask))
        r2 = jnp.maximum(was.estim_sq_dist, step.square_norm(minus(x, slots.init_params)))
        v = was.weighted_sq_norm_grads + r2 * step.square_norm(g)
        lr = self.learning_rate * safe_divide(r2, jnp.sqrt(v) + self.eps)
        return scaled(-lr, g), slots, DowgNumbers(lr, jnp.sqrt(r2), r2, held(v))


DOWG = Paper(
    "Khaled, Ahmed and Mishchenko, Konstantin and Jin, Chi",
    "DoWG Unleashed: An Efficient Universal Parameter-Free Gradient Descent Method",
    2023,
    "https://arxiv.org/abs/2305.16284",
    booktitle=NEURIPS,
)


@transformation(paper=DOWG)
def dowg(
    learning_rate: Rate = 1.0,
    init_estim_sq_dist: OptionalPositive = None,
    eps: Positive = 1e-4,
    weight_decay: OptionalFoundRateDecay = None,
    mask: Mask = None,
    *,
    average_gamma: Gamma = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """DoWG (distance over weighted gradients): DoG that weighs later gradients more.

    η = r² / (√(Σ r_i² ‖g_i‖²) + eps) with r_i the largest distance from the start so far.

    Args:
        learning_rate: a factor of the rate, at least 0, or a schedule. Leave it at 1.
        init_estim_sq_dist: the squared distance to begin with, above 0; None means `eps`.
        eps: above 0, added to the root of the weighted sum; the paper has none.
        weight_decay: times the parameter, added to the gradient (L2); or one of `funcopt.decays`,
            as in `dog`; None is none.
        mask: which parameters decay, as in `add_decayed_weights`.
        average_gamma: γ of a polynomial-decay average for `funcopt.eval_params`, as in `dog`;
            None keeps none. (The paper's guarantee is for an average that is weighted by r².)
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`; these are kept in full.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.dowg(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.1)
    True

    Source: https://arxiv.org/abs/2305.16284, algorithm 1.
    """
    own, other = own_and_other(weight_decay, L2Decay)
    rule = Dowg(learning_rate, init_estim_sq_dist, eps, own, mask, axis_name)
    return within_average(rule, average_gamma, storage, other)
