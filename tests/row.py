"""One configuration of one algorithm, and what a test may ask of it.

A row stands below the reference in `tests/reference/` that it is held to, in that file's `ROWS`;
`tests.catalog` gathers them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import jax
import optax

import funcopt
from funcopt.core.lift import Lifted
from funcopt.core.tree_lift import LiftedTree
from funcopt.core.value import Configured

if TYPE_CHECKING:
    from tests.reference import Step

ActsOn = Literal["element", "array", "matrix", "tree"]


@dataclass(frozen=True)
class Row:
    """One configuration of one algorithm.

    What its rules declare (`slots`, `acts_on`, `needs_params`, `needs_value`) is read from them. A
    row that is not rules alone, a wrapper or a chain, says it.

    Attributes:
        name: unique; the algorithm, and after a dash what is special.
        algorithm: the factory in funcopt.
        kwargs: the arguments it is called with, the learning rate aside.
        reference: the same in NumPy float64; None for compositions.
        reference_kwargs: its arguments; None for those of `kwargs`.
        rate: the learning rate in tests; None for a building block, which takes none.
        complex: whether complex parameters are allowed.
        slots: what is remembered for each parameter, in order.
        acts_on: what one element of the update may depend on; "tree" is all leaves.
        needs_params: whether `update` must be given the parameters.
        needs_value: whether `update` must be given the loss as `value`.
        needs_hessian: whether it must be given an estimate as `hessian_diagonal`.
        own_rate: whether the rate in force is computed, not the number that was given.
        fixed_rate: whether no schedule may replace the rate, because only its start is given.
        looks_back: whether steps depend on the way from the start, in which the rounding of
            parameters counts; a reference is then compared with at rounded parameters.
        signs: whether updates are signs, which of few elements hardly tell a number from another.
        unfelt: numbers that no step of the tests feels, such as bounds that are not reached.
        silent_steps: how many updates are 0 at first, whatever the gradients.
        evaluated: the slot of the reference that has the parameters to evaluate with, if it is not
            these themselves.
        wraps: whether the state holds that of an optimizer inside, with its own count and rate.
        bounded: whether an element may not feel the others of its array, but by bounds.
        moves_on_zero_gradient: whether parameters move although no gradient ever came.
        keeps_moving: whether a zero gradient after another one still moves them.
        uneven: whether a slot may be absent, or have another shape than its parameter.
        random: whether each leaf draws numbers of its own.
        records_value: whether the state keeps the `value` that came with an update.
        lands: whether updates of half-precision parameters are float32, to land exactly.
        scheduled: hyperparameters that a schedule may replace, each with two values in its range.
        optax: the function of optax that means the same, None if there is none.
        optax_kwargs: its arguments; None for those of `kwargs`.
        optax_differs: why there is none, or when the two part.
        optax_rounds: the float32 deviation that optax's own rounding causes, or None.
        optax_float64: the deviation in float64, where optax computes something in float32.
        float32, float64: tolerances over 50 steps, relative to the largest parameter.
        way_float32, way_float64: the same for the sum of updates, relative to the largest.
        slots_float32: the same for slots, relative to the largest that an element has been.
    """

    name: str
    algorithm: Callable[..., Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reference: Step | None = None
    reference_kwargs: Mapping[str, Any] | None = None
    rate: float | None = 0.05
    complex: bool = True
    slots: tuple[str, ...] = ()
    acts_on: ActsOn = "element"
    needs_params: bool = False
    needs_value: bool = False
    needs_hessian: bool = False
    own_rate: bool = False
    fixed_rate: bool = False
    looks_back: bool = False
    signs: bool = False
    unfelt: tuple[str, ...] = ()
    silent_steps: int = 0
    evaluated: str = ""
    wraps: bool = False
    bounded: bool = False
    moves_on_zero_gradient: bool = False
    keeps_moving: bool = False
    uneven: bool = False
    random: bool = False
    records_value: bool = False
    lands: bool = False
    scheduled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    optax: Callable[..., Any] | None = None
    optax_kwargs: Mapping[str, Any] | None = None
    optax_differs: str = ""
    optax_rounds: float | None = None
    optax_float64: float = 1e-12
    float32: float = 8e-7
    float64: float = 1e-13
    way_float32: float = 1e-6
    way_float64: float = 1e-12
    slots_float32: float = 2e-6

    def __post_init__(self):
        for name, told in declared(self.lift).items():
            given = getattr(self, name)
            default = type(self).__dataclass_fields__[name].default
            if (name, told) == ("acts_on", "tree") and given == "array":
                continue  # with these arguments its leaves do not see each other
            if given not in (told, default):
                raise ValueError(f"{self.name}: {name}={given!r}, but its rules declare {told!r}.")
            object.__setattr__(self, name, told)

    @property
    def factory(self) -> Callable[..., Any]:
        """Makes the transformation from a learning rate (a building block: from nothing)."""
        return partial(self.algorithm, **self.kwargs) if self.kwargs else self.algorithm

    def make(self, rate: Any = None, **changes: Any) -> Any:
        """The transformation, at `rate` instead of the row's and with changed arguments."""
        if self.rate is None:
            assert rate is None
            return self.factory(**changes)
        return self.factory(self.rate if rate is None else rate, **changes)

    def descending(self, rate: Any = None, **changes: Any) -> Any:
        """What moves parameters: a building block with a descent after it."""
        if self.rate is not None:
            return self.make(rate, **changes)
        return funcopt.chain(self.make(**changes), funcopt.descend(0.05 if rate is None else rate))

    @property
    def descent_rate(self) -> float:
        """The learning rate of `descending()`."""
        return 0.05 if self.rate is None else self.rate

    @property
    def rate_name(self) -> str:
        """What the factory calls the learning rate."""
        return next(iter(inspect.signature(self.algorithm).parameters))

    @property
    def extra(self) -> Mapping[str, Any]:
        """What `update` must be given beside gradients, state and parameters."""
        told = {"value": 2.0} if self.needs_value else {}
        return {**told, "hessian_diagonal": 30.0} if self.needs_hessian else told

    @property
    def halved(self) -> tuple[str, ...]:
        """The slots that may be kept in half precision: directions, no sums and no magnitudes."""
        rules = self.lift.rules if isinstance(self.lift, Lifted) else ()
        sums = {
            name
            for each in rules
            for name, kind in each.slots.__annotations__.items()
            if "nonnegative" in str(kind)
        }
        means = {*HALVED, "nu"} if self.needs_hessian else HALVED
        return tuple(name for name in self.slots if name in means and name not in sums)

    @property
    def accepts(self) -> set[str]:
        """The names of the factory's arguments."""
        return set(inspect.signature(self.algorithm).parameters)

    @property
    def masked(self) -> bool:
        """Whether there is a `mask` that limits a weight decay."""
        return "mask" in self.accepts

    @cached_property
    def lift(self) -> Any:
        """What the values of funcopt are around: of most, a lift and its rules."""
        tx = self.make()
        while isinstance(tx, Configured):
            tx = tx.body()
        return tx

    @property
    def kind(self) -> Any:
        """What the mechanism can tell of the row."""
        if not declared(self.lift):
            return self.name
        needs = self.needs_params, self.needs_value, self.needs_hessian
        return type(self.lift), min(len(self.slots), 2), *needs, self.rate is None, self.masked

    def rules(self) -> set[Any]:
        """Its rules but for their numbers: their classes and what they choose."""
        if getattr(self.lift, "inner", None) is not None or not declared(self.lift):
            return set()
        rules = [self.lift.rule] if isinstance(self.lift, LiftedTree) else self.lift.rules
        return {jax.tree.structure(rule) for rule in rules}

    def transcribed(self) -> Mapping[str, Any]:
        """The reference's arguments."""
        return self.kwargs if self.reference_kwargs is None else self.reference_kwargs

    def theirs(self) -> Mapping[str, Any]:
        """The arguments of optax's function."""
        return self.kwargs if self.optax_kwargs is None else self.optax_kwargs


