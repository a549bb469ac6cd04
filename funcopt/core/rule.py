"""What a rule is: an algorithm for ONE array, its slots, and the clock it reads."""

import sys
from collections.abc import Callable, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeVar,
    dataclass_transform,
    get_args,
)

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..math.choice import where
from ..math.counts import steps_ahead
from ..math.moments import times, unbiased
from .arguments import Numeric, check_fields
from .record import printed, record
from .report import NoReport, check_report
from .signatures import readable

Signed = Annotated[Array, "signed"]
"""A slot whose elements may be negative."""
Accumulator = Annotated[Array, "nonnegative"]
"""A slot whose elements are never negative: a sum or running mean of magnitudes."""
Exact = Annotated[Array, "exact"]
"""A slot of which every digit counts: a starting point, or a sum that outgrows its summands."""

ActsOn = Literal["element", "array", "matrix"]
S = TypeVar("S", bound=tuple)


class Divisor(NamedTuple):
    """The second moment v̂ of the gradients by whose root an algorithm divides.

    Args:
        squares: of the slots of one parameter, the running mean (or sum) of |g|².
        decay: of the mean, or a function of t; None where it is the sum of all.
        eps, eps_root: what is added to the root, and inside of it.
        corrected: whether the mean is divided by its total weight, 1 − decayᵗ.
        updates: the number of gradients in the mean after t updates; None where that is t.
        restarts: after how many updates the mean begins anew; None for never.
        divided: v̂, of the slots and the total weight, where it is not `squares` over that weight.
        forgets: whether v̂ follows the gradients alone, and shrinks when they do.
        maximum: whether `squares` follows the largest |g|² instead of their mean.
    """

    squares: Callable[[Any], Array]
    decay: Any
    eps: Any = 0.0
    eps_root: Any = 0.0
    corrected: bool = False
    updates: Callable[[Array], Array] | None = None
    restarts: Numeric | None = None
    divided: Callable[[Any, Array], Array] | None = None
    forgets: bool = True
    maximum: bool = False


class NoSlots(NamedTuple):
    """The slots of a rule that remembers nothing."""


DECAY_OF: Mapping[str, str] = {
    "mu": "b1",
    "grad_mu": "b1",
    **dict.fromkeys(("nu", "polar_nu", "output_nu", "side_nu"), "b2"),
}


def mean_decay(rule: Any, name: str) -> Any:
    """The decay of the slot `name` where that is a running mean; None where it is not known."""
    found: Any = getattr(rule, rule.decay_of.get(name, ""), None)
    known = isinstance(found, float | int) or (isinstance(found, jax.Array) and found.ndim == 0)
    return found if known else None


@record
class Clock:
    """Step count, learning rate and gate of one update, which all rules of a transformation share.

    `t` is 1 on the first update. `lr` is the learning rate in force, None where the transformation
    has none. `gate` says whether this step counts; None means that it always does. `path` is a
    number for the path of the leaf, and `hessian_diagonal` what `update` was given beside it, None
    where nothing was: for rules that need them. `first` is the index in the leaf of the first
    element that the rule sees, None for 0. `weights` has −1 / (1 − decayᵗ) in float32 for decays
    that a rule says it `corrects` by, with how many steps ahead of `t`.
    """

    t: Int[Array, ""]
    lr: Float[Array, ""] | None = None
    gate: Bool[Array, ""] | None = None
    path: Array | None = None
    hessian_diagonal: Array | None = None
    first: Array | None = None
    weights: Mapping[tuple[float, int], Float[Array, ""]] | None = None

    def renew(self, slots: S, **new: Array) -> S:
        """The slots with `new` contents, or as they were when the gate is closed.

        Compute the update from what this returns, never from the old slots: XLA then writes each
        slot in place. An old slot that is read after its renewal costs a copy of it.
        """
        old = slots._asdict()  # type: ignore[attr-defined]
        chosen = {name: self.choose(x, old[name]) for name, x in new.items()}
        return type(slots)(**{**old, **chosen})

    def choose(self, new: Array, old: Array | float) -> Array:
        """`new` when this step counts, `old` when it does not."""
        return new if self.gate is None else where(self.gate, new, old)

    def unbiased(self, mean: Any, decay: Any, ahead: int = 0) -> Any:
        """mean / (1 − decayᵗ): a running mean without the zeros it began with.

        Nesterov's is corrected as if it were one step `ahead`. The weight is computed once for all
        leaves where the decay is a number that the rule `corrects` by.
        """
        known = isinstance(decay, int | float) and self.weights is not None
        weight = self.weights.get((decay, ahead)) if known and self.weights is not None else None
        if weight is None or weight.dtype != jnp.finfo(mean.dtype).dtype:
            return unbiased(mean, decay, steps_ahead(self.t, ahead))
        return times(jax.lax.neg(weight), mean)

    def choose_step(self, step: Array) -> Array:
        """`step` when this step counts, else minus zero: adding it changes no bit of a parameter,
        not even where that is minus zero itself.
        """
        return step if self.gate is None else where(self.gate, step, -jnp.zeros_like(step))


