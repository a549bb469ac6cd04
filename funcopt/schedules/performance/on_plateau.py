"""Reduce on plateau."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ...core.arguments import NonNegativeConstant, Numeric, Offset, Steps
from ...core.schedule import Listening, schedule
from .factors import Factor, Mode, lowered, none, number, one_more


class PlateauState(NamedTuple):
    scale: Float[Array, ""]
    best: Float[Array, ""]
    bad: Int[Array, ""]
    resting: Int[Array, ""]
    sum: Float[Array, ""]
    heard: Int[Array, ""]
    judged: Bool[Array, ""]


class RisingPlateauState(PlateauState):
    """In mode "max", where `best` and `sum` are of the negative metric: no state of mode "min"."""

    __slots__ = ()


@dataclass(frozen=True)
class Plateau(Listening):
    factor: Numeric
    patience: Numeric
    mode: str
    rtol: Numeric
    atol: Numeric
    cooldown: Numeric
    min_scale: Numeric
    window: Numeric

    def init(self) -> PlateauState:
        made = PlateauState if self.mode == "min" else RisingPlateauState
        return made(number(1), number(0), none(), none(), number(0), none(), number(False, bool))

    def observe(self, state: PlateauState, value: Float[Array, ""], step: Array) -> PlateauState:
        del step  # a plateau is flat whenever it comes
        total = state.sum + (value if self.mode == "min" else -value)
        heard = one_more(state.heard)
        full = heard >= self.window
        judged = self._judged(state, total / heard.astype(total.dtype))
        waiting = state._replace(sum=total, heard=heard)
        return jax.tree.map(lambda new, old: jnp.where(full, new, old), judged, waiting)

    def _judged(self, state: PlateauState, value: Float[Array, ""]) -> PlateauState:
        margin = self.rtol * jnp.abs(state.best) + self.atol
        # The sum of a window may have overflowed, which is no improvement.
        better = (~state.judged | (value < state.best - margin)) & jnp.isfinite(value)
        resting = jnp.maximum(state.resting - 1, 0)
        bad = jnp.where(better | (state.resting > 0), 0, one_more(state.bad))
        flat = bad > self.patience
        lower = lowered(state.scale, self.factor, self.min_scale)
        return state._replace(
            scale=jnp.where(flat, lower, state.scale),
            best=jnp.where(better, value, state.best),
            bad=jnp.where(flat, 0, bad),
            resting=jnp.where(flat, self.cooldown, resting),
            sum=number(0),
            heard=none(),
            judged=state.judged | better,
        )

    def at(self, step: Array, state: PlateauState) -> Array:
        del step
        return state.scale


@schedule
def on_plateau(
    factor: Factor = 0.1,
    patience: Offset = 10,
    *,
    mode: Mode = "min",
    rtol: NonNegativeConstant = 1e-4,
    atol: NonNegativeConstant = 0.0,
    cooldown: Offset = 0,
    min_scale: NonNegativeConstant = 0.0,
    window: Steps = 1,
):
    """Reduce on plateau: multiply by `factor` when a metric has stopped improving.

        better:  metric < best − (rtol |best| + atol)        (above, in mode "max")
        after more than `patience` that are not better: scale ← max(factor scale, min_scale)

    The metric is the `metric=` of `update`, by default its `value=`, the loss; NaN where there is
    nothing new. It is compared as wide as floats are: in float64 under x64.

    Args:
        factor: in (0, 1).
        patience: how many metrics in a row may fail to be better; the next one acts (as PyTorch
            counts; optax acts on the last of them).
        mode: "min" for a loss, "max" for an accuracy.
        rtol: the improvement that counts, relative to the magnitude of the best value; right for
            negative metrics too.
        atol: the improvement that counts, absolute.
        cooldown: how many metrics are not judged after a reduction.
        min_scale: where it stops.
        window: how many metrics are averaged before they are judged.

    Source: PyTorch's ReduceLROnPlateau.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.sgd(0.1 * funcopt.on_plateau(0.5, patience=1))
    >>> params = jnp.zeros(1)
    >>> state = tx.init(params)
    >>> for loss in (1.0, 1.0, 1.0, 1.0):
    ...     _, state = tx.update(params, state, params, value=loss)
    >>> funcopt.current_lr(state)
    Array(0.05, dtype=float32)
    """
    return Plateau(factor, patience, mode, rtol, atol, cooldown, min_scale, window)
