"""Clips that look at one unit at a time: a leaf, a layer of a stacked leaf, or a neuron.

    u_i = min(1, bound_i / ‖g_i‖) g_i      for every unit i

What the units and their bounds are is a record's to say; here is the report. With an `axis_name`
every unit is spread over devices, and its norm is that of all its parts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from optax import Params, Updates

from ..core.leaves import Beside
from ..core.paths import marked
from ..core.turn import Start, Turn
from ..math.norm import Axes, clip_ratio, norm
from ..math.varying import AxisNames, norm_across
from .clip_state import ClipState, nothing_clipped, own, together


def _checked(where: str, x: Any) -> Any:
    numbers = x.values() if isinstance(x, Mapping) else [x]
    for each in numbers:
        if each is not None and (isinstance(each, bool) or not isinstance(each, int)):
            raise TypeError(
                f"{where} must be None, an integer, or a dict of integers by pattern, got {x!r}."
            )
    return x


LayerAxis = Annotated[int | Mapping[str, int] | None, _checked]
"""Where layers are stacked in one leaf: None for nowhere, the axis in every leaf of two axes or
more, or a dict of axes by regular expressions that are searched in the path: `{"blocks/": 0}`."""


class Measured(NamedTuple):
    """Of each unit of one leaf: its norm, and the largest that is let through."""

    norm: Array
    bound: Any


class Measure(Protocol):
    """The numbers of a clip, and what it looks at."""

    needs_params: bool
    axis_name: AxisNames

    def axes(self, shape: tuple[int, ...], layer: int | None) -> Axes:
        """What is summed over, such that what is left are the units; None for all axes."""
        ...

    def __call__(self, grad: Array, param: Array | None, axes: Axes) -> Measured: ...


def all_but(ndim: int, *kept: int | None) -> Axes:
    """The axes of an array without some; None where none are kept."""
    left = {axis % ndim for axis in kept if axis is not None}
    return tuple(axis for axis in range(ndim) if axis not in left) if left else None


def layer_axes(layer_axis: Any, leaves: list[Beside], structure: Any) -> list[int | None]:
    """For each leaf, the axis along which layers are stacked."""
    ranks = [jnp.ndim(leaf.grad) for leaf in leaves]
    if not isinstance(layer_axis, Mapping):
        return [layer_axis if ndim > 1 else None for ndim in ranks]
    tree = jax.tree.unflatten(structure, [leaf.grad for leaf in leaves])
    found: list[int | None] = [None] * len(leaves)
    for pattern, axis in layer_axis.items():
        flags = marked(pattern, tree)
        found = [axis if flag else old for flag, old in zip(flags, found, strict=True)]
    return found


def unit_norm(x: Array, axes: Axes, axis_name: AxisNames) -> Array:
    """The norm of every unit, of whose parts on other devices `x` may be one."""
    return norm_across(norm(x, axes), axis_name)


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="axes")
def _clipped(
    how: Any, grad: Array, param: Array | None, axes: Axes
) -> tuple[Array, Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The clipped leaf, its norm, the smallest ratio and how many of its units were clipped."""
    units = how(grad, param, axes)
    ratio = clip_ratio(units.norm, units.bound)
    return (
        grad * ratio,
        norm(units.norm),
        jnp.min(ratio, initial=1),
        jnp.sum(ratio < 1, dtype=ratio.dtype),
    )


@dataclass(frozen=True)
class UnitClip:
    """The pair `(init, update)` of such a clip."""

    how: Any
    layer_axis: Any = None

    def init(self, params: Params) -> ClipState:
        _, start = Start.of(self.how, params)
        return ClipState(start.count, **nothing_clipped(start), feedback=start.feedback)

    def update(
        self,
        updates: Updates,
        state: ClipState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, ClipState]:
        del extra_args  # they are for other members of a chain
        state = own(state, vars(self.how).values(), lambda: self.init(()))
        needs_params = self.how.needs_params
        h, now = Turn.of(
            self.how, updates, state, params, kind=ClipState, needs_params=needs_params,
            value=value, metric=metric, gate=gate,
        )  # fmt: skip
        if not now.leaves:
            return updates, now.renew()
        beside = now.params if needs_params else [None] * len(now.leaves)
        layers = layer_axes(self.layer_axis, now.leaves, now.structure)
        axes = [h.axes(g.shape, layer) for g, layer in zip(now.grads, layers, strict=True)]
        done = [_clipped(h, *each) for each in zip(now.grads, beside, axes, strict=True)]
        steps, norms, ratios, counts = map(list, zip(*done, strict=True))
        units = sum(_units(g.shape, a) for g, a in zip(now.grads, axes, strict=True))
        return now.leave(steps), now.renew(**together(norms, ratios, counts, of=units))


def _units(shape: tuple[int, ...], axes: Axes) -> int:
    if 0 in shape:
        return 0
    return 1 if axes is None else math.prod(n for i, n in enumerate(shape) if i not in axes)
