"""NovoGrad: momentum of gradients that are divided by the mean norm of those of their array.

    nu ← b2 nu + (1 − b2) ‖g‖²                              ‖g‖² at the first step; one number
    mu ← b1 mu + g / (√(nu + eps_root) + eps) + weight_decay x
    x ← x − learning_rate mu

Ginsburg et al., 2019, Algorithm 1 (https://arxiv.org/abs/1905.11286). The gradient has weight one
in the sum, not 1 − b1.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ..core.arguments import AxisName, DecayRate, NonNegative, Rate
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import optimizer
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Accumulator, Clock, Divisor, Rule, Signed, rule
from ..core.transformation import transformation
from ..math.moments import ema, zeros_real
from ..math.norm import norm, squarable
from ..math.varying import norm_across, zeros_learnt_from
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay, besides, own_and_other


class NovogradSlots(NamedTuple):
    """The momentum, and the mean square of norms."""

    mu: Signed
    nu: Accumulator


def mean_element(slots: NovogradSlots) -> Array:
    """nu over all elements alike, where layers are not stacked along a later axis."""
    mu, nu = slots
    layers = nu.ndim
    if mu.shape[:layers] != nu.shape:
        return nu
    of_one = nu / max(mu.size // max(nu.size, 1), 1)
    return jnp.broadcast_to(of_one.reshape(nu.shape + (1,) * (mu.ndim - layers)), mu.shape)


@rule(acts_on="array", slots=NovogradSlots, needs_params=True)
class Novograd(Rule):
    b1: DecayRate = 0.9
    b2: DecayRate = 0.25
    eps: NonNegative = 1e-6
    eps_root: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    decays: bool = True
    axis_name: AxisName = None

    decays_by = "decoupled"

    def init(self, param: Inexact[Array, "*p"]) -> NovogradSlots:
        zeros = zeros_learnt_from(zeros_real(param), self.axis_name)
        return NovogradSlots(jnp.zeros_like(param), jnp.sum(zeros))

    def update(self, grad: Inexact[Array, "*p"], slots: NovogradSlots,
               param: Inexact[Array, "*p"], clock: Clock):  # fmt: skip
        square = squarable(norm_across(norm(grad), self.axis_name)) ** 2
        nu = clock.choose(ema(slots.nu, square, self.decay(clock.t)), slots.nu)
        root = jnp.sqrt(nu + self.eps_root) + self.eps
        step = grad / jnp.where(root > 0, root, 1).astype(grad.dtype)
        if self.decays:
            step = step + self.weight_decay * param
        mu = clock.choose(self.b1 * slots.mu + step, slots.mu)
        return mu, NovogradSlots(mu, nu)

    def decay(self, t: Int[Array, ""]) -> Float[Array, ""]:
        """That of nu, in which the first norm has all of the weight."""
        return jnp.where(t == 1, 0, self.b2)

    def left_out(self) -> "Novograd":
        return Novograd(
            self.b1, self.b2, self.eps, self.eps_root, self.weight_decay, False, self.axis_name
        )

    def divides_by(self) -> Divisor:
        # eps is beside the norm of an array, which is far above the root of its mean square.
        return Divisor(mean_element, self.decay)


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
