"""Adam-mini: Adam with one second moment for each block of parameters.

    mu ← b1 mu + (1 − b1) g
    nu ← b2 nu + (1 − b2) mean(|g|²)        over a block; one number
    u  = mu_hat / (√nu_hat + eps)           corrected as in Adam
    x ← x − learning_rate (u + weight_decay x)

Zhang et al., 2024, Algorithm 1 (https://arxiv.org/abs/2406.16793). The authors' program finds
blocks by the names of parameters; here they are told by axes.
"""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, DecayRate, DType, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Divisor, Rule, rule
from ..core.transformation import transformation
from ..math.moments import ema, zeros_real
from ..math.norm import norm, squarable
from ..math.varying import norm_across, parts, zeros_learnt_from
from ..storage import Storage, with_slot
from ..transforms.decay_rules import WeightDecay, decaying
from .moment_slots import Moments, mean_of_block


@rule(acts_on="array", slots=Moments)
class AdamMini(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    eps: NonNegative = 1e-8
    axis_name: AxisName = None

    corrects = ("b1", "b2")

    def init(self, param: Inexact[Array, "*p"]) -> Moments:
        zeros = zeros_learnt_from(zeros_real(param), self.axis_name)
        return Moments(jnp.zeros_like(param), jnp.sum(zeros))

    def update(self, grad: Inexact[Array, "*p"], slots: Moments, param, clock: Clock):
        del param  # Adam-mini looks only at gradients
        elements = max(grad.size, 1) * parts(grad, self.axis_name)
        rms = norm_across(norm(grad), self.axis_name) / elements**0.5
        mu = ema(slots.mu, grad, self.b1)
        slots = clock.renew(slots, mu=mu, nu=ema(slots.nu, squarable(rms) ** 2, self.b2))
        root = jnp.sqrt(clock.unbiased(slots.nu, self.b2)) + self.eps
        mean = clock.unbiased(slots.mu, self.b1)
        return mean / jnp.where(root > 0, root, 1).astype(mean.dtype), slots

    def divides_by(self) -> Divisor:
        return Divisor(mean_of_block, self.b2, self.eps, corrected=True)


ADAM_MINI = Paper(
    "Zhang, Yushun and Chen, Congliang and Li, Ziniu and Ding, Tian and Wu, Chenwei and Kingma, "
    "Diederik P. and Ye, Yinyu and Luo, Zhi-Quan and Sun, Ruoyu",
    "Adam-mini: Use Fewer Learning Rates To Gain More",
    2024,
    "https://arxiv.org/abs/2406.16793",
)


@transformation(paper=ADAM_MINI)
def adam_mini(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    mu_dtype: DType = None,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    layer_axis: LayerAxis = -1,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Adam-mini: AdamW with one learning rate per block, so that it needs half of the memory.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient of a block, in [0, 1).
        eps: added to the root, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        weight_decay: at least 0, or one of `funcopt.decays`; the learning rate multiplies it.
        mask: which parameters decay, see `add_decayed_weights`.
        layer_axis: the axes whose every index is a block of its own: one in all leaves of two axes
            or more, or a dict of axes by patterns in the path. The default makes a block of all
            weights of one output of a kernel [inputs, outputs]; None of each array. The authors'
            blocks for a transformer are tokens, heads and outputs, and they leave single biases to
            Adam: `{"embed": 0, "(query|key)/kernel": 1, "kernel": -1, "bias": -1}`.
        axis_name: the axes of `jax.shard_map` over which every block is sharded by hand, as in
            `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.adam_mini(0.1), {"kernel": jnp.ones((4, 3)), "scale": jnp.ones(3)}
    >>> state = tx.init(params)
    >>> state.nu["kernel"].shape, state.nu["scale"].shape
    ((3,), ())

    Source: https://arxiv.org/abs/2406.16793, Algorithm 1.
    """
    return optimizer(
        AdamMini(b1, b2, eps, axis_name),
        masked(mask, decaying(weight_decay)),
        learning_rate=learning_rate,
        layer_axis=layer_axis,
        storage=with_slot(storage, "mu", mu_dtype),
    )
