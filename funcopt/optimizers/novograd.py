"""NovoGrad: momentum of gradients that are divided by the mean norm of those of their array.

    x ← x − learning_rate mu      mu as in `novograd_direction`

Ginsburg et al., 2019, Algorithm 1 (https://arxiv.org/abs/1905.11286).
"""

from ..core.arguments import AxisName, DecayRate, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, besides, own_and_other
from .novograd_direction import Novograd

NOVOGRAD = Paper(
    "Ginsburg, Boris and Castonguay, Patrice and Hrinchuk, Oleksii and Kuchaiev, Oleksii and "
    "Lavrukhin, Vitaly and Leary, Ryan and Li, Jason and Nguyen, Huyen and Zhang, Yang and Cohen, "
    "Jonathan M.",
    "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks",
    2019,
    "https://arxiv.org/abs/1905.11286",
)


@transformation(paper=NOVOGRAD)
def novograd(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.25,
    eps: NonNegative = 1e-6,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    *,
    mask: Mask = None,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """NovoGrad: momentum of gradients that are normalized by layer, with half of Adam's memory.

    Args:
        learning_rate: about (1 − b1) times the norm of a step in each array, at least 0; or a
            schedule.
        b1: decay of the momentum, in [0, 1).
        b2: decay of the mean squared norm, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        weight_decay: at least 0, added to the normalized gradient, before the momentum; or one of
            `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        layer_axis: where layers are stacked in one leaf, each of which has a norm of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.novograd(0.5), jnp.array([1.0, 2.0])
    >>> params, state = funcopt.step(tx, jnp.array([3.0, 4.0]), tx.init(params), params)
    >>> params, state.nu
    (Array([0.7..., 1.6...], dtype=float32), Array(25., dtype=float32))

    Source: https://arxiv.org/abs/1905.11286, Algorithm 1.
    """
    own, other = own_and_other(weight_decay)
    return optimizer(
        masked(mask, Novograd(b1, b2, eps, eps_root, own, axis_name=axis_name)),
        *besides(mask, other),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=storage,
    )