class Rule:
    """An algorithm for one array: a frozen record of hyperparameters with `init` and `update`.

    It knows no tree, dtype, mask, mesh or learning rate. Write one with the decorator `rule`.
    """

    acts_on: ClassVar[ActsOn]
    needs_params: ClassVar[bool] = False
    needs_path: ClassVar[bool] = False
    needs_hessian: ClassVar[bool] = False
    slots: ClassVar[type] = NoSlots
    report: ClassVar[type] = NoReport
    place: ClassVar[Literal["first", "here", "last"]] = "here"
    """Where an optimizer applies it: before its other rules, in its turn, or after the descent."""
    decays_by: ClassVar[str] = ""
    """What `funcopt.decays` calls the decay by its `weight_decay`, where it has one.

    "here" is one that depends on where it stands: decoupled, but L2 before a rule that remembers
    and independent after the descent.
    """
    descends: ClassVar[bool] = False
    """Whether it makes a step of a direction."""
    corrects: ClassVar[tuple[str | tuple[str, int], ...]] = ()
    """The fields with decays of running means that `update` corrects by `clock.unbiased`.

    `("b1", 1)` is one that it corrects one step ahead.
    """
    decay_of: ClassVar[Mapping[str, str]] = DECAY_OF
    """The field with the decay of a slot that is a running mean, where it has both."""

    def __post_init__(self):
        check_fields(self)

    def __repr__(self) -> str:
        return printed(self)

    def init(self, param: Array) -> Any:
        """The slots of one parameter, before the first update.

        A slot may have another shape than the parameter; None where this parameter has none.
        """
        del param
        return NoSlots()

    def update(self, grad: Any, slots: Any, param: Any, clock: Clock) -> tuple[Any, ...]:
        """Map an incoming update (for the first rule: the gradient) to an outgoing one.

        Returns it with the slots, and with the report of a rule that has one.
        """
        raise NotImplementedError

    def left_out(self) -> "Rule | None":
        """The same rule for the parameters that its mask leaves out, as where some do not decay.

        None where these pass through, which no rule with slots can leave them to.
        """
        return None

    def divides_by(self) -> Divisor | None:
        """The second moment that `update` divides by, so that a monitor can read it."""
        return None

    def multiplies_by(self, shape: tuple[int, ...]) -> Any:
        """What `update` multiplies an array of this shape by, a number or a schedule.

        None where it does anything else.
        """
        del shape
        return None


R = TypeVar("R", bound=type)


@dataclass_transform(frozen_default=True)
def rule(
    *,
    acts_on: ActsOn,
    slots: type | Callable[[Any], type] = NoSlots,
    report: type = NoReport,
    needs_params: bool = False,
    needs_path: bool = False,
    needs_hessian: bool = False,
    decay_of: Mapping[str, str] = DECAY_OF,
):
    """Decorate a class of hyperparameters, so that it is a rule.

    Args:
        acts_on: what one output element may depend on: the same `"element"` of the inputs, the
            whole `"array"`, or the last two axes as a `"matrix"`.
        slots: the NamedTuple class of what is remembered, its fields annotated `Signed` or
            `Accumulator` or `Exact`, or one of these or None; of a rule around a rule a function
            of it, which always returns the same class.
        report: the NamedTuple class of what `update` says about a step, its fields annotated by how
            those of all leaves become one: `Norm`, `Largest`, `Smallest`, `Mean`, `Total`. Their
            defaults are what they are before the first update.
        needs_params: whether `update` reads the parameter.
        needs_path: whether it reads `clock.path`, as random numbers do that differ by leaf.
        decay_of: the field with the decay of each slot that is a running mean, by which storages in
            few bits round; `{"mu": "b1", "nu": "b2"}` where these exist and nothing is told.
        needs_hessian: whether it reads `clock.hessian_diagonal`, an extra argument of the
            transformation's `update`, as only a rule for elements may.

    A rule for arrays sees one layer of a stacked leaf, a rule for matrices `[inputs, outputs]`; the
    slots that it makes for such a unit are kept for each.

    Fields annotated `bool`, `str` or a `Literal` choose the algorithm and are static; all others
    are numbers or schedules of them.

    >>> from funcopt import Rule, arguments, rule
    >>> @rule(acts_on="element")
    ... class Damp(Rule):
    ...     factor: arguments.Real = 0.5
    ...
    ...     def update(self, grad, slots, param, clock):
    ...         del param, clock  # damping looks only at the gradient
    ...         return self.factor * grad, slots
    >>> Damp()
    Damp(factor=0.5)
    """

    if acts_on not in get_args(ActsOn):
        raise ValueError(f"rule: acts_on must be one of {get_args(ActsOn)}, got {acts_on!r}.")
    if needs_hessian and acts_on != "element":
        raise ValueError(f"rule: needs_hessian is for acts_on='element', got acts_on={acts_on!r}.")
    check_report(report)

    def decorate(cls: R) -> R:
        cls.acts_on, cls.report = acts_on, report
        cls.slots = slots if isinstance(slots, type) else property(slots)
        cls.needs_params, cls.needs_path = needs_params, needs_path
        cls.needs_hessian, cls.decay_of = needs_hessian, decay_of
        told = cls.__doc__ or sys.modules[cls.__module__].__doc__
        cls.__doc__ = told or f"The rule {cls.__name__}."
        made = record(cls)
        made.__signature__ = readable(made)
        return made

    return decorate
