"""Prodigy: Adam whose rate is an estimate of the distance to the solution.

    x ← x + u      u as in `prodigy_step`

Mishchenko & Defazio, 2023 (https://arxiv.org/abs/2306.06101), the Adam version.
"""

import math

from ..core.arguments import AxisName, Flag, OptionalDecayRate, Positive, Rate
from ..core.paper import ICML, Paper
from ..core.paths import Mask
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..transforms.decay_kinds import DecoupledDecay
from ..transforms.decay_rules import own_and_other
from .estimate import Betas, FoundRateDecay, GrowthRate, WideStorage
from .prodigy_step import Prodigy

PRODIGY = Paper(
    "Mishchenko, Konstantin and Defazio, Aaron",
    "Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
    2024,
    "https://arxiv.org/abs/2306.06101",
    booktitle=ICML,
)


@transformation(paper=PRODIGY)
def prodigy(
    learning_rate: Rate = 1.0,
    betas: Betas = (0.9, 0.999),
    beta3: OptionalDecayRate = None,
    eps: Positive = 1e-8,
    estim_lr0: Positive = 1e-6,
    estim_lr_coef: Positive = 1.0,
    weight_decay: FoundRateDecay = 0.0,
    safeguard_warmup: Flag = False,
    *,
    mask: Mask = None,
    bias_correction: Flag = False,
    growth_rate: GrowthRate = math.inf,
    axis_name: AxisName = None,
    storage: WideStorage = None,
):
    """Prodigy: Adam that estimates its learning rate d, the distance from start to solution.

    Args:
        learning_rate: a factor of d, at least 0; leave it at 1, or give a schedule that falls
            from 1 (the authors suggest a cosine).
        betas: decay rates of the means of gradients and of squares, in [0, 1).
        beta3: decay rate of the sums that estimate d, in [0, 1); None means the root of the
            second of `betas`.
        eps: above 0, times d added to the root.
        estim_lr0: the first d, an underestimate.
        estim_lr_coef: a factor of every estimate, usually between 0.5 and 2.
        weight_decay: times the parameter and the rate, as in AdamW; or one of `funcopt.decays`, but
            for `corrected`, since the largest rate is not known before.
        safeguard_warmup: take the learning rate out of the denominator of the estimate; True is
            suggested with a warm-up.
        mask: which parameters decay, as in `add_decayed_weights`.
        bias_correction: multiply the rate by Adam's bias correction. optax always does, the
            authors do only when asked.
        growth_rate: at least 1, the most by which d grows in one step, the first rise aside.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how slots are kept between steps, see `funcopt.storage`: `"bfloat16"` is for the
            mean of gradients, sums and the starting point are kept in full. float16 does not
            reach down to the first steps and is refused.

    `funcopt.metrics` has the rate in force as `lr`, and `d`: it should rise quickly, then stay.
    Slots: mean, mean square, sum of gradients, starting point, float32 for half-precision
    parameters. In bfloat16 parameters the first steps, of size d, may round away and nothing is
    learnt about the distance: give a larger `estim_lr0`, or keep the parameters in float32.

    As long as no gradient and no rate was above 0, the estimate is left alone: a schedule from 0
    and zero gradients are fine, where optax (0.2.8) divides zero by zero. At a later rate of 0
    the authors' code keeps everything as it is, this goes on averaging. Their `slice_p`, which
    thins out two slots, is left out.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.prodigy(), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> float(funcopt.metrics(state)["d"]) > 0.1
    True

    Source: https://arxiv.org/abs/2306.06101, and https://github.com/konstmish/prodigy.
    """
    b1, b2 = betas
    own, other = own_and_other(weight_decay, DecoupledDecay)
    rule = Prodigy(
        learning_rate, b1, b2, beta3, eps, estim_lr0, estim_lr_coef, own,
        safeguard_warmup, mask, bias_correction, growth_rate, axis_name,
    )  # fmt: skip
    return LiftedTree(rule, storage, decay=other)
