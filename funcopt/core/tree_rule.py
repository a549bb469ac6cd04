"""What a tree rule is: an algorithm that looks at all leaves at once, its slots and its numbers."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float
from optax import OptState

from ..math import columns
from ..math.columns import Column
from ..math.dtypes import common_dtype
from ..math.moments import zeros_real
from ..math.varying import AxisNames, named, varying_along, varying_axes
from .arguments import check_fields
from .record import printed, record
from .report import Common as Common
from .report import CommonNumber as CommonNumber
from .report import Number as Number
from .report import OutermostAs as OutermostAs
from .report import Reported as Reported
from .report import ReportedAs as ReportedAs
from .rule import DECAY_OF, Clock, Divisor, NoSlots
from .signatures import readable

SignedColumn = Annotated[Column, "signed"]
"""A slot of every leaf, whose elements may be negative."""
AccumulatorColumn = Annotated[Column, "nonnegative"]
"""A slot of every leaf, whose elements are never negative."""
ExactColumn = Annotated[Column, "exact"]
"""A slot of every leaf of which every digit counts: a starting point, or a growing sum."""


class NoNumbers(NamedTuple):
    """The numbers of an algorithm that remembers none."""


@dataclass(frozen=True)
class Sums:
    """Inner products and norms of columns, over all devices where there is an `axis_name`.

    `real` is the type of numbers: float32, or wider where a parameter is wider.
    """

    real: Any
    axis_name: AxisNames

    def vdot(self, xs: Column, ys: Column) -> Float[Array, ""]:
        """The inner product; of complex arrays, that of their real and imaginary parts."""
        return columns.vdot(self._wide(xs), self._wide(ys), self.real, self.axis_name)

    def square_norm(self, xs: Column) -> Float[Array, ""]:
        return columns.square_norm(self._wide(xs), self.real, self.axis_name)

    def norm(self, xs: Column) -> Float[Array, ""]:
        return columns.norm(self._wide(xs), self.real, self.axis_name)

    def abs_sum(self, xs: Column) -> Float[Array, ""]:
        """The 1-norm."""
        return columns.abs_sum(self._wide(xs), self.real, self.axis_name)

    def _wide(self, xs: Column) -> Column:
        return [x.astype(common_dtype(self.real, x)) for x in xs]


@dataclass(frozen=True)
class Start(Sums):
    """What `init` of a tree rule gets beside parameters, which are in the arithmetic's type.

    `in_half` says whether one of them is kept in half precision, which rounds small steps away;
    `inner` is the state of what the rule wraps.
    """

    in_half: bool
    inner: OptState

    def number(self, x: ArrayLike) -> Float[Array, ""]:
        return jnp.asarray(x, self.real)

    def zero_for_each(self, x: Column) -> Column:
        """A number for each leaf, of the type of what is learnt from all of them."""
        varies = varying_axes(*x) - set(named(self.axis_name))
        return [varying_along(self.number(0), varies) for _ in x]

    def zeros(self, x: Column) -> Column:
        return [jnp.zeros_like(each) for each in x]

    def magnitudes(self, x: Column) -> Column:
        """Zeros that are to hold magnitudes, real where `x` is complex."""
        return [zeros_real(each) for each in x]


@dataclass(frozen=True)
class Step(Sums):
    """What `update` of a tree rule gets beside arrays: clock, loss, and sums over all leaves.

    `value` is the loss where the rule needs it, else zero. `grad_norm` is the norm of what came,
    `selected` says which leaves a mask means, and `run` makes one update of what the rule wraps.
    `restart` is given its state after that, a flag and a column: the state begun anew at these
    parameters where the flag is set.
    """

    clock: Clock
    value: Float[Array, ""]
    grad_norm: Callable[[], Float[Array, ""]]
    renew: Callable[..., Any]
    selected: Callable[[Any], list[bool]]
    decay: Callable[[ArrayLike | None, Any], Column]
    run: Callable[..., tuple[Column, OptState]]
    restart: Callable[[OptState, Bool[Array, ""], Column], OptState]


class TreeRule:
    """An algorithm for all leaves: a frozen record of hyperparameters with `init` and `update`.

    Leaves are columns: lists of arrays, one for each leaf. It knows no tree, dtype, mask or mesh.
    Write one with the decorator `tree_rule`.
    """

    slots: ClassVar[type] = NoSlots
    numbers: ClassVar[type] = NoNumbers
    needs_params: ClassVar[bool] = True
    needs_value: ClassVar[bool] = False
    only_reports: ClassVar[bool] = False
    observes: ClassVar[bool] = False
    decays_by: ClassVar[str] = ""
    """What `funcopt.decays` calls the decay by its `weight_decay`, where it has one."""
    decay_of: ClassVar[Mapping[str, str]] = DECAY_OF
    """The field with the decay of a slot that is a running mean, where it has both."""

    def __post_init__(self):
        check_fields(self)

    def __repr__(self) -> str:
        return printed(self)

    def init(self, x: Column, start: Start) -> tuple[Any, Any]:
        """The slots and the numbers before the first update, of parameters `x`.

        A slot that is `x` itself is copied.
        """
        del x, start
        return self.slots(), self.numbers()

    def seen(self, x: Column, slots: Any) -> Column:
        """The parameters that the transformation inside is shown: those of the training.

        Args:
            x: the column of parameters.
            slots: columns, from the last update.
        """
        del slots
        return x

    def update(self, g: Any, slots: Any, was: Any, x: Any, step: Step) -> tuple[Any, ...]:
        """Map gradients `g` to updates; returns (updates, slots, numbers).

        Args:
            g: a column of gradients.
            slots: columns, from the last update.
            was: the numbers of the last update.
            x: the column of parameters, None where the rule does not need them.
            step: the clock, the loss, sums over leaves; `step.renew(slots, mu=...)` renews slots,
                and what follows from a slot is computed from what that returns. An array among
                the numbers is renewed likewise, `step.renew(was, ...)`.

        A rule that wraps a transformation returns the state of that as well, at the end.
        """
        raise NotImplementedError

    def divides_by(self, numbers: Any) -> Divisor | None:
        """The second moment that `update` divides by, so that a monitor can read it."""
        del numbers
        return None


R = TypeVar("R", bound=type)


@dataclass_transform(frozen_default=True)
def tree_rule(
    *,
    slots: type = NoSlots,
    numbers: type = NoNumbers,
    needs_params: bool = True,
    needs_value: bool = False,
    only_reports: bool = False,
    observes: bool = False,
):
    """Decorate a class of hyperparameters, so that it is a tree rule.

    Args:
        slots: the NamedTuple class of what is remembered of each leaf, its fields annotated
            `SignedColumn`, `AccumulatorColumn` or `ExactColumn`.
        numbers: the NamedTuple class of the scalars that are remembered, those annotated
            `Reported` being part of `funcopt.metrics`.
        needs_params: whether `update` reads the parameters.
        needs_value: whether it reads the loss, `value=`.
        only_reports: whether no update reads the numbers, so that any state will do.
        observes: whether what it wraps trains the parameters as they are, in their own types, and
            its updates keep theirs; otherwise both are in the type of the arithmetic.
    """

    def decorate(cls: R) -> R:
        cls.slots, cls.numbers = slots, numbers
        cls.needs_params, cls.needs_value = needs_params, needs_value
        cls.only_reports, cls.observes = only_reports, observes
        told = cls.__doc__ or sys.modules[cls.__module__].__doc__
        cls.__doc__ = told or f"The tree rule {cls.__name__}."
        made = record(cls)
        made.__signature__ = readable(made)
        return made

    return decorate
