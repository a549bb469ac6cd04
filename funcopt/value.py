"""A value is the call that made it: a factory and its checked arguments.

Transformations and schedules are values. They print as their call, compare, hash and pickle by
it, and are pytrees: every number among the arguments is a leaf, everything else is static.
What an argument may be is said once, in the factory's signature, by the aliases below.
"""

import inspect
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cache, wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from optax import ScalarOrSchedule


def is_tracer(x: object) -> bool:
    return isinstance(x, jax.core.Tracer)


def is_number(x: object) -> bool:
    """Whether `x` is a real number, an array of them, or a tracer of one; never a bool."""
    if isinstance(x, bool | np.bool_):
        return False
    if isinstance(x, int | float | np.number | np.ndarray | jax.Array):
        dtype = jnp.result_type(x)
        return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    return False


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
        if (x is None and self.optional) or (self.schedule and callable(x)):
            return x
        if not is_number(x):
            raise TypeError(f"{where} must be {self}, got {x!r}.")
        if is_tracer(x):
            return x
        low = np.greater_equal if self.ends[0] == "[" else np.greater
        high = np.less_equal if self.ends[1] == "]" else np.less
        numbers = np.asarray(x, np.float64)
        inside = low(numbers, self.low) & high(numbers, self.high)
        if self.integer:
            inside &= numbers == np.round(numbers)
        if not np.all(inside):  # NaN compares false, so it is refused here too
            raise ValueError(f"{where} must be {self}, got {x!r}.")
        if isinstance(x, np.ndarray | jax.Array) and not isinstance(x, np.number):
            return x
        number = numbers.item()
        return int(number) if self.integer else number


@dataclass(frozen=True)
class Choice:
    """Checks that an argument is one of a few names."""

    names: tuple[str, ...]

    def __call__(self, where: str, x: Any) -> Any:
        if x not in self.names:
            raise ValueError(f"{where} must be one of {', '.join(self.names)}, got {x!r}.")
        return x


def _dtype_name(where: str, x: Any) -> str | None:
    if x is None:
        return None
    try:
        dtype = jnp.dtype(x)
    except TypeError as error:
        raise TypeError(f"{where} must be the name of a dtype or None, got {x!r}.") from error
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{where} must be a floating dtype, got {dtype.name}.")
    return dtype.name


def _flag(where: str, x: Any) -> bool:
    if not isinstance(x, bool | np.bool_):
        raise TypeError(f"{where} must be True or False, got {x!r}.")
    return bool(x)


# Rules and schedules compute with these, as the numbers that they are by then: hence Any.
Number = Any

Rate = Annotated[ScalarOrSchedule, Within(0, math.inf, "[)")]
"""A learning rate: finite and not negative, or a schedule of it."""
DecayRate = Annotated[Number, Within(0, 1, "[)")]
"""A decay rate of a running mean: in [0, 1)."""
OpenDecayRate = Annotated[Number, Within(0, 1, "()")]
NonNegative = Annotated[Number, Within(0, math.inf, "[)")]
Threshold = Annotated[Number, Within(0, math.inf)]
"""A clipping threshold: infinity means never."""
Real = Annotated[Number, Within(-math.inf, math.inf, "()")]
OptionalDecayRate = Annotated[Number, Within(0, 1, "[)", optional=True)]
Constant = Annotated[Number, Within(-math.inf, math.inf, "()", schedule=False)]
"""A finite number that no schedule may replace."""
NonNegativeConstant = Annotated[Number, Within(0, math.inf, "[)", schedule=False)]
Positive = Annotated[Number, Within(0, math.inf, "()", schedule=False)]
OptionalConstant = Annotated[
    Number, Within(-math.inf, math.inf, "()", schedule=False, optional=True)
]
MOST_STEPS = 2**31 - 1  # where the count of updates, an int32, saturates
Steps = Annotated[Any, Within(1, MOST_STEPS, schedule=False, integer=True)]
"""A number of steps, at least one."""
Offset = Annotated[Any, Within(0, MOST_STEPS, schedule=False, integer=True)]
"""A number of steps, possibly zero."""
DType = Annotated[DTypeLike | None, _dtype_name]
Flag = Annotated[bool, _flag]


@cache
def _checks(annotated: Any) -> dict[str, Callable]:
    hints = inspect.get_annotations(annotated, eval_str=True)
    return {name: get_args(h)[1] for name, h in hints.items() if get_origin(h) is Annotated}


_signature = cache(inspect.signature)


def check_fields(record: Any) -> None:
    """Check the fields of a record by the aliases that annotate them."""
    for name, check in _checks(type(record)).items():
        check(f"{type(record).__name__}: {name}", getattr(record, name))


def checked_arguments(function: Callable, args: tuple, kwargs: dict) -> tuple:
    """Bind a call to `function`'s signature, check every argument, and return them in order."""
    signature = _signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        # Python names a missing argument first, also where one was merely misspelt.
        unknown = [name for name in kwargs if name not in signature.parameters]
        problem = f"unknown argument {', '.join(map(repr, unknown))}" if unknown else error
        names = ", ".join(signature.parameters)
        raise TypeError(f"{function.__name__}: {problem}. Its arguments are {names}.") from None
    bound.apply_defaults()
    for name, check in _checks(function).items():
        if name in bound.arguments:
            bound.arguments[name] = check(f"{function.__name__}: {name}", bound.arguments[name])
    return tuple(bound.arguments.values())


