"""Stable-SPAM: Adam behind a clip of spikes and a norm that follows its history.

For each leaf, with s = 1, or falling to eta_min along a cosine over `total_steps`:

    M ← γ3 M + (1 − γ3) max|g|          g_i ← g_i M̂ / max|g|  where |g_i| > M̂      (AdaClip)
    N ← γ1 s N + (1 − γ1 s) ‖g‖         g ← g / ‖g‖ · N̂ / (√R̂ + eps)                (AdaGN)
    R ← γ2 R + (1 − γ2) ‖g‖²
    μ ← b1 s μ + (1 − b1 s) g,  ν ← b2 ν + (1 − b2) |g|²
    x ← x − η (μ̂ / (√ν̂ + eps) + weight_decay x)

Hats correct the bias. Every `reset_interval` steps μ and ν begin anew.

Huang et al., 2025, Algorithm 1 (https://arxiv.org/abs/2502.17055). At a reset the authors'
program still uses the old moments, corrected as if they were new, and counts M, N and R anew
without resetting them, so that M̂ is hundreds of times too large from then on; here moments begin
at once and the counts of the others go on. √R is kept, whose square may be too large for a float,
and what is not finite enters none of the three.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates, safe_increment

from ..clips.clip_state import clip_metrics, nothing_clipped
from ..core.arguments import (
    AxisName,
    ClosedDecayRate,
    DecayRate,
    DType,
    NonNegative,
    OptionalSteps,
    Rate,
)
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.moments import bias_correction, divide_by_root, ema
from ..math.norm import norm, norm_below, rms_ema
from ..math.safe import safe_divide
from ..math.varying import AxisNames, max_across, norm_across, parts, sum_across
from ..storage import Storage, check_slots, with_slot
from .moment_slots import Moments, mean_square
from .stable_adamw import kept_moments, square

ADACLIP = ("max_mean", "norm_mean", "norm_rms")


class StableSpamState(NamedTuple):
    """The report of `ClipState` (of AdaClip), and M, N, √R and their count for every leaf."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    grad_norm: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    entered: Int[Array, " leaves"]
    max_mean: Float[Array, " leaves"]
    norm_mean: Float[Array, " leaves"]
    norm_rms: Float[Array, " leaves"]
    mu: Params
    nu: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr, **clip_metrics(self)}


class _Calmed(NamedTuple):
    """A gradient after AdaClip and AdaGN, the statistics of its leaf, and the report."""

    grad: Array
    entered: Array
    max_mean: Array
    norm_mean: Array
    norm_rms: Array
    norm: Array
    ratio: Array
    spikes: Array


