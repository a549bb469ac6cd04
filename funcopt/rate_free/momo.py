"""MoMo: momentum whose rate follows from a model of the loss.

    x ← x + u      u as in `momo_step`

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from ..core.arguments import AxisName, DecayRate, Flag, Rate, Real
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from ..transforms.decay_rules import own_and_other
from ..transforms.step_aware_decays import ProximalDecay
from .loss_model import MOMO, ModelDecay
from .momo_step import Momo


@transformation(paper=MOMO)
def momo(
    learning_rate: Rate = 1.0,
    beta: DecayRate = 0.9,
    lower_bound: Real = 0.0,
    weight_decay: ModelDecay = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """MoMo: SGD with momentum at an adaptive Polyak step size. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a large one.
        beta: decay rate of the averages, in [0, 1).
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖², taken as a proximal step. There is no other, since this one
            is in the model that gives the rate.
        mask: which parameters decay, as in `add_decayed_weights`.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        bias_correction: begin averages with zero and correct for it, instead of beginning with
            the first batch.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how the mean is kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, and `lower_bound`. With weight decay the whole
    step is divided by 1 + αλ, as in the paper and the authors' code; optax (0.2.8) divides only
    the decay, and takes no step where ‖m‖² is below 2.2e-16.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo(), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    own, _ = own_and_other(weight_decay, ProximalDecay)
    rule = Momo(
        learning_rate, beta, lower_bound, own, mask, adapt_lower_bound, bias_correction,
        axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage)
