"""Hyperball: matrices stay on the sphere of their first norm, and turn by the learning rate.

    R = ‖W₀‖,  s the optimizer's step
    W ← R unit(W + learning_rate R unit(s))             unit(x) = x / ‖x‖, of Frobenius

Wen et al., 2026 (https://arxiv.org/abs/2606.16899). It takes the place of weight decay, under which
norms settle where decay and steps balance. A matrix that begins at zero has no sphere, and takes
the optimizer's steps, as vectors do. Without the sphere these are `relative_updates`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ..core.arguments import AxisName, Base
from ..core.leaf import LayerAxis
from ..core.masked import masked
from ..core.optimizer import after_steps
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Clock, Exact, Rule, rule
from ..core.transformation import transformation
from ..math.moments import times, zeros_real
from ..math.norm import norm
from ..math.varying import norm_across, zeros_learnt_from


class RadiusSlots(NamedTuple):
    """The first norm, 0 before the first step."""

    radius: Exact


def unit(x: Inexact[Array, "*p"], length: Float[Array, ""]) -> Inexact[Array, "*p"]:
    return x / jnp.where(length > 0, length, 1).astype(x.dtype)


@rule(acts_on="array", slots=RadiusSlots, needs_params=True)
class Hyperball(Rule):
    """R unit(W + η R unit(s)) − W; an optimizer applies it to its step."""

    holds: bool = True
    axis_name: AxisName = None

    place = "last"

    def init(self, param: Inexact[Array, "*p"]) -> RadiusSlots:
        return RadiusSlots(jnp.sum(zeros_learnt_from(zeros_real(param), self.axis_name)))

    def update(self, grad: Inexact[Array, "*p"], slots: RadiusSlots, param: Inexact[Array, "*p"],
               clock: Clock):  # fmt: skip
        if not self.holds or param.ndim < 2:
            return grad, slots
        assert clock.lr is not None
        first = jnp.where(clock.t == 1, self.length(param), slots.radius)
        slots = clock.renew(slots, radius=first)
        radius, far = slots.radius, self.length(grad)
        turned = param + times(clock.lr * radius, unit(grad, far))
        onto = times(radius, unit(turned, self.length(turned)))
        return jnp.where((radius > 0) & (far > 0), onto - param, grad), slots

    def length(self, x: Inexact[Array, "*p"]) -> Float[Array, ""]:
        return norm_across(norm(x), self.axis_name)

    def left_out(self) -> "Hyperball":
        return Hyperball(False, self.axis_name)


HYPERBALL = Paper(
    "Wen, Kaiyue and Dang, Xingyu and Lyu, Kaifeng and Ma, Tengyu and Liang, Percy",
    "Fantastic Pretraining Optimizers and Where to Find Them II: Hyperball Optimization",
    2026,
    "https://arxiv.org/abs/2606.16899",
)


@transformation(paper=HYPERBALL)
def hyperball(
    inner: Base, mask: Mask = None, *, layer_axis: LayerAxis = None, axis_name: AxisName = None
):
    """Hyperball: keep the norm of each matrix, and turn it by the learning rate in each step.

    Args:
        inner: an optimizer of funcopt's rules, such as `adamw(1e-3, weight_decay=0.0)` or
            `muon(0.01)`, of which it is the hidden matrices that stay on spheres. Its learning rate
            becomes the length of a step relative to the matrix, about the angle by which it turns.
            Its decay is a part of the step.
        mask: which parameters do, of those with two axes or more; see `add_decayed_weights`. None
            for all. The paper leaves out embeddings.
        layer_axis: where layers are stacked in one leaf, each of which has a sphere, as in
            `clip_by_block_rms`; None for what `inner` says.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.

    Raises:
        TypeError: `inner` is none of funcopt's optimizers of rules, but a wrapper, a chain or
            optax's.
        ValueError: `layer_axis` is told twice; `update` was called without parameters, or a pattern
            matches none.

    Slot: the norm that a matrix had at the first step, a number.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.hyperball(funcopt.sgd(0.75)), {"kernel": 2 * jnp.eye(2)}
    >>> grads = {"kernel": jnp.array([[0.0, 5.0], [-5.0, 0.0]])}
    >>> params, state = funcopt.step(tx, grads, tx.init(params), params)
    >>> jnp.round(params["kernel"], 3)
    Array([[ 1.6, -1.2],
           [ 1.2,  1.6]], dtype=float32)

    Source: https://arxiv.org/abs/2606.16899.
    """
    rule_ = masked(mask, Hyperball(axis_name=axis_name))
    return after_steps("hyperball", inner, rule_, layer_axis)
