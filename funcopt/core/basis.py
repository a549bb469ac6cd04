"""Coordinates for one matrix, which follow its gradients, and the slots that a rule has there.

A slot that is kept in a basis has another meaning when that changes. What its class declares says
what becomes of it: a direction (`Signed`, and `Exact`) is the same matrix in the new basis; of
magnitudes (`Accumulator`) there is none, and they stay with the axes that they were of.
"""

from collections import namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TypeVar, cast

from jaxtyping import Array

from ..storage import declared
from .arguments import check_fields
from .record import annotations, printed
from .rule import Clock, NoSlots

S = TypeVar("S", bound=tuple)
PREFIX = "basis_"


class Basis:
    """Coordinates for a matrix: a frozen record of numbers, and how they follow its gradients.

    Subclasses are records. `slots` is the NamedTuple class of what is remembered of a matrix.
    """

    slots: ClassVar[type] = NoSlots

    def __post_init__(self):
        check_fields(self)

    def __repr__(self) -> str:
        return printed(self)

    def init(self, param: Array) -> Any:
        """The slots before the first update."""
        raise NotImplementedError

    def of(self, x: Array, slots: Any) -> Array:
        """The matrix in this basis."""
        raise NotImplementedError

    def back(self, x: Array, slots: Any) -> Array:
        """The matrix that is `x` in this basis."""
        raise NotImplementedError

    def before(self, grad: Array, slots: Any, clock: Clock) -> Any:
        """The slots of the basis in which a gradient is looked at, which may be its own."""
        del grad, clock  # most bases are of the gradients before this one
        return slots

    def after(
        self, grad: Array, slots: Any, inner: S, update: Array, clock: Clock
    ) -> tuple[Any, S, Array]:
        """The slots after a gradient, the rule's slots in the basis that is theirs, and its update.

        The update is `back` from the basis before this, and stays as it is.
        """
        del grad, clock  # a basis that is of this gradient is made before it
        return slots, inner, update


def turned(
    inner: S,
    shape: tuple[int, ...],
    directions: Callable[[Array], Array],
    magnitudes: Callable[[Array], Array],
) -> S:
    """A rule's slots in another basis; those of another shape than its matrix are in none."""

    def one(name: str, x: Any) -> Any:
        if x is None or x.shape != shape:
            return x
        kind = declared(type(inner), name)
        return magnitudes(x) if kind == "nonnegative" else directions(x)

    return type(inner)(*(one(name, x) for name, x in cast(Any, inner)._asdict().items()))


@cache
def slots_in_basis(inner: type, basis: type) -> type:
    """The slots of a rule in a basis, whose names say that, and those of the basis."""
    fields = {f"{PREFIX}{name}": kind for name, kind in annotations(inner).items()}
    fields |= annotations(basis)

    def __reduce__(self) -> tuple[Callable, tuple]:
        return _again, (inner, basis, tuple(self))

    bases = (namedtuple(f"{inner.__name__}In{basis.__name__}", fields),)
    words = {"__annotations__": fields, "__slots__": (), "__reduce__": __reduce__}
    words["__doc__"] = f"{inner.__name__} in a basis, and {basis.__name__}."
    return type(bases[0].__name__, bases, {**words, "__module__": __name__})


def _again(inner: type, basis: type, kept: tuple) -> tuple:
    return slots_in_basis(inner, basis)(*kept)