@dataclass(frozen=True)
class _StableSpam:
    learning_rate: Any
    b1: Any
    b2: Any
    eps: Any
    gamma1: Any
    gamma2: Any
    gamma3: Any
    weight_decay: Any
    mask: Any
    reset_interval: Any
    total_steps: Any
    eta_min: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "reset_interval", "total_steps", "axis_name", "storage")
    state: ClassVar = StableSpamState

    def divides_by(self, state: StableSpamState) -> Divisor:
        del state  # it is all in the hyperparameters
        return Divisor(
            mean_square, self.b2, self.eps, corrected=True, restarts=self.reset_interval,
            updates=lambda t: self._since_reset(t)[1],
        )  # fmt: skip

    def init(self, params: Params) -> StableSpamState:
        h, start = Start.of(self, params)
        moments = kept_moments(start, self.storage)
        return StableSpamState(
            count=start.count,
            lr=jnp.array(h.learning_rate, start.real),
            **nothing_clipped(start),
            entered=start.line().astype(jnp.int32),
            max_mean=start.line(),
            norm_mean=start.line(),
            norm_rms=start.line(),
            mu=moments.mu,
            nu=moments.nu,
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: StableSpamState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, StableSpamState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=StableSpamState, slots=Moments, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        if not now.leaves:
            return updates, now.renew(lr=h.learning_rate)
        t, real = now.clock.t, now.real
        scale = self._scale(h, t, real)
        calm = [_calmed(h, g, scale, state, i, self.axis_name) for i, g in enumerate(now.grads)]
        fresh, steps = self._since_reset(t)
        b1 = h.b1 * scale
        mu, nu = now.column(state.mu), now.column(state.nu)
        elements = sum(g.size * parts(g, self.axis_name) for g in now.grads)
        state = now.renew(
            lr=h.learning_rate,
            grad_norm=norm(jnp.stack([leaf.norm for leaf in calm])),
            clip_ratio=jnp.min(jnp.stack([leaf.ratio for leaf in calm])),
            clipped=sum(leaf.spikes for leaf in calm) / max(elements, 1),
            entered=jnp.stack([leaf.entered for leaf in calm]),
            **{name: jnp.stack([getattr(leaf, name) for leaf in calm]) for name in ADACLIP},
            mu=[ema(fresh(m), leaf.grad, b1) for m, leaf in zip(mu, calm, strict=True)],
            nu=[ema(fresh(v), square(leaf.grad), h.b2) for v, leaf in zip(nu, calm, strict=True)],
        )
        first, second = bias_correction(b1, steps, real), bias_correction(h.b2, steps, real)
        moved = []
        for m, v, decay in zip(
            now.column(state.mu), now.column(state.nu), now.decay(h.weight_decay, self.mask),
            strict=True,
        ):  # fmt: skip
            direction = divide_by_root(m / first, v / second, h.eps)
            moved.append(-h.learning_rate * (direction + decay))
        return now.leave(moved), state

    def _scale(self, h: Any, t: Array, real: Any) -> Any:
        if self.total_steps is None:
            return 1.0
        length = jnp.asarray(self.total_steps, real) + 1
        part = jnp.minimum(t.astype(real) / length, 1)
        return h.eta_min + (1 - h.eta_min) * (1 + jnp.cos(math.pi * part)) / 2

    def _since_reset(self, t: Array) -> tuple[Any, Array]:
        """What clears a moment where it begins anew, and how many gradients it has seen."""
        if self.reset_interval is None:
            return (lambda x: x), t
        into = t % self.reset_interval
        steps = jnp.where(t < self.reset_interval, t, into + 1)
        return (lambda x: jnp.where(into == 0, 0, x)), steps


def _calmed(
    h: Any, g: Array, scale: Any, state: StableSpamState, i: int, axis: AxisNames
) -> _Calmed:
    real = jnp.finfo(g.dtype).dtype
    kept = [getattr(state, name)[i].astype(real) for name in ADACLIP]
    size = jnp.abs(g)
    largest = max_across(jnp.max(size, initial=0), axis)
    finite = jnp.isfinite(largest)
    entered = jnp.where(finite, safe_increment(state.entered[i]), state.entered[i])
    n = jnp.maximum(entered, 1)

    max_mean = jnp.where(finite, ema(kept[0], jnp.where(finite, largest, 0), h.gamma3), kept[0])
    bound = max_mean / bias_correction(h.gamma3, n, real)
    spike = (size > bound) & finite
    ratio = jnp.where(largest > bound, bound / jnp.where(largest > bound, largest, 1), 1)
    short = jnp.where(spike, g * ratio, g)

    length = norm_across(norm_below(short, jnp.minimum(largest, bound)), axis)
    known = jnp.where(finite, length, 0)
    gamma1 = h.gamma1 * scale
    norm_mean = jnp.where(finite, ema(kept[1], known, gamma1), kept[1])
    norm_rms = jnp.where(finite, rms_ema(kept[2], known, h.gamma2), kept[2])
    mean = norm_mean / bias_correction(gamma1, n, real)
    rms = norm_rms / jnp.sqrt(bias_correction(h.gamma2, n, real))
    grad = safe_divide(short, length) * safe_divide(mean, rms + h.eps)
    grad = jnp.where(finite, grad, g)  # what is not finite stays so, for all to see
    return _Calmed(
        grad, entered, max_mean, norm_mean, norm_rms, norm_across(norm_below(g, largest), axis),
        jnp.where(finite, ratio, 1), sum_across(jnp.sum(spike, dtype=real), axis),
    )  # fmt: skip


STABLE_SPAM = Paper(
    "Huang, Tianjin and Hu, Haotian and Zhang, Zhenyu and Jin, Gaojie and Li, Xiang and Shen, "
    "Li and Chen, Tianlong and Liu, Lu and Wen, Qingsong and Wang, Zhangyang and Liu, Shiwei",
    "Stable-SPAM: How to Train in 4-Bit More Stably than 16-Bit Adam",
    2025,
    "https://arxiv.org/abs/2502.17055",
)


@transformation(paper=STABLE_SPAM)
def stable_spam(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.999,
    eps: NonNegative = 1e-8,
    gamma1: DecayRate = 0.7,
    gamma2: DecayRate = 0.9,
    gamma3: DecayRate = 0.999,
    weight_decay: NonNegative = 0.0,
    mask: Mask = None,
    *,
    mu_dtype: DType = None,
    reset_interval: OptionalSteps = 1000,
    total_steps: OptionalSteps = None,
    eta_min: ClosedDecayRate = 0.5,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Stable-SPAM: Adam for gradients with spikes, made for training in four bits.

    Entries that stand out of their leaf's history are cut, the norm of each leaf is replaced by
    the ratio of its mean to its root mean square, and the moments begin anew now and then.

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1, b2, eps: as in `adam`.
        gamma1: decay of the mean norm, in [0, 1); the paper has 0.85 for bfloat16.
        gamma2: decay of the mean squared norm, in [0, 1); the paper has 0.99999 for bfloat16.
        gamma3: decay of the mean largest entry, in [0, 1).
        weight_decay: at least 0, decoupled.
        mask: which parameters decay, see `add_decayed_weights`.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        reset_interval: after how many updates moments begin anew, at least 1; None for never.
        total_steps: over how many updates `b1` and `gamma1` fall to `eta_min` times themselves;
            None: they stay.
        eta_min: in [0, 1].
        axis_name: the axes of `jax.shard_map` over which leaves are sharded by hand, as in
            `global_norm`. None: each device takes what it holds of a leaf for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `grad_norm` (of all leaves, before), and of the entries that were cut
    `clip_ratio` (the smallest) and `clipped` (their fraction), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stable_spam(0.1), jnp.array([1.0, -2.0])
    >>> params, state = funcopt.step(tx, 1e6 * params, tx.init(params), params)
    >>> params
    Array([ 0.9, -1.9], dtype=float32)

    Source: https://arxiv.org/abs/2502.17055, Algorithm 1.
    """
    storage = with_slot(storage, "mu", mu_dtype)
    check_slots(storage, [Moments])
    return _StableSpam(
        learning_rate, b1, b2, eps, gamma1, gamma2, gamma3, weight_decay, mask, reset_interval,
        total_steps, eta_min, axis_name, storage,
    )  # fmt: skip
