"""LARS: momentum of gradients that are scaled to the norm of the parameters, array by array.

    r = trust_coefficient ‖x‖ / (‖g‖ + weight_decay ‖x‖ + eps)      1 where ‖x‖ or ‖g‖ is 0
    trace ← momentum trace − learning_rate r (g + weight_decay x)
    x ← x + trace

You et al., 2017, Algorithm 1 (https://arxiv.org/abs/1708.03888). optax divides by the norm of the
sum, ‖g + weight_decay x‖, which is smaller: where decay balances the gradient its ratio has no
bound. Both are the same without decay.
"""

from typing import Annotated, Literal

from ..core.arguments import AxisName, Choice, Flag, NonNegative, OptionalDecayRate, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import stepped
from ..core.paths import Both, Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.add_decayed_weights import Decay
from ..transforms.decay_rules import WeightDecay, besides, own_and_other
from ..transforms.scale_by_trust_ratio import LARS, TrustRatio
from .local_rate import LocalRate
from .sgd import Momentum

Variant = Annotated[Literal["paper", "optax"], Choice(("paper", "optax"))]


@transformation(paper=LARS)
def lars(
    learning_rate: Rate,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    trust_coefficient: NonNegative = 0.001,
    eps: NonNegative = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: OptionalDecayRate = 0.9,
    nesterov: Flag = False,
    *,
    variant: Variant = "paper",
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """LARS: SGD with layer-wise learning rates, for large batches.

    Args:
        learning_rate: a factor of all layers' rates, at least 0; or a schedule. It multiplies
            gradients before they enter the momentum.
        weight_decay: at least 0, added to the gradient; or one of `funcopt.decays`.
        mask: which parameters decay, see `add_decayed_weights`.
        trust_coefficient: how far an array moves in a step of rate 1, relative to its own norm, at
            least 0; or a schedule.
        eps: added to the denominator of the ratio, at least 0.
        trust_ratio_mask: which parameters have a ratio, a mask of the same kind; the others go
            through SGD. Biases and the parameters of normalizations usually do, and do not decay.
        momentum: decay of the sum of steps, in [0, 1); None for none.
        nesterov: look one step ahead.
        variant: the denominator of the ratio: ‖g‖ + weight_decay ‖x‖ of the `"paper"`, or
            ‖g + weight_decay x‖ as in `"optax"`.
        layer_axis: where layers are stacked in one leaf, each of which has a ratio of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.lars(1.0, trust_coefficient=0.1), jnp.array([3.0, 4.0])
    >>> tx.update(jnp.array([0.0, 7.0]), tx.init(params), params)[0]
    Array([ 0. , -0.5], dtype=float32)

    Source: https://arxiv.org/abs/1708.03888, Algorithm 1.
    """
    own, other = own_and_other(weight_decay)
    if variant == "optax":
        ratio = TrustRatio(0.0, trust_coefficient, eps, axis_name)
        scaled = (masked(mask, Decay(own)), masked(trust_ratio_mask, ratio))
    else:
        both, plain = (LocalRate(decay, trust_coefficient, eps, axis_name) for decay in (own, 0.0))
        scaled = (
            masked(Both(trust_ratio_mask, mask), both),
            masked(Both(trust_ratio_mask, mask, False), plain),
            masked(Both(mask, trust_ratio_mask, False), Decay(own)),
        )
    summed = () if momentum is None else (Momentum(momentum, nesterov),)
    return stepped(
        *scaled,
        *besides(mask, other),
        then=summed,
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=storage,
    )
