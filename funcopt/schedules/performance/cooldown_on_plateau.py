"""A cooldown that a plateau triggers."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ...core.arguments import Choice, NonNegativeConstant, Numeric, Offset, Span, Steps
from ...core.schedule import Listening, schedule
from ...core.steps import elapsed, share
from .factors import Mode, number
from .on_plateau import Plateau, PlateauState

ShapeName = Literal["1-sqrt", "linear"]
Shape = Annotated[ShapeName, Choice(get_args(ShapeName))]


class CooldownState(NamedTuple):
    plateau: PlateauState
    begun: Int[Array, ""]


@dataclass(frozen=True)
class _Cooldown(Listening):
    plateau: Plateau
    steps: Numeric
    end_scale: Numeric
    shape: str

    def init(self) -> CooldownState:
        return CooldownState(self.plateau.init(), number(-1, jnp.int32))

    def observe(self, state: CooldownState, value: Float[Array, ""], step: Array) -> CooldownState:
        plateau = self.plateau.observe(state.plateau, value, step)
        now = (state.begun < 0) & (plateau.scale < 1)
        return CooldownState(plateau, jnp.where(now, step.astype(jnp.int32), state.begun))

    def at(self, step: Array, state: CooldownState) -> Array:
        x = share(elapsed(step, state.begun, self.steps), self.steps)
        w = 1 - (jnp.sqrt(x) if self.shape == "1-sqrt" else x)
        return jnp.where(state.begun < 0, 1.0, w + (1 - w) * self.end_scale)


@schedule
def cooldown_on_plateau(
    cooldown_steps: Span,
    patience: Offset = 10,
    *,
    shape: Shape = "1-sqrt",
    end_scale: NonNegativeConstant = 0.0,
    mode: Mode = "min",
    rtol: NonNegativeConstant = 1e-4,
    atol: NonNegativeConstant = 0.0,
    window: Steps = 1,
):
    """Constant until a metric stops improving, then one cooldown: WSD whose end the metric decides.

        1 until the plateau is found, then 1 − √x (or 1 − x) down to `end_scale`
        x = progress through the cooldown, in [0, 1]

    Args:
        cooldown_steps: the length of the cooldown, at least 1.
        patience, mode, rtol, atol, window: when the plateau is found, as in `on_plateau`.
        shape: "1-sqrt" (the best in https://arxiv.org/abs/2405.18392) or "linear".
        end_scale: where it ends.

    >>> import funcopt
    >>> rate = funcopt.linear_warmup(1e-3, 100) * funcopt.cooldown_on_plateau(1_000, patience=20)
    >>> rate.listens
    True
    """
    plateau = Plateau(0.5, patience, mode, rtol, atol, 0, 0.0, window)
    return _Cooldown(plateau, cooldown_steps, end_scale, shape)
