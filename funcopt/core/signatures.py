"""Signatures as `help` prints them: names where annotations are unions, and types with checks.

Type checkers and `typing.get_type_hints` read the functions themselves, and see no difference.
"""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import optax
from jax.typing import ArrayLike, DTypeLike

from .arguments import Choice, NumberOfSteps, Within

MODULES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])")


@dataclass(frozen=True)
class Named:
    """An annotation that prints as its name; `meaning` is the annotation itself."""

    name: str
    meaning: Any

    def __repr__(self) -> str:
        return self.name


def readable(function: Callable) -> inspect.Signature:
    """The signature of a function or class in few words, aliases by their names in its module.

    >>> def halve(rate: float, params: optax.Params): ...
    >>> print(readable(halve))
    (rate: float, params: ArrayTree)
    """
    plain = inspect.signature(function)
    names = vars(sys.modules.get(function.__module__, sys))
    aliases = {name: x for name, x in names.items() if get_origin(x) is Annotated}
    parameters = [
        parameter.replace(annotation=named(parameter.annotation, aliases))
        for parameter in plain.parameters.values()
    ]
    returned = named(plain.return_annotation, aliases)
    return plain.replace(parameters=parameters, return_annotation=returned)


def readable_functions(names: Mapping[str, Any]) -> None:
    """Give every function among `names`, and what makes its classes' instances, a readable
    signature, where it has none of its own.
    """
    for thing in names.values():
        function = maker(thing) if inspect.isclass(thing) else thing
        if inspect.isfunction(function) and "__signature__" not in vars(function):
            vars(function)["__signature__"] = readable(function)


def maker(cls: type) -> Any:
    """The function whose signature is that of `cls`, where it has one of its own."""
    return cls.__new__ if hasattr(cls, "_fields") else vars(cls).get("__init__")


def named(annotation: Any, aliases: Mapping[str, Any]) -> Any:
    """`annotation`, or something that prints shorter."""
    if get_origin(annotation) is not Annotated:
        plain = annotation is inspect.Parameter.empty or isinstance(annotation, str)
        return annotation if plain else Named(words(annotation), annotation)
    hint, check, *_ = get_args(annotation)
    if isinstance(check, Choice):
        return Named(" | ".join(map(repr, check.names)), annotation)
    for name, alias in aliases.items():
        if alias == annotation:
            return Named(name, annotation)
    if isinstance(check, Within):
        return Named("int" if check.integer else "float", annotation)
    if isinstance(check, NumberOfSteps):
        return Named("float" if check.between else "int", annotation)
    return Named(words(hint), annotation)


def without_modules(annotation: Any) -> str:
    text = MODULES.sub("", inspect.formatannotation(annotation))
    return text.replace("NoneType", "None").replace("~", "")


def members(union: Any) -> str:
    """What stands inside of a union's brackets, also where it is a part of a larger one."""
    return without_modules(union).removeprefix("Union[").removesuffix("]")


UNIONS = {members(optax.Params): "ArrayTree", members(ArrayLike): "ArrayLike",
          members(DTypeLike): "DTypeLike"}  # fmt: skip


def words(annotation: Any) -> str:
    """An annotation without modules, its well-known unions by their names.

    >>> words(Callable[[optax.Params], ArrayLike | None])
    'Callable[[ArrayTree], Union[ArrayLike, None]]'
    """
    text = without_modules(annotation)
    for inside, name in UNIONS.items():
        text = text.replace(f"Union[{inside}]", name).replace(inside, name)
    return text
