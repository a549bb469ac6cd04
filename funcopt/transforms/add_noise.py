"""Gradient noise, annealed.

    u = g + N(0, eta / tᵞ)      for every element

Neelakantan et al., 2015, eq. 1 (https://arxiv.org/abs/1511.06807), whose t begins at 0 as
(1 + t)ᵞ. The noise of a leaf comes from the seed, the leaf's path and the count: it is the same
whatever other leaves there are, and after a restart from a checkpoint.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, NonNegative, Seed
from ..core.paper import Paper
from ..core.paths import path_codes
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.safe import safe_sqrt
from ..math.varying import AxisNames, axes_of


class NoiseState(NamedTuple):
    """`noise_std` is the deviation of the noise that was last added."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    noise_std: Float[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"noise_std": self.noise_std}


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="axis_name")
def _noisy(
    grad: Array, std: Array, path: ArrayLike, count: Array, seed: Any, axis_name: AxisNames
) -> Array:
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), path), count)
    for axis in axes_of(grad, axis_name):
        key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    return grad + std.astype(grad.dtype) * jax.random.normal(key, grad.shape, grad.dtype)


@dataclass(frozen=True)
class _Noise:
    eta: Any
    gamma: Any
    key: Any
    axis_name: AxisNames

    static: ClassVar = ("key", "axis_name")

    def init(self, params: Params) -> NoiseState:
        _, start = Start.of(self, params)
        return NoiseState(start.count, jnp.zeros([], start.real), start.feedback)

    def update(
        self,
        updates: Updates,
        state: NoiseState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, NoiseState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=NoiseState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        if jnp.ndim(self.key):
            raise ValueError(
                f"add_noise: key has shape {jnp.shape(self.key)}, but one run takes one seed. To "
                "train with several, map over the transformation: "
                "`jax.vmap(train, in_axes=(tx.in_axes,))(tx)`."
            )
        seed = jnp.asarray(self.key).astype(jnp.int32)
        t = now.clock.t
        std = safe_sqrt(jnp.asarray(h.eta, now.real)) * t.astype(now.real) ** (-h.gamma / 2)
        paths = path_codes(updates)
        steps = [
            _noisy(g, std, path, t, seed, self.axis_name)
            for g, path in zip(now.grads, paths, strict=True)
        ]
        return now.leave(steps), now.renew(noise_std=std)


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
    return _Noise(eta, gamma, key, axis_name)
