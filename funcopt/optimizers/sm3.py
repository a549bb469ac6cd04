"""SM3: AdaGrad with a number for each row, each column and so on, in place of one for each element.

    s = |g|² + min over axes a of v_a       v_a has the length of axis a, and is 0 at first
    v_a ← max of s over all other axes
    mu ← b1 mu + (1 − b1) g / √(s + eps)

Anil et al., 2019, Algorithm SM3-II (https://arxiv.org/abs/1901.11150), whose cover of an array are
its slices along each axis. eps is optax's; the paper has 0 / 0 = 0.
"""

from ..core.arguments import AxisName, DecayRate, DType, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.optimizer import optimizer
from ..core.paper import NEURIPS, Paper
from ..core.transformation import transformation
from ..storage import Storage, with_slot
from .sm3_direction import Sm3

SM3 = Paper(
    "Anil, Rohan and Gupta, Vineet and Koren, Tomer and Singer, Yoram",
    "Memory-Efficient Adaptive Optimization",
    2019,
    "https://arxiv.org/abs/1901.11150",
    booktitle=NEURIPS,
)


@transformation(paper=SM3)
def sm3(
    learning_rate: Rate,
    momentum: DecayRate = 0.9,
    *,
    eps: NonNegative = 1e-8,
    mu_dtype: DType = None,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """SM3: AdaGrad with sublinear memory, for sparse gradients and large embeddings.

    Of a matrix [m, n] it remembers m + n numbers beside the momentum.

    Args:
        learning_rate: about the length of the first steps in each element, at least 0; or a
            schedule. Steps shrink as squared gradients add up.
        momentum: decay of the mean step, in [0, 1).
        eps: added inside the root, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        layer_axis: where layers are stacked in one leaf, each of which is an array of its own, as
            in `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand
            along its first axis. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.sm3(0.1, momentum=0.0), jnp.zeros((2, 3))
    >>> params, state = funcopt.step(tx, jnp.ones((2, 3)), tx.init(params), params)
    >>> state.v_0.shape, state.v_1.shape
    ((2, 1), (1, 3))

    Source: https://arxiv.org/abs/1901.11150, Algorithm SM3-II.
    """
    rule_, storage = Sm3(momentum, eps, axis_name), with_slot(storage, "mu", mu_dtype)
    return optimizer(rule_, learning_rate=learning_rate, layer_axis=layer_axis, storage=storage)
