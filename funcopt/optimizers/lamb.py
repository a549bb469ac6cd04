"""LAMB: Adam whose step in each array is as long as its parameters, times the learning rate.

    mu ← b1 mu + (1 − b1) g,  nu ← b2 nu + (1 − b2) |g|²,  corrected as in Adam
    u = mu_hat / (√nu_hat + eps) + weight_decay x
    x ← x − learning_rate ‖x‖ / ‖u‖ u      the ratio is 1 where ‖x‖ or ‖u‖ is 0

You et al., 2020, Algorithm 2 (https://arxiv.org/abs/1904.00962), with φ(z) = z.
"""

from ..core.arguments import AxisName, DecayRate, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import ICLR, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from ..transforms.scale_by_trust_ratio import TrustRatio
from .scale_by_adam import Adam

LAMB = Paper(
    "You, Yang and Li, Jing and Reddi, Sashank J. and Hseu, Jonathan and Kumar, Sanjiv and "
    "Bhojanapalli, Srinadh and Song, Xiaodan and Demmel, James and Keutzer, Kurt and Hsieh, "
    "Cho-Jui",
    "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
    2020,
    "https://arxiv.org/abs/1904.00962",
    booktitle=ICLR,
)


@transformation(paper=LAMB)
def lamb(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-6,
    eps_root: NonNegative = 0.0,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    trust_ratio_mask: Mask = None,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """LAMB: AdamW with layer-wise learning rates, for large batches.

    Args:
        learning_rate: how far each array moves in a step, relative to its own norm, at least 0; or
            a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        eps_root: added inside the root, at least 0.
        weight_decay: at least 0, added to Adam's direction before the ratio is taken; or one of
            `funcopt.decays`, which comes after the step.
        mask: which parameters decay, see `add_decayed_weights`.
        trust_ratio_mask: which parameters have a trust ratio, a mask of the same kind; the others
            go through AdamW. None for all. The authors leave out biases and the parameters of
            normalizations, here and from the decay.
        layer_axis: where layers are stacked in one leaf, each of which has a ratio of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.lamb(0.1), jnp.array([3.0, -4.0])
    >>> params, state = funcopt.step(tx, 2 * params, tx.init(params), params)
    >>> params
    Array([ 2.646..., -3.646...], dtype=float32)

    Source: https://arxiv.org/abs/1904.00962, Algorithm 2.
    """
    return optimizer(
        Adam(b1, b2, eps, eps_root),
        masked(mask, decaying(weight_decay)),
        masked(trust_ratio_mask, TrustRatio(axis_name=axis_name)),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=storage,
    )
