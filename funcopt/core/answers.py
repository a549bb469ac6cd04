"""What wrappers and their states answer to a wrapper around them, each by a method of its own.

Whoever has the method takes part: a wrapper that nobody here knows is asked as ours are.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeGuard, TypeVar, runtime_checkable

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from optax import Params, Updates

from .arguments import Hyperparameter


class Skipped(NamedTuple):
    """Whether the `last` step that was looked at was skipped, and how many were so far."""

    last: Bool[Array, ""]
    total: Int[Array, ""]


@runtime_checkable
class Skips(Protocol):
    """The state of what may skip a step, such as a guard's."""

    def skips(self) -> Skipped: ...


@runtime_checkable
class Scales(Protocol):
    """The state of what wants the loss multiplied by a scale."""

    def current_scale(self) -> Float[Array, ""]: ...


@runtime_checkable
class Waits(Protocol):
    """The state of what puts several updates together, of which some may wait for a step."""

    def waiting(self) -> Params:
        """A tree with an array for each parameter of which gradients may wait."""
        ...


@runtime_checkable
class Accumulates(Protocol):
    """A wrapper that makes one step of `every` updates; its state `Waits`."""

    @property
    def every(self) -> Hyperparameter: ...

    def is_last(self, state: Any, flush: ArrayLike) -> Bool[Array, ""]:
        """Whether the next update, after `state`, is the one that makes the step."""
        ...


@runtime_checkable
class Holds(Protocol):
    """The state of what keeps parameters in more bits than they have."""

    def weights(self, params: list[Array]) -> list[Array]:
        """The leaves of the parameters with all bits that are kept, those of others as they are."""
        ...


@runtime_checkable
class Writes(Protocol):
    """A transformation that has the written parameters, which `funcopt.step` then takes."""

    def written(
        self, updates: Updates, state: Any, params: Params, **extra_args: Any
    ) -> tuple[Params, Any]:
        """The parameters after an update, in place of it, and the state."""
        ...


A = TypeVar("A")


def can_answer(state: object, wanted: type[A]) -> TypeGuard[A]:
    """Whether `state` is that of a transformation, and of the class `wanted`."""
    return hasattr(type(state), "_fields") and isinstance(state, wanted)


def answering(state: object, wanted: type[A]) -> Iterator[A]:
    """The states of the class `wanted` in `state`: itself, and those inside of others too."""
    if can_answer(state, wanted):
        yield state
    for below in jax.tree.leaves(state, is_leaf=lambda x: x is not state):
        if below is not state:
            yield from answering(below, wanted)
