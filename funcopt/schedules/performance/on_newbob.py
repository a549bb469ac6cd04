"""NewBob, the rule of the speech toolkits."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import NonNegativeConstant, Numeric, Offset
from ...core.schedule import Listening, schedule
from .factors import Factor, lowered, none, number, one_more


class NewBobState(NamedTuple):
    scale: Float[Array, ""]
    last: Float[Array, ""]
    bad: Int[Array, ""]
    heard: Bool[Array, ""]


@dataclass(frozen=True)
class _NewBob(Listening):
    factor: Numeric
    threshold: Numeric
    patience: Numeric
    min_scale: Numeric

    def init(self) -> NewBobState:
        return NewBobState(number(1), number(0), none(), number(False, bool))

    def observe(self, state: NewBobState, value: Float[Array, ""], step: Array) -> NewBobState:
        del step
        gain = state.last - value
        small = state.heard & (gain < self.threshold * jnp.abs(state.last))
        bad = jnp.where(small, one_more(state.bad), state.bad)
        act = bad > self.patience
        lower = lowered(state.scale, self.factor, self.min_scale)
        return NewBobState(
            jnp.where(act, lower, state.scale), value, jnp.where(act, 0, bad), jnp.bool_(True)
        )

    def at(self, step: Array, state: NewBobState) -> Array:
        del step
        return state.scale


@schedule
def on_newbob(
    factor: Factor = 0.5,
    threshold: NonNegativeConstant = 0.0025,
    patience: Offset = 0,
    *,
    min_scale: NonNegativeConstant = 0.0,
):
    """NewBob: multiply by `factor` when a metric improves on its last by less than `threshold`.

        small:  (last − metric) < threshold |last|

    The rule of the speech toolkits since QuickNet: it compares neighbours, where `on_plateau`
    compares with the best. Give it one metric an epoch and NaN in between.

    Args:
        factor: in (0, 1).
        threshold: the relative improvement that counts, at least 0.
        patience: how many small improvements are forgiven (in all since the last reduction).
        min_scale: where it stops.

    Source: SpeechBrain's NewBobScheduler.

    >>> import funcopt
    >>> funcopt.on_newbob(0.5)
    on_newbob()
    """
    return _NewBob(factor, threshold, patience, min_scale)
