"""Normalised gradients: every step of the same length.

u = scale_factor g / (‖g‖ + eps)      over all elements of all leaves
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..core.arguments import AxisName, NonNegative, Real
from ..core.transformation import transformation
from ..core.turn import Start, Turn
from ..math.global_norm import global_norm
from ..math.safe import safe_divide
from ..math.varying import AxisNames


class NormalizeState(NamedTuple):
    """`grad_norm` is the norm before."""

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    grad_norm: Float[Array, ""]
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {"grad_norm": self.grad_norm}


@dataclass(frozen=True)
class _Normalize:
    scale_factor: Any
    eps: Any
    axis_name: AxisNames

    static: ClassVar = ("axis_name",)

    def init(self, params: Params) -> NormalizeState:
        _, start = Start.of(self, params)
        return NormalizeState(start.count, start.learnt(0.0), start.feedback)

    def update(
        self,
        updates: Updates,
        state: NormalizeState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, NormalizeState]:
        del extra_args  # they are for other members of a chain
        h, now = Turn.of(
            self, updates, state, params, kind=NormalizeState, needs_params=False, value=value,
            metric=metric, gate=gate,
        )  # fmt: skip
        n = global_norm([leaf.grad for leaf in now.leaves], self.axis_name).astype(now.real)
        length = n + h.eps
        # In two steps: 1 / length may be beyond the range of floats where g / length is not.
        steps = [h.scale_factor * safe_divide(g, length) for g in now.grads]
        return now.leave(steps), now.renew(grad_norm=n)


@transformation
def normalize_by_update_norm(
    scale_factor: Real = 1.0, eps: NonNegative = 1e-6, *, axis_name: AxisName = None
):
    """Divide updates by their global norm, so that every step has the same length.

    u = scale_factor g / (‖g‖ + eps)

    It ends explosions and hides what vanishes: gradients far above `eps` make full steps, however
    small they are. `grad_norm` in the state, see `funcopt.metrics`, tells.

    Args:
        scale_factor: the length of the step, or a schedule; any finite number.
        eps: added to the norm, at least 0. Zero gradients make no step, with `eps=0` as well.
        axis_name: the axes of `jax.shard_map` over which updates are sharded by hand, as in
            `global_norm`. None: each device divides by the norm of what it holds.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.normalize_by_update_norm()
    >>> tx.update(jnp.array([3e5, 4e5]), tx.init(jnp.zeros(2)))[0]
    Array([0.6, 0.8], dtype=float32)
    """
    return _Normalize(scale_factor, eps, axis_name)
