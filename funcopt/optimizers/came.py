"""CAME: Adafactor's direction with a momentum, smaller where the direction keeps changing.

    x ← x − learning_rate (u + weight_decay x)      u by the rule in `came_direction.py`

Luo et al., 2023, Algorithm 2 (https://arxiv.org/abs/2307.02047).
"""

from ..core.arguments import AxisName, DecayRate, NonNegative, OptionalThreshold, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .came_direction import Came

CAME = Paper(
    "Luo, Yang and Ren, Xiaozhe and Zheng, Zangwei and Jiang, Zhuo and Jiang, Xin and You, Yang",
    "CAME: Confidence-guided Adaptive Memory Efficient Optimization",
    2023,
    "https://arxiv.org/abs/2307.02047",
    booktitle="Annual Meeting of the Association for Computational Linguistics",
)


@transformation(paper=CAME)
def came(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    b3: DecayRate = 0.9999,
    eps: NonNegative = 1e-30,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    eps_instability: NonNegative = 1e-16,
    clipping_threshold: OptionalThreshold = 1.0,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """CAME: Adafactor with momentum, and with smaller steps where it is not confident.

    Of a matrix [m, n] it remembers 2 (m + n) numbers beside the momentum.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule. The
            authors take 0.5 to 0.9 times that of AdamW.
        b1: decay of the mean direction, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        b3: decay of the instability, in [0, 1), above b2.
        eps: added to squared gradients, at least 0.
        weight_decay: at least 0, or one of `funcopt.decays`; the learning rate multiplies it.
        mask: which parameters decay, see `add_decayed_weights`.
        eps_instability: added to the squared instability, at least 0.
        clipping_threshold: the largest root mean square of an array's direction before it enters
            the mean, at least 0; or a schedule. None for no bound.
        layer_axis: where layers are stacked in one leaf, each of which is an array of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand
            along its first axis. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `update_rms`, `clip_ratio` and `clipped` as that of `adafactor`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.came(0.1), jnp.zeros((2, 3))
    >>> params, state = funcopt.step(tx, jnp.ones((2, 3)), tx.init(params), params)
    >>> state.v_row.shape, state.res_col.shape
    ((2, 1), (1, 3))

    Source: https://arxiv.org/abs/2307.02047, Algorithm 2.
    """
    return optimizer(
        Came(b1, b2, b3, eps, eps_instability, clipping_threshold, axis_name),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=storage,
    )
