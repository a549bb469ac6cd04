"""CAME: Adafactor's direction with a momentum, smaller where the direction keeps changing.

    u = g / √v̂,  u ← u / max(1, RMS(u) / clipping_threshold)
    mu ← b1 mu + (1 − b1) u
    x ← x − learning_rate (mu / √ŝ + weight_decay x)

v̂ and ŝ are products of the means of rows and of columns, as in Adafactor: of |g|² + eps with the
decay b2, and of the instability |u − mu|² + eps_instability with b3. Vectors have all of v, and no
ŝ. Luo et al., 2023, Algorithm 2 (https://arxiv.org/abs/2307.02047). No bias is corrected, and rows
and columns are the last two axes, as in the authors' program.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import AxisName, DecayRate, NonNegative, OptionalThreshold, Rate
from ..core.leaf import LayerAxis
from ..core.lift import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import abs_sq, divide_or_keep, ema, times, zeros_real
from ..math.norm import clip_ratio, norm, squarable
from ..math.varying import norm_across, parts
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, decaying
from .scale_by_factored_rms import (
    FactoredSlots,
    factored_root,
    mean_along,
    mean_squares,
    zero_means,
)
from .stable_adamw import RmsReport


class CameSlots(NamedTuple):
    """The mean direction; its factored instability; the second moment, factored or whole."""

    mu: Signed
    res_row: Accumulator | None
    res_col: Accumulator | None
    v_row: Accumulator | None
    v_col: Accumulator | None
    v: Accumulator | None


def mean_gradient_squares(slots: CameSlots) -> Float[Array, "*p"]:
    return mean_squares(FactoredSlots(slots.v_row, slots.v_col, slots.v))


@rule(acts_on="array", slots=CameSlots, report=RmsReport)
class Came(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.999
    b3: DecayRate = 0.9999
    eps: NonNegative = 1e-30
    eps_instability: NonNegative = 1e-16
    clipping_threshold: OptionalThreshold = 1.0
    axis_name: AxisName = None

    def init(self, param: Inexact[Array, "*p"]) -> CameSlots:
        mu, v = jnp.zeros_like(param), zeros_real(param)
        if param.ndim < 2 or not param.size:
            return CameSlots(mu, None, None, None, None, v)
        row, col = zero_means(v, (param.ndim - 2, param.ndim - 1), self.axis_name)
        return CameSlots(mu, row, col, jnp.copy(row), jnp.copy(col), None)

    def update(self, grad: Inexact[Array, "*p"], slots: CameSlots, param, clock: Clock):
        del param  # CAME looks only at gradients
        squares = abs_sq(squarable(grad)) + self.eps
        v, row, col = slots.v, slots.v_row, slots.v_col
        if v is None:
            row, col = self.renewed(clock, row, col, squares, self.b2)
            root = self.root(row, col)
        else:
            v = clock.choose(ema(v, squares, self.b2), v)
            root = jnp.sqrt(v)
        u = divide_or_keep(grad, root)
        elements = max(u.size, 1) * parts(u, self.axis_name)
        r, ratio = norm_across(norm(u), self.axis_name) / elements**0.5, 1.0
        if self.clipping_threshold is not None:
            ratio = clip_ratio(r, self.clipping_threshold)
            u = times(ratio, u)
        report = RmsReport(r, ratio, ratio < 1)
        mu = clock.choose(ema(slots.mu, u, self.b1), slots.mu)
        if v is not None:
            return mu, CameSlots(mu, None, None, None, None, v), report
        unstable = abs_sq(u - mu) + self.eps_instability
        res = self.renewed(clock, slots.res_row, slots.res_col, unstable, self.b3)
        return divide_or_keep(mu, self.root(*res)), CameSlots(mu, *res, row, col, None), report

    def renewed(self, clock: Clock, row, col, x: Float[Array, "*p"], decay) -> tuple[Array, Array]:
        """The means of rows and of columns, after `x`."""
        along = x.ndim - 1, x.ndim - 2
        here = [mean_along(x, axis, self.axis_name) for axis in along]
        new_row, new_col = (
            clock.choose(ema(old, mean, decay), old)
            for old, mean in zip((row, col), here, strict=True)
        )
        return new_row, new_col

    def root(self, row, col) -> Array:
        return factored_root(row, col, mean_along(row, row.ndim - 2, self.axis_name))

    def divides_by(self) -> Divisor:
        return Divisor(mean_gradient_squares, self.b2, eps_root=self.eps)


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
