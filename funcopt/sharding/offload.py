"""Slots in the memory of the host, from which a step takes them and to which it puts them back."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import optax
from jaxtyping import Array
from optax import OptState, Params, Updates

from ..core.arguments import Base, Numeric, Within
from ..core.description import Told, told
from ..core.paths import path_name
from ..core.places import is_concrete
from ..core.record import Static
from ..core.transformation import gated, taken, transformation


def _pattern(where: str, x: str | None) -> str | None:
    if x is None:
        return None
    if not isinstance(x, str):
        raise TypeError(f"{where} must be a regular expression or None, got {x!r}.")
    try:
        re.compile(x)
    except re.error as error:
        raise ValueError(f"{where}: {x!r} is not a regular expression: {error}.") from error
    return x


Pattern = Annotated[str | None, _pattern]
Size = Annotated[Numeric, Within(0, 2**62, schedule=False, integer=True), Static]


@dataclass(frozen=True)
class Offload:
    inner: optax.GradientTransformation
    slots: str | None
    min_size: int

    @property
    def takes(self) -> frozenset[str]:
        return taken(self.inner)

    def init(self, params: Params) -> OptState:
        state = self.inner.init(params)
        if self.slots is not None:
            names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
            if names and not any(re.search(self.slots, name) for name in names):
                raise ValueError(
                    f"offload: slots={self.slots!r} matches no array of the state, whose paths are "
                    f"such as {names[-1]!r}."
                )
        return self._moved(jax.tree.map(_committed, state), jax.memory.Space.Host)

    def tells(self, params: Params, state: OptState, name: str) -> list[Told]:
        del name  # it does nothing of its own
        return told(self.inner, params, state)

    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        update: Callable[..., Any] = gated(self.inner).update
        here = self._moved(state, jax.memory.Space.Device)
        updates, new = update(updates, here, params, **extra_args)
        return updates, self._moved(new, jax.memory.Space.Host)

    def _moved(self, state: OptState, to: Any) -> OptState:
        def move(path: tuple, x: Array) -> Array:
            return jax.device_put(x, to) if self._means(path, x) else x

        return jax.tree_util.tree_map_with_path(move, state)

    def _means(self, path: tuple, x: Any) -> bool:
        shape = getattr(x, "shape", ())
        large = len(shape) > 0 and math.prod(shape) >= self.min_size
        return large and (self.slots is None or bool(re.search(self.slots, path_name(path))))


def _committed(x: Array) -> Array:
    """As what comes out of a program that names memories is, so that no other is compiled."""
    return jax.device_put(x, x.sharding) if is_concrete(x) else x


@transformation
def offload(inner: Base, slots: Pattern = None, *, min_size: Size = 4096):
    """Keep slots in the memory of the host between steps, and on the device only while one is made.

    Args:
        inner: the optimizer, funcopt's or optax's. Its state is this one's, in another memory.
        slots: a regular expression that is searched in the paths of the state, such as
            `"nu"` for `slots/0/nu/kernel`; None for all arrays.
        min_size: arrays of fewer elements stay on the device, and all scalars.

    Put it around everything else, guards and monitors too: what is inside finds the state on the
    device, and skips are decided there before anything moves. What would be outside would compute
    with arrays of the host. A copy to the device and back is 8 bytes for each number in float32:
    with `storage="8bit"` a quarter of that. `funcopt.state_shardings` tells the memory of each
    array, for `out_shardings` and checkpoints. The memory is `pinned_host`, which JAX has on the
    CPU too.

    Where parameters and state are donated, take and return them in the same order, or give
    `out_shardings`: JAX else gives the memory of one to another of its shape, of whichever kind,
    and the process ends. Parameters that are on no mesh are best put where they are to be,
    `jax.device_put(params, jax.devices()[0])`; else the second step is compiled once more.

    Raises:
        ValueError: `slots` is no regular expression, or matches nothing.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.offload(funcopt.adam(1e-3)), jnp.ones((64, 64))
    >>> state = tx.init(params)
    >>> params, state = funcopt.step(tx, params, state, params)
    >>> [x.sharding.memory_kind for x in (state.slots[0].mu, state.count)]
    ['pinned_host', 'device']
    """
    return Offload(inner, slots, int(min_size))
