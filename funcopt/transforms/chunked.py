"""Large leaves in chunks, so that a step needs next to no memory beside what it is given."""

from collections.abc import Callable
from dataclasses import dataclass

import optax
from optax import OptState, Params, Updates

from ..core.arguments import Base, Steps
from ..core.description import Told, told
from ..core.transformation import gated, taken, transformation


@dataclass(frozen=True)
class Chunked:
    inner: optax.GradientTransformation
    elements: int

    @property
    def takes(self) -> frozenset[str]:
        return taken(self.inner)

    def init(self, params: Params) -> OptState:
        return self.inner.init(params)

    def tells(self, params: Params, state: OptState, name: str) -> list[Told]:
        del name  # it does nothing of its own
        return told(self.inner, params, state)

    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extra_args: object
    ) -> tuple[Updates, OptState]:
        update: Callable[..., tuple[Updates, OptState]] = gated(self.inner).update
        return update(updates, state, params, **{**extra_args, "chunk": self.elements})


@transformation
def chunked(inner: Base, elements: Steps = 2**20):
    """Compute the steps of large leaves in chunks, for less memory at the same numbers.

    Slots in 8 or 4 bits, and gradients in half precision, are float32 while a step is computed from
    them. XLA may have all of that in memory at once, as many bytes as were saved. In chunks, one of
    which is computed after the other and written over what it was made of, the float32 of one is
    there at a time.

    Args:
        inner: the optimizer, funcopt's. Its state is this one's: a run may go on with or without.
        elements: of a leaf that are computed together, at least 1, in whole rows of its first axis:
            of stacked layers no less than one layer. A vector, and a leaf of no more, are done at
            once. 2²⁰ need 4 MB for each array that is between.

    It concerns rules that act on elements, such as Adam, Lion and momentum, in any nesting; what
    looks at more (clips, matrix rules) is done as it is without. Donate gradients, state and
    parameters, or compute gradients in the same program: what is not donated is copied. Slices
    along the first axis of what is split along it would be gathered on a mesh with automatic axes:
    keep that axis whole there, or use it inside of `jax.shard_map`; leaves that are split on an
    explicit mesh are done at once.

    Raises:
        ValueError: `elements` is below 1.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((64, 64))}
    >>> tx = funcopt.adam(1e-3, storage="8bit")
    >>> alone, _ = tx.update(params, tx.init(params))
    >>> updates, _ = funcopt.chunked(tx, 1000).update(params, tx.init(params))
    >>> bool((updates["kernel"] == alone["kernel"]).all())
    True
    """
    return Chunked(inner, int(elements))
