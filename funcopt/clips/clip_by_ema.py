"""AdaGC: clip each leaf by the norms that it has had itself.

    h_i = min(1, factor γ_i / ‖g_i‖)           for each leaf i
    u_i = h_i g_i
    γ_i ← decay γ_i + (1 − decay) ‖u_i‖

During the warm-up all leaves are clipped by their global norm, h = min(1, max_norm / ‖g‖), and
γ_i ← min(γ_i, ‖u_i‖).

Wang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.11034). There a leaf whose gradient is
zero once in the warm-up has γ_i = 0, and never moves again. Here a zero tells nothing about the
size of gradients and does not enter γ_i, nor does what is not finite; a leaf that begins after the
warm-up begins with the global clip.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, UInt32
from optax import Params, Updates

from ..core.arguments import AxisName, DecayRate, NonNegative, Offset, Threshold
from ..core.paths import path_codes
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.moments import ema
from ..math.norm import clip_ratio, norm
from ..math.varying import AxisNames, norm_across
from .clip_state import clip_metrics, nothing_clipped


class AdaGCState(NamedTuple):
    """The report of `ClipState`, and for every leaf, in their order, γ (0 if not begun) and a
    number for its path.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    gamma: Float[Array, " leaves"]
    paths: UInt32[Array, " leaves"]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return clip_metrics(self)


@dataclass(frozen=True)
class _AdaGC:
    factor: Any
    decay: Any
    warmup: int
    max_norm: Any
    axis_name: AxisNames

    static: ClassVar = ("warmup", "axis_name")

    def init(self, params: Params) -> AdaGCState:
        _, start = Start.of(self, params)
        return AdaGCState(
            start.count,
            **nothing_clipped(start),
            gamma=start.line(),
            paths=jnp.array(path_codes(params), jnp.uint32),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: AdaGCState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, AdaGCState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=AdaGCState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        if len(now.leaves) != len(state.gamma):
            raise ValueError(
                f"clip_by_ema: the state was made for {len(state.gamma)} leaves, got gradients of "
                f"{len(now.leaves)}. `tx.init(params)` makes a state."
            )
        if not now.leaves:
            return updates, now.renew()
        paths = jnp.array(path_codes(updates), jnp.uint32)
        # A leaf that goes by another name begins anew.
        gamma = jnp.where(state.paths == paths, state.gamma, 0).astype(now.real)
        norms = [norm_across(norm(g).astype(now.real), self.axis_name) for g in now.grads]
        norms = jnp.stack(norms)
        total = norm(norms)
        begun, warm = gamma > 0, now.clock.t <= self.warmup

        together = jnp.broadcast_to(clip_ratio(total, h.max_norm), norms.shape)
        alone = clip_ratio(norms, h.factor * gamma)
        ratio = jnp.where(begun & ~warm, alone, together)
        short = ratio * norms
        known = jnp.isfinite(short) & (short > 0)
        short = jnp.where(known, short, 0)
        moved = jnp.where(warm, jnp.minimum(gamma, short), ema(gamma, short, h.decay))
        moved = jnp.where(begun, moved, short)
        return now.leave([ratio[i] * g for i, g in enumerate(now.grads)]), now.renew(
            grad_norm=total,
            clip_ratio=jnp.min(ratio),
            clipped=jnp.mean((ratio < 1).astype(now.real)),
            gamma=jnp.where(known, moved, gamma),
            paths=paths,
        )


@transformation
def clip_by_ema(
    factor: NonNegative = 1.05,
    decay: DecayRate = 0.98,
    warmup: Offset = 100,
    max_norm: Threshold = 1.0,
    *,
    axis_name: AxisName = None,
):
    """AdaGC: shorten each leaf that is longer than it has been on average.

    u_i = min(1, factor γ_i / ‖g_i‖) g_i, where γ_i is the moving average of ‖u_i‖

    Args:
        factor: how far above the average a norm may be, at least 0, or a schedule. γ_i grows by
            at most (1 − decay)(factor − 1) of itself in a step: 0.1 % with the defaults.
        decay: of the averages, in [0, 1), or a schedule.
        warmup: for how many steps all leaves are clipped together, at least 0.
        max_norm: the bound of the global norm until then, at least 0, or a schedule.
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device goes by the norms of what it holds.

    Its state reports `grad_norm` (of all leaves, before the clip), `clip_ratio` (the smallest) and
    `clipped` (the fraction of leaves), see `funcopt.metrics`. Norms that are zero or not finite
    enter no average.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.clip_by_ema(warmup=2)
    >>> state = tx.init(jnp.zeros(1))
    >>> for norm in (0.5, 0.6, 10.0):
    ...     update, state = tx.update(jnp.array([norm]), state)
    >>> float(update[0]), float(state.clipped)
    (0.525..., 1.0)

    Source: https://arxiv.org/abs/2502.11034, Algorithm 1.
    """
    return _AdaGC(factor, decay, warmup, max_norm, axis_name)
