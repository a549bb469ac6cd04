"""MoMo-Adam: Adam whose rate follows from a model of the loss.

    x ← x + u      u as in `momo_adam_step`

Schaipp, Ohana, Eickenberg, Defazio & Gower, 2023 (https://arxiv.org/abs/2305.07583).
"""

from ..core.arguments import AxisName, DecayRate, Flag, Positive, Rate, Real
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from ..transforms.decay_rules import own_and_other
from ..transforms.step_aware_decays import ProximalDecay
from .loss_model import MOMO, ModelDecay
from .momo_adam_step import MomoAdam


@transformation(paper=MOMO)
def momo_adam(
    learning_rate: Rate = 1e-2,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: Positive = 1e-8,
    lower_bound: Real = 0.0,
    weight_decay: ModelDecay = 0.0,
    adapt_lower_bound: Flag = False,
    *,
    mask: Mask = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """MoMo-Adam: Adam at an adaptive Polyak step size. `update` needs the loss as `value=`.

    Args:
        learning_rate: the largest rate α, at least 0, or a schedule; give a larger one than Adam's.
        b1: decay rate of the averages of gradients and of the loss, in [0, 1).
        b2: decay rate of the mean square, in [0, 1).
        eps: above 0, added to the root.
        lower_bound: a lower bound of the loss; 0 suits most losses.
        weight_decay: λ of (λ/2) ‖x‖² in the norm of the step, taken as a proximal step, as in
            `momo`.
        mask: which parameters decay, as in `add_decayed_weights`.
        adapt_lower_bound: estimate the lower bound, starting from `lower_bound`.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`, and over which `value` is averaged. None: each device goes by what it
            holds.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError: `update` was called without `value`, or with one that is no scalar.

    `funcopt.metrics` has the rate in force as `lr`, which is that of Adam's uncorrected mean, and
    `lower_bound`. With weight decay the whole step is divided by 1 + αλ, as in the paper and the
    authors' code; optax (0.2.8) divides only the decay.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx, params = funcopt.momo_adam(1.0), jnp.array([1.0, 2.0, 3.0])
    >>> state, loss = tx.init(params), lambda x: jnp.sum(x**2)
    >>> for _ in range(150):
    ...     value, grad = jax.value_and_grad(loss)(params)
    ...     params, state = funcopt.step(tx, grad, state, params, value=value)
    >>> float(loss(params)) < 1e-3
    True

    Source: https://arxiv.org/abs/2305.07583 and https://github.com/fabian-sp/MoMo.
    """
    own, _ = own_and_other(weight_decay, ProximalDecay)
    rule = MomoAdam(
        learning_rate, b1, b2, eps, lower_bound, own, mask, adapt_lower_bound, axis_name
    )
    return LiftedTree(rule, storage)
