"""Clipping by the global norm.

    norm = √Σ |g|²  over all elements of all leaves
    u = min(1, max_norm / norm) g

Pascanu, Mikolov & Bengio, 2013, Algorithm 1 (https://arxiv.org/abs/1211.5063).

The norm is taken in float32 or wider: in float16 four gradients of 300 already overflow. Clipping
is one multiplication by one number, which fuses into whatever follows.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from optax import Params, ScalarOrSchedule, Updates, safe_increment

from ..core.arguments import AxisName, Threshold, number_at
from ..core.leaves import gradients_beside
from ..core.listening import begin, hear, spoken
from ..core.rule import Clock
from ..core.transformation import transformation
from ..math.dtypes import common_dtype
from ..math.global_norm import global_norm
from ..math.varying import AxisNames, named, varying_along, varying_axes
from .clip_state import clip_metrics


class ClipByGlobalNormState(NamedTuple):
    """`grad_norm` is the norm before the clip, `clip_ratio` what updates were multiplied by."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return clip_metrics(self)

    @property
    def clipped(self) -> Bool[Array, ""]:
        return jnp.asarray(self.clip_ratio) < 1


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _shorten(x: Array, ratio: Float[Array, ""], clock: Clock) -> Array:
    wide = common_dtype(jnp.float32, x)
    short = (x.astype(wide) * ratio.astype(jnp.finfo(wide).dtype)).astype(x.dtype)
    return clock.choose_step(short)


@dataclass(frozen=True)
class _ClipByGlobalNorm:
    max_norm: ScalarOrSchedule
    axis_name: AxisNames

    def init(self, params: Params) -> ClipByGlobalNormState:
        leaves = jax.tree.leaves(params)
        wide = any(getattr(x, "dtype", None) in (jnp.float64, jnp.complex128) for x in leaves)
        real = jnp.float64 if wide else jnp.float32
        varies = varying_axes(*leaves) - set(named(self.axis_name))
        zero, one = (varying_along(jnp.array(x, real), varies) for x in (0.0, 1.0))
        return ClipByGlobalNormState(jnp.zeros([], jnp.int32), zero, one, begin(self.max_norm))

    def update(
        self,
        updates: Updates,
        state: ClipByGlobalNormState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ClipByGlobalNormState]:
        del params, extra_args
        if not isinstance(state, ClipByGlobalNormState) and not callable(self.max_norm):
            state = self.init(())  # without a schedule nothing is kept that counts
        if not isinstance(state, ClipByGlobalNormState):
            raise ValueError(
                f"clip_by_global_norm got a {type(state).__name__} as its state, expected a "
                "ClipByGlobalNormState: `tx.init(params)` makes one, and the order of arguments is "
                "`tx.update(grads, state, params)`."
            )
        leaves, structure = gradients_beside(updates, None, ())
        norm = global_norm([leaf.grad for leaf in leaves], self.axis_name)
        feedback = hear(self.max_norm, state.feedback, value, metric, state.count)
        max_norm = spoken(self.max_norm, feedback)
        bound = number_at("max_norm", max_norm, state.count).astype(norm.dtype)
        # An infinite norm is below an infinite bound: then nothing is multiplied by inf / inf.
        over = bound / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny)
        ratio = jnp.where(norm <= bound, jnp.ones_like(over), over)

        clock = Clock(jnp.asarray(safe_increment(state.count)), gate=gate)
        new = ClipByGlobalNormState(
            clock.t,
            norm.astype(state.grad_norm.dtype),
            ratio.astype(state.clip_ratio.dtype),
            feedback,
        )
        state = jax.tree.map(clock.choose, new, state)
        shortened = [_shorten(leaf.grad, ratio, clock) for leaf in leaves]
        return jax.tree.unflatten(structure, shortened), state


@transformation
def clip_by_global_norm(max_norm: Threshold, *, axis_name: AxisName = None):
    """Shorten updates whose global norm is above `max_norm`; their direction stays.

    Args:
        max_norm: at least 0, or a schedule; infinity only measures. 1.0 is usual for transformers,
            1 to 5 for recurrent networks.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device clips by the norm of what it holds.

    Its state reports `grad_norm` (before the clip), `clip_ratio` and `clipped` (0 or 1), see
    `funcopt.metrics`. A NaN or an infinity among the updates makes them all NaN or zero, and
    `grad_norm` says so.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_global_norm(1.0)
    >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> updates
    Array([0.6, 0.8], dtype=float32)
    >>> state.grad_norm
    Array(5., dtype=float32)

    Source: https://arxiv.org/abs/1211.5063, Algorithm 1.
    """
    return _ClipByGlobalNorm(max_norm, axis_name)
