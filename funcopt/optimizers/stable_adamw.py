"""StableAdamW: AdamW whose step is shorter in a leaf that its second moment has lost track of.

    μ ← b1 μ + (1 − b1) g,  ν ← b2 ν + (1 − b2) |g|²,  corrected as in Adam
    r = √mean(|g|² / max(ν̂, eps²))      about 1 while ν keeps up with the gradients
    η = learning_rate / max(1, r)
    x ← x − η (μ̂ / (√ν̂ + eps) + weight_decay x)

Wortsman et al., 2023, Algorithm 2 (https://arxiv.org/abs/2304.13013), who correct the bias in the
decay rates; that is the same. r grows one to eight steps before a loss spike.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..clips.clip_state import nothing_clipped, reported
from ..clips.unit_clip import LayerAxis, all_but, layer_axes
from ..core.arguments import AxisName, DecayRate, DType, NonNegative, Rate
from ..core.paper import Paper
from ..core.paths import Mask
from ..core.rule import Divisor
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.moments import abs_sq, divide_or_keep, ema, unbiased
from ..math.norm import norm, squarable
from ..math.varying import AxisNames, norm_across, parts
from ..storage import Storage, check_slots, with_slot
from .moment_slots import Moments, mean_square


class StableAdamWState(NamedTuple):
    """`update_rms` is the largest r of all leaves, `clip_ratio` the smallest 1 / max(1, r)."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    update_rms: Float[Array, ""]
    clip_ratio: Float[Array, ""]
    clipped: Float[Array, ""]
    mu: Params
    nu: Params
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        names = ("lr", "update_rms", "clip_ratio", "clipped")
        return {name: getattr(self, name) for name in names}


def kept_moments(start: Start, storage: Storage) -> Moments:
    """Zeros for both moments, in the dtypes in which they are kept."""
    zeros = {"mu": start.zeros(), "nu": start.zeros(real=True)}
    return Moments(**start.slots(Moments, storage, **zeros))


def square(g: Array) -> Array:
    """|g|², at most what its type holds: an infinity would stay in a moving average for ever."""
    return jnp.minimum(abs_sq(g), float(jnp.finfo(g.dtype).max))


@dataclass(frozen=True)
class _StableAdamW:
    learning_rate: Any
    b1: Any
    b2: Any
    eps: Any
    weight_decay: Any
    mask: Any
    layer_axis: Any
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("mask", "layer_axis", "axis_name", "storage")
    state: ClassVar = StableAdamWState

    def divides_by(self, state: StableAdamWState) -> Divisor:
        del state  # it is all in the hyperparameters
        return Divisor(mean_square, self.b2, self.eps, corrected=True)

    def init(self, params: Params) -> StableAdamWState:
        h, start = Start.of(self, params)
        report, moments = nothing_clipped(start), kept_moments(start, self.storage)
        return StableAdamWState(
            count=start.count,
            lr=jnp.array(h.learning_rate, start.real),
            update_rms=report["grad_norm"],
            clip_ratio=report["clip_ratio"],
            clipped=report["clipped"],
            mu=moments.mu,
            nu=moments.nu,
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: StableAdamWState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, StableAdamWState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=StableAdamWState, slots=Moments, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        g, t, real = now.grads, now.clock.t, now.real
        mu, nu = now.column(state.mu), now.column(state.nu)
        kept = [squarable(x) for x in g]
        state = now.renew(
            lr=h.learning_rate,
            mu=[ema(m, x, h.b1) for m, x in zip(mu, kept, strict=True)],
            nu=[ema(v, abs_sq(x), h.b2) for v, x in zip(nu, kept, strict=True)],
        )
        if not g:
            return updates, state
        mu, nu = now.column(state.mu), now.column(state.nu)
        decay = now.decay(h.weight_decay, self.mask)
        layers = layer_axes(self.layer_axis, now.leaves, now.structure)
        steps, rms = [], []
        for x, m, v, d, layer in zip(g, mu, nu, decay, layers, strict=True):
            spread = jnp.sqrt(unbiased(v, h.b2, t))
            direction = divide_or_keep(unbiased(m, h.b1, t), spread, h.eps)
            length = norm(divide_or_keep(x, jnp.maximum(spread, h.eps)), all_but(x.ndim, layer))
            length = norm_across(length, self.axis_name)
            numbers = max(x.size // max(length.size, 1), 1) * parts(x, self.axis_name)
            r = length / numbers**0.5
            steps.append(-h.learning_rate / jnp.maximum(r, 1) * (direction + d))
            rms.append(r.reshape(-1).astype(real))
        every = jnp.concatenate(rms)
        largest = jnp.max(every, initial=0)
        return now.leave(steps), reported(
            state,
            now,
            update_rms=largest,
            clip_ratio=1 / jnp.maximum(largest, 1),
            clipped=jnp.mean((every > 1).astype(real)),
        )


STABLE_ADAMW = Paper(
    "Wortsman, Mitchell and Dettmers, Tim and Zettlemoyer, Luke and Morcos, Ari and Farhadi, "
    "Ali and Schmidt, Ludwig",
    "Stable and low-precision training for large-scale vision-language models",
    2023,
    "https://arxiv.org/abs/2304.13013",
)


@transformation(paper=STABLE_ADAMW)
def stable_adamw(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: DecayRate = 0.99,
    eps: NonNegative = 1e-6,
    mu_dtype: DType = None,
    weight_decay: NonNegative = 1e-2,
    mask: Mask = None,
    *,
    layer_axis: LayerAxis = None,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """StableAdamW: AdamW that needs no clipping of gradients.

    η = learning_rate / max(1, r) in each leaf, where r = √mean(|g|² / max(ν̂, eps²))

    Args:
        learning_rate: about the length of a step in each element, at least 0; or a schedule.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squared gradient, in [0, 1).
        eps: added to the root, at least 0.
        mu_dtype: the dtype in which `mu` is kept, None for the dtype of the arithmetic.
        weight_decay: at least 0; it goes through η, so that it is shorter too where r is above 1.
        mask: which parameters decay, see `add_decayed_weights`.
        layer_axis: where layers are stacked in one leaf, each of which has an r of its own, as in
            `clip_by_block_rms`.
        axis_name: the axes of `jax.shard_map` over which every leaf, or layer, is sharded by hand,
            as in `global_norm`. None: each device takes what it holds for the whole.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; `update` was
            called without parameters.

    Its state reports `lr`, `update_rms` (the largest r), `clip_ratio` (the smallest 1 / max(1, r))
    and `clipped` (the fraction of leaves where r is above 1), see `funcopt.metrics`.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.stable_adamw(0.1, weight_decay=0.0), jnp.array([1.0, -2.0])
    >>> state = tx.init(params)
    >>> for size in (1.0, 1.0, 100.0):
    ...     params, state = funcopt.step(tx, size * params, state, params)
    >>> float(state.update_rms)
    1.7...

    Source: https://arxiv.org/abs/2304.13013, Algorithm 2.
    """
    storage = with_slot(storage, "mu", mu_dtype)
    check_slots(storage, [Moments])
    return _StableAdamW(
        learning_rate, b1, b2, eps, weight_decay, mask, layer_axis, axis_name, storage
    )
