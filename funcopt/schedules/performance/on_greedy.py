"""GreedyLR."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import NonNegativeConstant, Numeric, Offset
from ...core.schedule import Listening, schedule
from .factors import Factor, none, number, one_more


class GreedyState(NamedTuple):
    scale: Float[Array, ""]
    best: Float[Array, ""]
    good: Int[Array, ""]
    bad: Int[Array, ""]
    heard: Bool[Array, ""]


@dataclass(frozen=True)
class _Greedy(Listening):
    factor: Numeric
    patience: Numeric
    rtol: Numeric
    min_scale: Numeric
    max_scale: Numeric

    def init(self) -> GreedyState:
        return GreedyState(number(1), number(0), none(), none(), number(False, bool))

    def observe(self, state: GreedyState, value: Float[Array, ""], step: Array) -> GreedyState:
        del step
        better = ~state.heard | (value < state.best - self.rtol * jnp.abs(state.best))
        good = jnp.where(better, one_more(state.good), 0)
        bad = jnp.where(better, 0, one_more(state.bad))
        raised, lowered = good > self.patience, bad > self.patience
        moved = jnp.where(raised, 1 / self.factor, jnp.where(lowered, self.factor, 1.0))
        return GreedyState(
            jnp.clip(state.scale * moved, self.min_scale, self.max_scale),
            jnp.where(better, value, state.best),
            jnp.where(raised, 0, good),
            jnp.where(lowered, 0, bad),
            jnp.bool_(True),
        )

    def at(self, step: Array, state: GreedyState) -> Array:
        del step
        return state.scale


@schedule
def on_greedy(
    factor: Factor = 0.9,
    patience: Offset = 10,
    *,
    rtol: NonNegativeConstant = 1e-4,
    min_scale: NonNegativeConstant = 0.01,
    max_scale: NonNegativeConstant = 10.0,
):
    """GreedyLR: divide by `factor` while a metric keeps improving, else multiply by it.

        after more than `patience` improvements in a row: scale ← min(scale / factor, max_scale)
        after more than `patience` failures in a row:     scale ← max(scale factor, min_scale)

    Args:
        factor: in (0, 1).
        patience: how many in a row do nothing yet.
        rtol: the improvement on the best value that counts, relative to its magnitude.
        min_scale, max_scale: the bounds of the scale.

    Source: GreedyLR, https://arxiv.org/abs/2512.14527.

    >>> import funcopt
    >>> funcopt.on_greedy(0.8, patience=5)
    on_greedy(factor=0.8, patience=5)
    """
    return _Greedy(factor, patience, rtol, min_scale, max_scale)
