"""Gradient noise, annealed.

    u = g + N(0, eta / tᵞ)      for every element

Neelakantan et al., 2015, eq. 1 (https://arxiv.org/abs/1511.06807), whose t begins at 0 as
(1 + t)ᵞ. The noise of a leaf comes from the seed, the leaf's path and the count: it is the same
whatever other leaves there are, and after a restart from a checkpoint.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..core.arguments import AxisName, NonNegative, Seed
from ..core.optimizer import lift
from ..core.paper import Paper
from ..core.report import Largest
from ..core.rule import Clock, Rule, rule
from ..core.transformation import transformation
from ..math.safe import safe_sqrt
from ..math.varying import axes_of


class NoiseReport(NamedTuple):
    """`noise_std` is the deviation of the noise that was last added."""

    noise_std: Largest = 0.0


@rule(acts_on="array", report=NoiseReport, needs_path=True)
class AddNoise(Rule):
    eta: NonNegative
    gamma: NonNegative
    key: Seed = 0
    axis_name: AxisName = None

    def update(self, grad: Inexact[Array, "*p"], slots, param, clock: Clock):
        del param  # noise needs only the shape of the update
        assert clock.path is not None
        real = jnp.finfo(grad.dtype).dtype
        std = safe_sqrt(jnp.asarray(self.eta, real)) * clock.t.astype(real) ** (-self.gamma / 2)
        key = jax.random.key(jnp.asarray(self.key).astype(jnp.int32))
        key = jax.random.fold_in(jax.random.fold_in(key, clock.path), clock.t)
        for axis in axes_of(grad, self.axis_name):
            key = jax.random.fold_in(key, jax.lax.axis_index(axis))
        noise = jax.random.normal(key, grad.shape, grad.dtype)
        return grad + std.astype(grad.dtype) * noise, slots, NoiseReport(std)


GRADIENT_NOISE = Paper(
    "Neelakantan, Arvind and Vilnis, Luke and Le, Quoc V. and Sutskever, Ilya and Kaiser, "
    "Lukasz and Kurach, Karol and Martens, James",
    "Adding Gradient Noise Improves Learning for Very Deep Networks",
    2015,
    "https://arxiv.org/abs/1511.06807",
)


@transformation(paper=GRADIENT_NOISE)
def add_noise(eta: NonNegative, gamma: NonNegative, key: Seed = 0, *, axis_name: AxisName = None):
    """Add Gaussian noise whose variance decays: `eta` / tᵞ at the t-th update.

    Args:
        eta: the variance at the first update, at least 0, or a schedule. The paper tries 0.01, 0.3
            and 1.
        gamma: how fast it decays, at least 0, or a schedule; the paper's is 0.55.
        key: the seed, an integer from 0 to 2³¹ − 1, or an array of them to map over. Where the
            steps differ between machines, give the same one to all.
        axis_name: the axes of `jax.shard_map` over which gradients are sharded by hand, as in
            `global_norm`: every shard has noise of its own, and a copy the same on all devices.
            None: each device adds the same, so that shards of one shape get the same noise.

    Its state reports `noise_std`, see `funcopt.metrics`, and holds no random key: noise is drawn
    from the seed, the path of the leaf and the count, so a leaf's noise does not change when other
    leaves come or go. optax splits a key in the state by the leaves' order.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.add_noise(0.01, 0.55, key=1)
    >>> updates, state = tx.update(jnp.zeros(1000), tx.init(jnp.zeros(1000)))
    >>> float(jnp.std(updates)), float(state.noise_std)
    (0.10..., 0.1...)

    Source: https://arxiv.org/abs/1511.06807, eq. 1.
    """
    return lift(AddNoise(eta, gamma, key, axis_name))