def declared(lift: Any) -> dict[str, Any]:
    """What rules say of themselves, as columns of a row; nothing where they are not all of it."""
    if isinstance(lift, LiftedTree) and lift.inner is None:
        rule = lift.rule
        return {
            "slots": rule.slots._fields,
            "acts_on": "tree",
            "needs_params": rule.needs_params,
            "needs_value": rule.needs_value,
            "needs_hessian": False,
        }
    if not isinstance(lift, Lifted):
        return {}
    return {
        "slots": tuple(name for rule in lift.rules for name in rule.slots._fields),
        "acts_on": max((rule.acts_on for rule in lift.rules), key=get_args(ActsOn).index),
        "needs_params": any(rule.needs_params for rule in lift.rules),
        "needs_value": False,
        "needs_hessian": any(rule.needs_hessian for rule in lift.rules),
    }


def block(name: str, algorithm: Callable[..., Any], kwargs: Any = (), **columns: Any) -> Row:
    """A row that knows no rate; by its name, optax's counterpart is found."""
    columns = {"optax": getattr(optax, algorithm.__name__, None), **columns}
    return Row(name, algorithm, dict(kwargs), rate=None, **columns)


MOMENTS = ("mu", "nu")
HALVED = (
    "mu",
    "basis_mu",
    "basis_ema",
    "basis_trace",
    "grad_mu",
    "m",
    "v",
    "g",
    "m1",
    "m2",
    "trace",
    "ema",
    "last_direction",
    "prev_sign",
    "previous_gradient",
)
BETAS = {"b1": (0.9, 0.6), "b2": (0.999, 0.95)}
ADAM = {**BETAS, "eps": (1e-8, 1e-3), "eps_root": (0.0, 1e-4)}
DECAY = {"weight_decay": (0.0, 0.2)}
DECAYING = {"moves_on_zero_gradient": True, "keeps_moving": True}
OTHER = {"b1": 0.7, "b2": 0.95, "eps": 1e-4, "eps_root": 1e-5}
# Sums over the tree are rounded, and a rate that is estimated from them hands that on to the way.
OWN_RATE = {"own_rate": True, "float32": 2e-6, "way_float32": 1e-5, "slots_float32": 5e-6}
# optax raises decay rates to powers in float32: 1 - 0.999^t is 6e-6 off at the first step.
POWERS = 1e-5
