"""Updates times a number that depends on the path of the parameter alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Inexact
from optax import Params, Updates

from ..math.dtypes import cast, common_dtype
from .description import Act, Told, parts_of

Factors = Callable[[Params], list[ArrayLike]]
"""From a tree to the factor of each of its leaves: a number, or an array that broadcasts."""


@dataclass(frozen=True)
class ByPath:
    """The pair `(init, update)` that multiplies each leaf by its factor, and keeps nothing."""

    factors: Factors

    def init(self, params: Params) -> tuple[()]:
        self.factors(params)  # a pattern that is found in no path is told here
        return ()

    def tells(self, params: Params, state: tuple[()], name: str) -> list[Told]:
        del state  # nothing is kept
        acts = [(Act(name, factor=factor),) for factor in self.factors(params)]
        return [Told(own, parts_of(own, name)) for own in acts]

    def update(
        self,
        updates: Updates,
        state: tuple[()],
        params: Params | None = None,
        *,
        gate: Bool[Array, ""] | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, tuple[()]]:
        del params, extra_args  # factors go by the paths of updates
        leaves, structure = jax.tree.flatten(updates)
        factors = self.factors(updates)
        out = [_times(x, f, gate) for x, f in zip(leaves, factors, strict=True)]
        return structure.unflatten(out), state


# Leaves of the same shape share a trace, as in `lift`.
@jax.jit
def _times(
    x: Inexact[Array, "*p"], factor: ArrayLike, gate: Bool[Array, ""] | None
) -> Inexact[Array, "*p"]:
    wide = common_dtype(jnp.float32, x)
    product = cast(x, wide) * jnp.asarray(factor, jnp.finfo(wide).dtype)
    # Minus zero changes no bit of a parameter.
    kept = product if gate is None else jnp.where(gate, product, -jnp.zeros_like(product))
    return kept.astype(x.dtype)
