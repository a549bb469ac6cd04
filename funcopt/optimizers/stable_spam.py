"""Stable-SPAM: Adam behind a clip of spikes and a norm that follows its history.

    x ← x − learning_rate (u + weight_decay x)      u as in `stable_spam_direction`

Huang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.17055v2).
"""

from ..core.arguments import (
    AxisName,
    ClosedDecayRate,
    DecayRate,
    DType,
    NonNegative,
    OptionalSteps,
    Rate,
)
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .stable_spam_direction import StableSpam

STABLE_SPAM = Paper(
    "Huang, Tianjin and Hu, Haotian and Zhang, Zhenyu and Jin, Gaojie and Li, Xiang and Shen, "
    "Li and Chen, Tianlong and Liu, Lu and Wen, Qingsong and Wang, Zhangyang and Liu, Shiwei",
    "Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam",
    2025,
    "https://arxiv.org/abs/2502.17055v2",
)


@transformation(paper=STABLE_SPAM)
def stable_spam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    gamma1: DecayRate = 0.7,
    gamma2: DecayRate = 0.9,
    gamma3: DecayRate = 0.999,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    mu_dtype: DType = None,
    reset_interval: OptionalSteps = 1000,
    total_steps: OptionalSteps = None,
    eta_min: ClosedDecayRate = 0.5,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Stable-SPAM: Adam with adaptive clipping of elements and norms, and momentum reset.

    Entries that stand out of their leaf's history are cut, the norm of each leaf is replaced by
    the ratio of its mean to its root mean square, and the moments begin anew now and then.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps: as in `adam`.
        gamma1: decay of the mean norm, in [0, 1); the paper has 0.85 for bfloat16.
        gamma2: decay of the mean squared norm, in [0, 1); the paper has 0.99999 for bfloat16.
        gamma3: decay of the mean largest entry, in [0, 1).
        weight_decay: decoupled, at least 0, or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        reset_interval: after how many updates moments begin anew, at least 1; None for never.
        total_steps: over how many updates `b1` and `gamma1` fall to `eta_min` times themselves;
            None: they stay.
        eta_min: in [0, 1].
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device takes what it holds of a leaf for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `grad_norm` (of all leaves, before), and of the entries that were cut
    `clip_ratio` (the smallest) and `clipped` (their fraction), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stable_spam(0.1), jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 1e6 * params, tx.init(params), params)
    >>> params
    Array([ 0.9, -1.9], dtype=float32)

    Source: https://arxiv.org/abs/2502.17055v2, Algorithm 1.
    """
    rule = StableSpam(
        b1, b2, eps, gamma1, gamma2, gamma3, reset_interval, total_steps, eta_min, axis_name
    )
    return optimizer(
        rule,
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        storage=with_slot(storage, "mu", mu_dtype),
    )
