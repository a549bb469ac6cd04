"""A value is the call that made it: a factory and its checked arguments.

Transformations and schedules are values. They print as their call, compare, hash and pickle by
it, and are pytrees: every float or array of numbers among the arguments is a leaf; everything
else is static, numbers of steps too (give them as arrays to trace them).
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .arguments import Fixed, checked_arguments, is_number, is_tracer, signature
from .hints import instead_of
from .signatures import Named, readable


class Number(np.float64):
    """A Python float as a leaf: one that `equinox.filter_jit` takes for an array.

    A Python float is static there, and every learning rate would be compiled anew.
    """

    __repr__ = float.__repr__
    __str__ = float.__str__


def _plain(x: Any) -> Any:
    return float(x) if isinstance(x, np.float64) else x


class _Mark(Enum):
    NUMBER = "where a number goes"


@dataclass(frozen=True)
class Call:
    """The static side of a value: which factory, and its arguments with the numbers taken out."""

    factory: Callable
    structure: Any
    atoms: tuple

    @property
    def shown(self) -> str:
        """The factory as it is written after `import funcopt`."""
        return getattr(self.factory, "shown", self.factory.__name__)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        return dict(signature(self.factory).parameters)

    def arguments(self, numbers: tuple) -> tuple:
        fill = iter(numbers)
        leaves = [next(fill) if atom is _Mark.NUMBER else atom for atom in self.atoms]
        return jax.tree.unflatten(self.structure, leaves)


def _is_atom(x: object) -> bool:
    """What `jax.tree` shall not open: None, and transformations whose inside is not ours."""
    foreign = isinstance(x, optax.GradientTransformation) and not isinstance(x, Configured)
    return x is None or foreign


class Configured:
    """The call of a factory, as a value and a pytree of its numbers."""

    _call: Call
    _numbers: tuple  # numbers, or whatever `jax.tree.map` has put in their place

    def body(self) -> Any:
        """What the factory's body returns for these arguments; built when first needed.

        `jax.tree` fills values with things that are no numbers, which must not be built.
        """
        raise NotImplementedError

    @property
    def factory(self) -> Callable:
        """The function whose call this is."""
        return self._call.factory

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the call, defaults included, in the order of the signature."""
        return dict(zip(self._call.parameters, self._call.arguments(self._numbers), strict=True))

    def replace(self, **changes: Any) -> Self:
        """The same call with some arguments changed.

        >>> import funcopt
        >>> funcopt.adam(1e-3).replace(b1=0.95)
        adam(learning_rate=0.001, b1=0.95)
        """
        factory, parameters = self._call.factory, self._call.parameters
        unknown = set(changes) - set(parameters)
        if unknown:
            hint = instead_of(sorted(unknown), parameters)
            raise TypeError(
                f"{factory.__name__} has no argument {', '.join(sorted(unknown))}{hint}; "
                f"its arguments are {', '.join(parameters)}."
            )
        arguments = {**self.arguments, **changes}
        variadic = [n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
        positional = [x for name in variadic for x in arguments.pop(name)]
        return factory(*positional, **arguments)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_") or name not in self._call.parameters:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(
                f"{self._call.factory.__name__}(...) has no attribute {name!r}: its arguments are "
                f"read by `.arguments[{name!r}]`, and `.replace({name}=...)` is the same with "
                "another one."
            )

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
        return f"{self._call.shown}({', '.join(words)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            # A tuple would compare itself with the pair of functions, and find it equal.
            return False if isinstance(other, tuple) else NotImplemented
        assert isinstance(other, Configured)
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


def _is_leaf(x: object) -> bool:
    """Python's integers and what is fixed belong to the structure, so that `jax.grad` takes every
    value."""
    return is_number(x) and not isinstance(x, int | Fixed)


def _hashable(x: Any) -> Any:
    """A number that was given as an array, so that Flax takes the value as a static field."""
    known = isinstance(x, jax.Array) and not is_tracer(x) and x.ndim == 0
    return float(x) if known and jnp.issubdtype(x.dtype, jnp.floating) else _plain(x)


def _from_call(cls: type, factory: Callable, arguments: tuple) -> Any:
    leaves, structure = jax.tree.flatten(arguments, is_leaf=_is_atom)
    leaves = [_hashable(x) for x in leaves]
    numbers = tuple(x for x in leaves if _is_leaf(x))
    atoms = tuple(_Mark.NUMBER if _is_leaf(x) else x for x in leaves)
    return cls(Call(factory, structure, atoms), numbers)


def value_factory(cls: type, function: Callable) -> Callable:
    """Decorate `function` so that calling it gives a checked value of `cls`."""

    @wraps(function)
    def factory(*args: Any, **kwargs: Any) -> Any:
        value = _from_call(cls, factory, checked_arguments(function, args, kwargs))
        value.body()  # what the body refuses is refused here
        return value

    shown = readable(function)
    if shown.return_annotation is shown.empty:
        shown = shown.replace(return_annotation=Named(cls.__name__, cls))
    # What inspect.signature reads, which is what help() and notebooks print.
    vars(factory)["__signature__"] = shown
    return factory


def build(call: Call, numbers: tuple) -> Any:
    """Run the factory's body on its arguments."""
    arguments = zip(call.parameters, call.arguments(numbers), strict=True)
    bound = inspect.BoundArguments(signature(call.factory), OrderedDict(arguments))
    return call.factory.__wrapped__(*bound.args, **bound.kwargs)  # type: ignore[attr-defined]


def register(cls: type) -> None:
    """Register a subclass of `Configured` as a pytree whose leaves are its numbers."""

    def flatten(value: Configured) -> tuple[tuple, Call]:
        return tuple(Number(x) if type(x) is float else x for x in value._numbers), value._call

    def unflatten(call: Call, numbers: tuple) -> Configured:
        return cls(call, tuple(map(_plain, numbers)))

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)
