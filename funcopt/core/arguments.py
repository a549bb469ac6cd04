"""What an argument may be: checks, and the aliases by which signatures ask for them."""

import inspect
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from ..math.dtypes import dtype_named
from .hints import instead_of, instead_of_tree
from .hyperparameter import Hyperparameter as Hyperparameter
from .hyperparameter import Numeric as Numeric
from .record import Static, annotations, choices, parts, static_fields


def is_tracer(x: object) -> bool:
    return isinstance(x, jax.core.Tracer)


def is_number(x: object) -> bool:
    """Whether `x` is a real number, an array of them, or a tracer of one; never a bool."""
    if isinstance(x, bool | np.bool_):
        return False
    if isinstance(x, int | float):
        return True
    if isinstance(x, np.number | np.ndarray | jax.Array):
        dtype = x.dtype
        return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    return False


def _is_half(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4


@dataclass(frozen=True)
class Within:
    """Checks a number: between `low` and `high`, where `ends` tells which ends are included."""

    low: float
    high: float
    ends: Literal["[]", "[)", "(]", "()"] = "[]"
    schedule: bool = True
    optional: bool = False
    integer: bool = False

    def __str__(self) -> str:
        open_end, close_end = self.ends
        if self.integer:
            text = f"an integer from {self.low} to {self.high}"
        elif math.isinf(self.high):
            text = "a number" if close_end == "]" else "a finite number"
            if not math.isinf(self.low):
                text += f" {'>=' if open_end == '[' else '>'} {self.low:g}"
        else:
            text = f"a number in {open_end}{self.low:g}, {self.high:g}{close_end}"
        text += " or a schedule (a function of the step)" if self.schedule else ""
        return text + (" or None" if self.optional else "")

    def __call__(self, where: str, x: Any) -> Any:
        if x is None and self.optional:
            return x
        if self.schedule and callable(x):
            return function_of_the_step(where, self, x)
        if not is_number(x):
            raise TypeError(f"{where} must be {self}, got {x!r}.{instead_of_tree(where, x)}")
        if isinstance(x, jax.Array) and _is_half(x.dtype):
            x = self._widened(where, x)
        if is_tracer(x):
            return x
        low = np.greater_equal if self.ends[0] == "[" else np.greater
        high = np.less_equal if self.ends[1] == "]" else np.less
        try:
            numbers = np.asarray(x, np.float64)
        except OverflowError:
            raise ValueError(
                f"{where} must be {self}, got an integer of {len(str(x))} digits, which no float "
                "holds."
            ) from None
        inside = low(numbers, self.low) & high(numbers, self.high)
        if self.integer:
            inside &= numbers == np.round(numbers)
        if not np.all(inside):  # NaN compares false, so it is refused here too
            raise ValueError(f"{where} must be {self}, got {x!r}.")
        if isinstance(x, np.ndarray | jax.Array) and not isinstance(x, np.number):
            return x
        number = numbers.item()
        return int(number) if self.integer else number

    def _widened(self, where: str, x: jax.Array) -> jax.Array:
        """A number that came in half precision, in float32, and inside where its end is open.

        `optax.inject_hyperparams` casts to the parameters' dtype: in bfloat16 a decay rate of
        0.999 arrives as 1, which stands for everything that rounds to it.
        """
        dtype, x = x.dtype, x.astype(jnp.float32)
        if math.isinf(self.high) or self.ends[1] == "]":
            return x
        middle = self.high * (1 - float(jnp.finfo(dtype).epsneg) / 4)
        if is_tracer(x) or np.any(x == self.high):
            warnings.warn(
                f"{where} came in {dtype.name}, in which numbers just below {self.high} round to "
                f"it; it counts as {middle:.5f} then. Give optax.inject_hyperparams "
                "hyperparam_dtype=jnp.float32.",
                stacklevel=2,
            )
        return jnp.where(x == self.high, jnp.float32(middle), x)


def function_of_the_step(where: str, expected: object, x: Any) -> Any:
    """`x`, if it can be called with the step alone."""
    if not callable(x):
        raise TypeError(f"{where} must be {expected}, got {x!r}.")
    if isinstance(x, type):
        raise TypeError(f"{where} must be {expected}, got a class, {x!r}: call it to make one.")
    try:
        expects = inspect.signature(x)
    except (TypeError, ValueError):  # of a function that is not Python's
        return x
    try:
        expects.bind(0)
    except TypeError as error:
        raise TypeError(
            f"{where} must be {expected}, got {x!r}, which cannot be called with the step alone: "
            f"{error}. A schedule is called with one argument; a factory of schedules is called to "
            "make one."
        ) from None
    return x


@dataclass(frozen=True)
class Choice:
    """Checks that an argument is one of a few names."""

    names: tuple[str, ...]

    def __call__(self, where: str, x: Any) -> Any:
        if not isinstance(x, str) or x not in self.names:
            raise ValueError(f"{where} must be one of {', '.join(self.names)}, got {x!r}.")
        return x


def _dtype_name(where: str, x: Any) -> str | None:
    if x is None:
        return None
    dtype = dtype_named(x)
    if dtype is None:
        raise TypeError(f"{where} must be the name of a dtype or None, got {x!r}.")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{where} must be a floating dtype, got {dtype.name}.")
    return dtype.name


def _flag(where: str, x: Any) -> bool:
    if not isinstance(x, bool | np.bool_):
        raise TypeError(f"{where} must be True or False, got {x!r}.")
    return bool(x)


Rate = Annotated[Hyperparameter, Within(0, math.inf, "[)"), "a learning rate"]
"""A learning rate: finite and not negative, or a schedule of it."""
DecayRate = Annotated[Hyperparameter, Within(0, 1, "[)")]
"""A decay rate of a running mean: in [0, 1)."""
ClosedDecayRate = Annotated[Hyperparameter, Within(0, 1)]
OpenDecayRate = Annotated[Hyperparameter, Within(0, 1, "()")]
NonNegative = Annotated[Hyperparameter, Within(0, math.inf, "[)")]
Threshold = Annotated[Hyperparameter, Within(0, math.inf)]
"""A clipping threshold: infinity means never."""
OptionalThreshold = Annotated[Hyperparameter | None, Within(0, math.inf, optional=True)]
Real = Annotated[Hyperparameter, Within(-math.inf, math.inf, "()")]
OptionalDecayRate = Annotated[Hyperparameter | None, Within(0, 1, "[)", optional=True)]
Constant = Annotated[Numeric, Within(-math.inf, math.inf, "()", schedule=False)]
"""A finite number that no schedule may replace."""
OptionalNonNegative = Annotated[Hyperparameter | None, Within(0, math.inf, "[)", optional=True)]
NonNegativeConstant = Annotated[Numeric, Within(0, math.inf, "[)", schedule=False)]
Positive = Annotated[Numeric, Within(0, math.inf, "()", schedule=False)]
OptionalPositive = Annotated[
    Numeric | None, Within(0, math.inf, "()", schedule=False, optional=True)
]
ConstantThreshold = Annotated[Numeric, Within(0, math.inf, "(]", schedule=False)]
"""A threshold that no schedule may replace: infinity means never."""
ConstantDecay = Annotated[Numeric, Within(0, 1, "[)", schedule=False)]
OptionalConstant = Annotated[
    Numeric | None, Within(-math.inf, math.inf, "()", schedule=False, optional=True)
]
MOST_STEPS = 2**31 - 1  # where the count of updates, an int32, saturates


class Fixed(float):
    """A number that belongs to the structure, as integers do: no leaf."""


class Moment(Fixed):
    """A number of steps between two whole ones."""


def settled(x: Any) -> int | Moment:
    """A known number of steps: an integer also where rounding errors have made 100.00000000000001
    of it, else a moment between two steps."""
    if isinstance(x, int | np.integer):
        return int(x)
    eps = np.finfo(x.dtype if isinstance(x, np.floating) else float).eps
    number, nearest = float(x), round(float(x))
    close = abs(number - nearest) <= min(4 * float(eps) * abs(number), 0.01)
    return nearest if close else Moment(number)


@dataclass(frozen=True)
class NumberOfSteps:
    """Checks a number of steps, of any size from `low` on, also one that was computed as a float.

    A count of events is whole, and what no count reaches is stored as the most that there are. A
    length or a moment of a schedule (`between`) is kept as it is, fractions of a step included.
    """

    low: int
    between: bool = False
    optional: bool = False
    schedule: bool = False

    def __str__(self) -> str:
        text = "a number of steps" if self.between else "an integer"
        text += f" from {self.low} on"
        text += " or a schedule (a function of the step)" if self.schedule else ""
        return text + (" or None" if self.optional else "")

    def __call__(self, where: str, x: Any) -> Any:
        if x is None and self.optional:
            return None
        if self.schedule and callable(x):
            return function_of_the_step(where, self, x)
        if not is_number(x):
            raise TypeError(f"{where} must be {self}, got {x!r}.")
        if is_tracer(x):
            return x
        if isinstance(x, np.ndarray | jax.Array):
            return self._array(where, x)
        if isinstance(x, float | np.floating) and not math.isfinite(x):
            raise ValueError(f"{where} must be {self}, got {x!r}.")
        steps = settled(x)
        if steps < self.low or (isinstance(steps, Moment) and not self.between):
            raise ValueError(f"{where} must be {self}, got {x!r}.")
        return steps if self.between else min(steps, MOST_STEPS)

    def _array(self, where: str, x: Any) -> Any:
        numbers = np.asarray(x, np.float64)
        whole = np.all(numbers == np.round(numbers))
        if not np.all((numbers >= self.low) & np.isfinite(numbers)) or not (whole or self.between):
            raise ValueError(f"{where} must be {self}, got {x!r}.")
        if np.all(numbers <= MOST_STEPS):
            return x
        return numbers if self.between else np.minimum(x, MOST_STEPS)


Steps = Annotated[Numeric, NumberOfSteps(1)]
"""How many steps: a count, at least one."""
OptionalSteps = Annotated[Numeric | None, NumberOfSteps(1, optional=True)]
Offset = Annotated[Numeric, NumberOfSteps(0)]
"""How many steps, possibly none."""
Span = Annotated[Numeric, NumberOfSteps(1, between=True)]
"""The length of a part of a schedule, at least one step."""
OptionalSpan = Annotated[Numeric | None, NumberOfSteps(1, between=True, optional=True)]
Delay = Annotated[Numeric, NumberOfSteps(0, between=True)]
"""A moment of a schedule, or the length of a part that there need not be."""
Seed = Annotated[Numeric, Within(0, 2**31 - 1, schedule=False, integer=True)]
"""What random numbers begin with: an integer that an int32 holds."""
Length = Annotated[Numeric, Within(1, 2**31 - 1, schedule=False, integer=True), Static]
"""How many elements there are along an axis, at least one; it belongs to the structure."""


def _fraction(where: str, x: Any) -> Fixed:
    number = Within(0, 1, "(]", schedule=False)(where, x)
    if not isinstance(number, int | float):
        raise TypeError(f"{where} must be a Python number, since shapes follow from it, got {x!r}.")
    return Fixed(number)


Fraction = Annotated[float, _fraction, Static]
"""A part of an axis, in (0, 1]; it belongs to the structure."""
DType = Annotated[DTypeLike | None, _dtype_name]
Flag = Annotated[bool, _flag]


def _axes(where: str, x: Any) -> Any:
    axes = x if isinstance(x, tuple) else (x,)
    if x is not None and not all(isinstance(a, int) and not isinstance(a, bool) for a in axes):
        raise TypeError(f"{where} must be None, an axis or a tuple of axes, got {x!r}.")
    return x


Axes = Annotated[int | tuple[int, ...] | None, _axes, Static]
"""The axes of an array that are meant; None for the usual ones."""


def _axis_name(where: str, x: Any) -> Any:
    names = x if isinstance(x, tuple) else (x,)
    if x is not None and not all(isinstance(name, str) for name in names):
        raise TypeError(f"{where} must be the name of a mapped axis, or several, got {x!r}.")
    return x


AxisName = Annotated[str | tuple[str, ...] | None, _axis_name, Static]
"""The mapped axes (of `shard_map`, `vmap`, `pmap`) over which a decision is made together."""


def _transformation(where: str, x: Any) -> Any:
    if isinstance(x, type) or not (hasattr(x, "init") and hasattr(x, "update")):
        raise TypeError(f"{where} must be a gradient transformation, got {x!r}{_remedy(x)}.")
    if hasattr(x, "acts_on"):
        raise TypeError(
            f"{where} must be a gradient transformation, got {x!r}: a rule, which funcopt.lift or "
            "funcopt.optimizer makes a transformation."
        )
    return x


def _remedy(x: Any) -> str:
    if isinstance(x, str):
        return f": call the function of that name, `funcopt.{x or 'adam'}(...)`"
    if isinstance(x, list | tuple):
        return ": funcopt.chain(a, b) makes one of several"
    if isinstance(x, type) and hasattr(x, "acts_on"):
        return ": a class of rules; `funcopt.optimizer(rule(...), learning_rate=...)` makes one"
    return ": call it to make one" if callable(x) else ""


Base = Annotated[optax.GradientTransformation, _transformation]
"""A transformation that another one is made from, funcopt's or optax's."""


@cache
def _checks(annotated: Any) -> dict[str, Callable]:
    """The checks of a function's arguments or a record's fields, by their annotations."""
    found = {}
    for name, annotation in annotations(annotated).items():
        marks = [mark for mark in parts(annotation)[1] if callable(mark) and mark is not Static]
        allowed = choices(annotation) if isinstance(annotated, type) else None
        if marks:
            found[name] = marks[0]
        elif allowed is not None:
            found[name] = _choice(allowed)
    return found


def _choice(allowed: tuple) -> Callable:
    """The check of a field that chooses: that of a factory's argument, where there is such."""
    if allowed == (bool,):
        return _flag
    names = all(isinstance(each, str) for each in allowed)
    return Choice(allowed) if names else OneOf(allowed)


signature = cache(inspect.signature)


@dataclass(frozen=True)
class OneOf:
    """Checks a field that chooses: it is one of a few values, or of a few types."""

    allowed: tuple

    def __str__(self) -> str:
        return " or ".join(x.__name__ if isinstance(x, type) else repr(x) for x in self.allowed)

    def __call__(self, where: str, x: Any) -> Any:
        for each in self.allowed:
            same = not isinstance(each, type) and type(x) is type(each) and x == each
            if same or (isinstance(each, type) and isinstance(x, each)):
                return x
        wrong = ValueError if type(x) in map(type, self.allowed) else TypeError
        raise wrong(f"{where} must be {self}, got {x!r}.")


def check_fields(record: Any) -> None:
    """Check the fields of a record by what annotates them; those of its structure are no arrays."""
    checks = _checks(type(record))
    for name, check in checks.items():
        check(f"{type(record).__name__}: {name}", getattr(record, name))
    for name in static_fields(type(record)):
        x = getattr(record, name)
        if name not in checks and isinstance(x, jax.Array | np.ndarray):
            raise TypeError(
                f"{type(record).__name__}: {name} belongs to the structure, which holds no "
                f"arrays, got {x!r}. Annotate it as a number, or give a Python number."
            )


def checked_arguments(function: Callable, args: tuple, kwargs: dict) -> tuple:
    """Bind a call to `function`'s signature, check every argument, and return them in order."""
    expected = signature(function)
    try:
        bound = expected.bind(*args, **kwargs)
    except TypeError as error:
        # Python names a missing argument first, also where one was merely misspelt.
        unknown = [name for name in kwargs if name not in expected.parameters]
        problem = f"unknown argument {', '.join(map(repr, unknown))}" if unknown else error
        problem = f"{problem}{instead_of(unknown, expected.parameters)}"
        names = ", ".join(expected.parameters)
        raise TypeError(f"{function.__name__}: {problem}. Its arguments are {names}.") from None
    bound.apply_defaults()
    for name, check in _checks(function).items():
        if name in bound.arguments:
            bound.arguments[name] = check(f"{function.__name__}: {name}", bound.arguments[name])
    return tuple(bound.arguments.values())


def number_at(what: str, x: Any, step: jax.Array | int) -> jax.Array:
    """A number or a schedule, at `step`, as an array of its own, as wide as floats are here."""
    value: Any = x(step) if callable(x) else x
    if not is_number(value):
        hint = ": call it to make a schedule" if callable(value) else ""
        raise TypeError(
            f"{what}: the schedule {x!r} returned {value!r}, which is not a number{hint}."
        )
    if jnp.ndim(value):
        raise ValueError(
            f"{what} has shape {jnp.shape(value)}, but one run takes one number. To train several "
            "settings at once, map over the transformation: "
            "`jax.vmap(train, in_axes=(tx.in_axes,))(tx)`."
        )
    return jnp.array(value, float)