def number_at(what: str, x: Any, step: jax.Array | int) -> jax.Array | None:
    """A number or a schedule, at `step`, as an array of its own, as wide as floats are here."""
    if x is None:
        return None
    value = x(step) if callable(x) else x
    if not is_number(value):
        raise TypeError(f"{what}: the schedule {x!r} returned {value!r}, which is not a number.")
    if jnp.ndim(value):
        raise ValueError(
            f"{what} has shape {jnp.shape(value)}, but one run takes one number. To train several "
            "settings at once, map over the transformation: "
            "`jax.vmap(train, in_axes=(tx.in_axes,))(tx)`."
        )
    return jnp.array(value, float)


class _Mark(Enum):
    NUMBER = "where a number goes"


@dataclass(frozen=True)
class Call:
    """The static side of a value: which factory, and its arguments with the numbers taken out."""

    factory: Callable
    structure: Any
    atoms: tuple

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        return dict(_signature(self.factory).parameters)

    def arguments(self, numbers: tuple) -> tuple:
        fill = iter(numbers)
        leaves = [next(fill) if atom is _Mark.NUMBER else atom for atom in self.atoms]
        return jax.tree.unflatten(self.structure, leaves)


def _is_atom(x: object) -> bool:
    """What `jax.tree` shall not open: None, and transformations whose inside is not ours."""
    foreign = isinstance(x, optax.GradientTransformation) and not isinstance(x, Value)
    return x is None or foreign


class Value:
    """The call of a factory, as a value and a pytree of its numbers."""

    _call: Call
    _numbers: tuple  # numbers, or whatever `jax.tree.map` has put in their place

    def body(self) -> Any:
        """What the factory's body returns for these arguments; built when first needed.

        `jax.tree` fills values with things that are no numbers, which must not be built.
        """
        raise NotImplementedError

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call, defaults included, in the order of the signature."""
        return dict(zip(self._call.parameters, self._call.arguments(self._numbers), strict=True))

    def replace(self, **changes: Any) -> Any:
        """The same call with some arguments changed.

        >>> import funcopt
        >>> funcopt.adam(1e-3).replace(b1=0.95)
        adam(learning_rate=0.001, b1=0.95)
        """
        factory, parameters = self._call.factory, self._call.parameters
        unknown = set(changes) - set(parameters)
        if unknown:
            raise TypeError(
                f"{factory.__name__} has no argument {', '.join(sorted(unknown))}; "
                f"its arguments are {', '.join(parameters)}."
            )
        arguments = {**self.arguments, **changes}
        variadic = [n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
        positional = [x for name in variadic for x in arguments.pop(name)]
        return factory(*positional, **arguments)

    @property
    def in_axes(self) -> Any:
        """For `jax.vmap(..., in_axes=)`: 0 where a number carries a batch axis, else None.

        >>> import funcopt, jax.numpy as jnp
        >>> funcopt.sgd(jnp.array([0.1, 0.2]), momentum=0.9).in_axes.arguments["learning_rate"]
        0
        """
        return jax.tree.map(lambda x: 0 if jnp.ndim(x) > 0 else None, self)

    def __repr__(self) -> str:
        words = []
        for (name, x), parameter in zip(
            self.arguments.items(), self._call.parameters.values(), strict=True
        ):
            if parameter.kind is parameter.VAR_POSITIONAL:
                words += [repr(each) for each in x]
            elif not _same(parameter.default, x):
                words.append(f"{name}={x!r}")
        return f"{self._call.factory.__name__}({', '.join(words)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Value)
        same_numbers = len(self._numbers) == len(other._numbers) and all(
            map(_same, self._numbers, other._numbers)
        )
        return self._call == other._call and same_numbers

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        if any(isinstance(x, np.ndarray | jax.Array) for x in self._numbers):
            raise TypeError(
                f"{self._call.factory.__name__}(...) holds arrays and cannot be hashed. Where it "
                "must be static (a Flax TrainState, a static argument), use Python numbers; else "
                "pass it as an ordinary argument: it is a pytree."
            )
        return hash((self._call, self._numbers))

    def __reduce__(self):
        return _from_call, (type(self), self._call.factory, tuple(self.arguments.values()))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if is_tracer(a) or is_tracer(b):
        return False
    if isinstance(a, np.ndarray | jax.Array) or isinstance(b, np.ndarray | jax.Array):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and bool(a == b)


def _from_call(kind: type, factory: Callable, arguments: tuple) -> Any:
    leaves, structure = jax.tree.flatten(arguments, is_leaf=_is_atom)
    numbers = tuple(x for x in leaves if is_number(x))
    atoms = tuple(_Mark.NUMBER if is_number(x) else x for x in leaves)
    return kind(Call(factory, structure, atoms), numbers)


def value_factory(kind: type, function: Callable) -> Callable:
    """Decorate `function` so that calling it gives a checked value of `kind`."""

    @wraps(function)
    def factory(*args: Any, **kwargs: Any) -> Any:
        value = _from_call(kind, factory, checked_arguments(function, args, kwargs))
        value.body()  # what the body refuses is refused here
        return value

    return factory


def build(call: Call, numbers: tuple) -> Any:
    """Run the factory's body on its arguments."""
    arguments = zip(call.parameters, call.arguments(numbers), strict=True)
    bound = inspect.BoundArguments(_signature(call.factory), OrderedDict(arguments))
    return call.factory.__wrapped__(*bound.args, **bound.kwargs)  # type: ignore[attr-defined]


def register(kind: type) -> None:
    """Register a subclass of `Value` as a pytree whose leaves are its numbers."""
    jax.tree_util.register_pytree_node(
        kind, lambda value: (value._numbers, value._call), lambda call, numbers: kind(call, numbers)
    )
