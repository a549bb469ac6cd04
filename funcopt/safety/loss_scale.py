"""Loss scaling: lift float16 gradients out of the range in which they round to zero.

    gradients of (scale · loss), divided by scale in float32
    an overflow, of g or g²:         the step is skipped, scale ← backoff_factor · scale
    growth_interval good steps:      scale ← growth_factor · scale

Micikevicius et al., 2018, section 3.2 (https://arxiv.org/abs/1710.03740), with the constants of
PyTorch's GradScaler. `hysteresis` is how many overflows it takes to lower the scale.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Updates

from ..core.answers import Scales, answering
from ..core.arguments import AxisName, Base, Numeric, OptionalSteps, Positive, Steps
from ..core.leaves import gradients_beside
from ..core.paper import ICLR, Paper
from ..core.transformation import transformation
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.choice import where
from ..math.counts import counted
from ..math.dtypes import cast, common_dtype
from ..math.global_norm import square_sum
from ..math.varying import AxisNames
from .agreement import everywhere


class LossScaleState(NamedTuple):
    """`good_steps` since the scale changed; `tolerated` overflows until it is lowered."""

    inner: OptState
    scale: Float[Array, ""]
    good_steps: Int[Array, ""]
    tolerated: Int[Array, ""]
    overflows: Int[Array, ""]

    def current_scale(self) -> Float[Array, ""]:
        return self.scale

    def metrics(self) -> dict[str, Array]:
        return {"loss_scale": self.scale, "overflows": self.overflows}


@dataclass(frozen=True)
class LossScale(Wrapper[LossScaleState]):
    init_scale: Numeric
    growth_factor: Numeric
    backoff_factor: Numeric
    growth_interval: Numeric | None
    hysteresis: Numeric
    min_scale: Numeric
    max_scale: Numeric
    axis_name: AxisNames

    state = LossScaleState

    def first(self, start: Beginning) -> LossScaleState:
        counts = jnp.int32(0), jnp.int32(self.hysteresis), jnp.int32(0)
        return LossScaleState(start.inner, jnp.array(self.init_scale, start.real), *counts)

    def step(
        self, updates: Updates, state: LossScaleState, inside: Inside
    ) -> tuple[Updates, LossScaleState]:
        leaves, structure = gradients_beside(updates, None, ())
        grads = [_unscaled(leaf.grad, state.scale) for leaf in leaves]
        # Squares that overflow would overflow in every second moment too.
        squares = square_sum([x for x in grads if jnp.size(x)])
        finite = everywhere(jnp.isfinite(squares), self.axis_name)
        new_updates, inner = inside.run(structure.unflatten(grads), state.inner, gate=finite)
        if inside.params is None:
            new_updates = jax.tree.map(
                lambda u, leaf: u.astype(jnp.result_type(leaf)), new_updates, updates
            )
        scale, good, tolerated = self._adjusted(state, finite)
        overflows = counted(state.overflows, ~finite)
        return new_updates, LossScaleState(inner, scale, good, tolerated, overflows)

    def _adjusted(self, state: LossScaleState, finite: Array) -> tuple[Array, Array, Array]:
        if self.growth_interval is None:
            return state.scale, state.good_steps, state.tolerated
        good = where(finite, counted(state.good_steps, finite), 0)
        grow = finite & (good >= self.growth_interval)
        left = jnp.minimum(state.tolerated, self.hysteresis)
        tolerated = where(finite, left, jnp.maximum(left - 1, 0))
        lower = ~finite & (tolerated == 0)
        growth_factor, backoff_factor, max_scale, min_scale = (
            cast(x, state.scale.dtype)
            for x in (self.growth_factor, self.backoff_factor, self.max_scale, self.min_scale)
        )
        raised = jnp.minimum(state.scale * growth_factor, max_scale)
        lowered = jnp.maximum(state.scale * backoff_factor, min_scale)
        # A scale that was given outside of the limits stays there until it has to change.
        scale = where(grow, raised, where(lower, lowered, state.scale))
        return (
            scale.astype(state.scale.dtype),
            where(grow, 0, good),
            where(grow, self.hysteresis, tolerated),
        )


def _unscaled(grad: Array, scale: Float[Array, ""]) -> Array:
    wide = common_dtype(jnp.float32, grad)
    return jnp.asarray(grad).astype(wide) / scale.astype(jnp.finfo(wide).dtype)


def refuse_loss_scale(outer: str, inner: OptState) -> None:
    """Raise if a loss scale lies inside of `outer`, which would hide overflows from it."""
    if any(True for _ in answering(inner, Scales)):
        raise ValueError(
            f"{outer}: a loss_scale inside of it would never see an overflow, and never lower its "
            f"scale. Put loss_scale outside: loss_scale({outer}(...))."
        )


def current_loss_scale(state: object) -> Float[Array, ""]:
    """The loss scale in force, by which the next loss is to be multiplied.

    Raises:
        ValueError: the state holds no loss scale.

    >>> import funcopt
    >>> tx = funcopt.loss_scale(funcopt.adam(1e-3))
    >>> funcopt.current_loss_scale(tx.init({"w": 1.0}))
    Array(65536., dtype=float32)
    """
    found = [each.current_scale() for each in answering(state, Scales)]
    if len(found) != 1:
        raise ValueError(
            f"The state holds {len(found) or 'no'} loss scale{'s' * (len(found) != 1)}; "
            "`funcopt.loss_scale(tx)` makes a transformation whose state has one."
        )
    return found[0]


def scale_loss(loss: ArrayLike, state: object) -> Float[Array, ""]:
    """The loss to differentiate, in float32 or wider: `loss` times the current scale.

    >>> import funcopt
    >>> tx = funcopt.loss_scale(funcopt.adam(1e-3), init_scale=8.0)
    >>> funcopt.scale_loss(0.5, tx.init({"w": 1.0}))
    Array(4., dtype=float32)
    """
    wide = common_dtype(jnp.float32, jnp.result_type(loss))
    return jnp.asarray(loss).astype(wide) * current_loss_scale(state).astype(wide)


MIXED_PRECISION = Paper(
    "Micikevicius, Paulius and Narang, Sharan and Alben, Jonah and Diamos, Gregory and Elsen, "
    "Erich and Garcia, David and Ginsburg, Boris and Houston, Michael and Kuchaiev, Oleksii "
    "and Venkatesh, Ganesh and Wu, Hao",
    "Mixed Precision Training",
    2018,
    "https://arxiv.org/abs/1710.03740",
    booktitle=ICLR,
)


@transformation(paper=MIXED_PRECISION)
def loss_scale(
    inner: Base,
    init_scale: Positive = 2.0**16,
    growth_factor: Positive = 2.0,
    backoff_factor: Positive = 0.5,
    growth_interval: OptionalSteps = 2000,
    *,
    hysteresis: Steps = 1,
    min_scale: Positive = 2.0**-14,
    max_scale: Positive = 2.0**24,
    axis_name: AxisName = None,
):
    """Dynamic loss scaling for float16: divide gradients by the scale, skip steps that overflowed.

    Differentiate `funcopt.scale_loss(loss, state)` instead of the loss, and give the gradients as
    they come. `value=` is the unscaled loss. A skipped step changes nothing inside.

    Args:
        inner: the transformation that gets the unscaled gradients, in float32 or wider. Guards and
            accumulation belong inside, where they see what they are made for.
        init_scale: the first scale, above 0.
        growth_factor: at least 1, by which the scale rises.
        backoff_factor: below 1, by which it falls.
        growth_interval: good steps in a row until it rises; None keeps it for ever.
        hysteresis: overflows until it falls, at least 1; counted anew when it rises.
        min_scale, max_scale: where it ends. Below 1 when the loss itself overflows.
        axis_name: mapped axes over which an overflow of one is one of all.

    Reports `loss_scale` and the number of `overflows`, see `funcopt.metrics`.

    Raises:
        ValueError: an argument is out of its range.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.loss_scale(funcopt.sgd(0.5), init_scale=1024.0)
    >>> params = jnp.array([1.0], jnp.float16)
    >>> state = tx.init(params)
    >>> loss = lambda p: funcopt.scale_loss(jnp.sum(p * 1e-8), state)
    >>> grads = jax.grad(loss)(params)
    >>> tx.update(grads.at[0].set(jnp.inf), state, params)[1].scale
    Array(512., dtype=float32)

    Source: https://arxiv.org/abs/1710.03740, section 3.2.
    """
    for name, x, fine in (
        ("growth_factor", growth_factor, growth_factor >= 1),
        ("backoff_factor", backoff_factor, backoff_factor < 1),
    ):
        if isinstance(x, float | int) and not fine:
            raise ValueError(f"loss_scale: {name} must be on its side of 1, got {x!r}.")
    return LossScale(
        inner, init_scale, growth_factor, backoff_factor, growth_interval, hysteresis,
        min_scale, max_scale, axis_name,
    )  # fmt: skip
