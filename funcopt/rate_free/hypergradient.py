"""Hypergradient descent: the rate goes along the gradient of the loss with respect to it.

    h = ⟨ g_t, u_{t-1} ⟩                        how much more the last step would still have won
    α ← α (1 + κ h / (‖g_t‖ ‖u_{t-1}‖))         multiplicative
    α ← max(α + κ h, 0)                         additive
    u_t = direction(g_t)
    x ← x − α u_t

Baydin, Cornish, Martínez Rubio, Schmidt & Wood, 2018 (https://arxiv.org/abs/1703.04782), eqs. 5
and 8; u is the gradient for SGD, Adam's direction for Adam.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Params, Updates

from ..core.arguments import AxisName, Base, Choice, NonNegativeConstant
from ..core.paper import ICLR, Paper
from ..core.rule import Signed
from ..core.transformation import chain, transformation
from ..core.turn import Start, Turn
from ..math.columns import norm, vdot
from ..math.safe import safe_divide
from ..math.varying import AxisNames
from ..storage import Storage, check_slots

VariantName = Literal["multiplicative", "additive"]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


class HypergradientSlots(NamedTuple):
    last_direction: Signed


class HypergradientState(NamedTuple):
    """`lr` is the rate in force, kept as `alpha` in the precision of the arithmetic."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""]
    alpha: Float[Array, ""]
    last_direction: Params
    direction_state: OptState
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"lr": self.lr}


@dataclass(frozen=True)
class _Hypergradient:
    direction: optax.GradientTransformationExtraArgs
    learning_rate: Any
    hyper_rate: Any
    variant: str
    axis_name: AxisNames
    storage: Any

    static: ClassVar = ("direction", "variant", "axis_name", "storage")

    def init(self, params: Params) -> HypergradientState:
        h, start = Start.of(self, params)
        return HypergradientState(
            count=start.count,
            lr=start.learnt(h.learning_rate),
            alpha=start.learnt(h.learning_rate),
            **start.slots(HypergradientSlots, self.storage, last_direction=start.zeros()),
            direction_state=self.direction.init(start.tree(start.wide)),
            feedback=start.feedback,
        )

    def update(
        self,
        updates: Updates,
        state: HypergradientState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, HypergradientState]:
        h, now = Turn.of(
            self, updates, state, params, kind=HypergradientState,
            slots=HypergradientSlots, value=value, metric=metric, gate=gate,
        )  # fmt: skip
        state = now.state
        g, last = now.grads, now.column(state.last_direction)
        real, axis = now.real, self.axis_name

        slope = vdot(g, last, real, axis)
        if self.variant == "multiplicative":
            cosine = safe_divide(slope, norm(g, real, axis) * norm(last, real, axis))
            alpha = state.alpha * (1 + h.hyper_rate * cosine)
        else:
            alpha = jnp.maximum(state.alpha + h.hyper_rate * slope, 0)

        given = {"value": value, "metric": metric, "gate": gate}
        extra_args |= {name: each for name, each in given.items() if each is not None}
        at_x = jax.tree.unflatten(now.structure, now.params)
        directions, direction_state = self.direction.update(
            jax.tree.unflatten(now.structure, g), state.direction_state, at_x, **extra_args
        )
        u = now.column(directions)
        steps = [-alpha * each for each in u]

        state = now.renew(lr=alpha, alpha=alpha, last_direction=u)
        state = HypergradientState(**{**state._asdict(), "direction_state": direction_state})
        return now.leave(steps), state


HYPERGRADIENT = Paper(
    "Baydin, Atilim Gunes and Cornish, Robert and Martinez Rubio, David and Schmidt, Mark and "
    "Wood, Frank",
    "Online Learning Rate Adaptation with Hypergradient Descent",
    2018,
    "https://arxiv.org/abs/1703.04782",
    booktitle=ICLR,
)


@transformation(paper=HYPERGRADIENT)
def hypergradient(
    direction: Base,
    learning_rate: NonNegativeConstant = 1e-3,
    hyper_rate: NonNegativeConstant = 0.02,
    variant: Variant = "multiplicative",
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Let the rate of any direction follow its own gradient.

    Args:
        direction: a building block that says where to go but not how far, such as `identity()`
            (SGD), `trace(0.9)` or `scale_by_adam()`; funcopt's or optax's.
        learning_rate: the first rate, at least 0. A multiplicative one that begins at 0 stays.
        hyper_rate: κ, at least 0. Multiplicative: the largest relative change of the rate in a
            step, below 1. Additive: of the size of the rate over the squared norm of the gradient;
            the authors use 1e-4 to 1e-3 for SGD, 1e-7 for Adam.
        variant: `"multiplicative"`, which does not depend on the scale of the loss, or
            `"additive"`, where the rate is kept from going below 0, which the authors do not.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how the last direction is kept, see `funcopt.storage`.

    Slot: the last direction. `funcopt.current_lr` reads the rate.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.hypergradient(funcopt.identity()), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(300):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> float(funcopt.current_lr(state)) > 0.01
    True

    Source: https://arxiv.org/abs/1703.04782, eqs. 5 and 8.
    """
    check_slots(storage, [HypergradientSlots])
    return _Hypergradient(chain(direction), learning_rate, hyper_rate, variant, axis_name, storage)
