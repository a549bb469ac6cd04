"""StableAdamW: AdamW whose step is shorter in a leaf that its second moment has lost track of.

    x ← x − learning_rate u      u as in `stable_adamw_direction`

Wortsman et al., 2023, Algorithm 2 (https://arxiv.org/abs/2304.13013).
"""

from ..core.arguments import AxisName, DecayRate, DType, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import NEURIPS, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, besides, own_and_other
from .stable_adamw_direction import StableAdamW

STABLE_ADAMW = Paper(
    "Wortsman, Mitchell and Dettmers, Tim and Zettlemoyer, Luke and Morcos, Ari and Farhadi, "
    "Ali and Schmidt, Ludwig",
    "Stable and low-precision training for large-scale vision-language models",
    2023,
    "https://arxiv.org/abs/2304.13013",
    booktitle=NEURIPS,
)


@transformation(paper=STABLE_ADAMW)
def stable_adamw(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.99,
    eps: NonNegative = 1e-6,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 1e-2,
    mask: Mask = None,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """StableAdamW: AdamW with Adafactor's update clipping, in place of gradient clipping.

    η = learning_rate / max(1, r) in each leaf, where r = √mean(|g|² / max(ν̂, eps²))

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        weight_decay: at least 0; it goes through η, so that it is shorter too where r is above 1.
            Or one of `funcopt.decays`, which goes by the learning rate.
        mask: which parameters decay, see `add_decayed_weights`.
        layer_axis: where layers are stacked in one leaf, each of which has an r of its own, as in
            `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `update_rms` (the largest r), `clip_ratio` (the smallest 1 / max(1, r))
    and `clipped` (the fraction of leaves where r is above 1), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stable_adamw(0.1, weight_decay=0.0), jnp.array([1.0, -2.0])
    >>> state = tx.init(params)
    >>> for size in (1.0, 1.0, 100.0):
    ...     params, state = funcopt.step(tx, size * params, state, params)
    >>> float(state.update_rms)
    1.7...

    Source: https://arxiv.org/abs/2304.13013, Algorithm 2.
    """
    own, other = own_and_other(weight_decay)
    return optimizer(
        masked(mask, StableAdamW(b1, b2, eps, own, axis_name=axis_name)),
        *besides(mask, other),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=with_slot(storage, "mu", mu_dtype),
    )
