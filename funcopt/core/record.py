"""Records of numbers as pytrees whose class is part of their structure."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
)

import jax

C = TypeVar("C", bound=type)


class Static:
    """Marks an annotation, `Annotated[..., Static]`, of fields that belong to the structure."""


def annotations(thing: type | Callable) -> dict[str, Any]:
    """What annotates a function's arguments, or the fields of a class and its bases.

    Strings, as all are after `from __future__ import annotations`, are evaluated; one that names
    what its module does not have stays a string.
    """
    found = {}
    for each in reversed(thing.__mro__) if isinstance(thing, type) else [thing]:
        for name, x in inspect.get_annotations(each).items():
            found[name] = _evaluated(x, each) if isinstance(x, str) else x
    return found


def _evaluated(text: str, written_in: type | Callable) -> Any:
    scope = vars(sys.modules.get(written_in.__module__, sys))
    inside = dict(vars(written_in)) if isinstance(written_in, type) else {}
    try:
        return eval(text, scope, inside)
    except (NameError, AttributeError, TypeError, SyntaxError):
        return text


def parts(annotation: Any) -> tuple[Any, list]:
    """The type that `Annotated` annotates, and its marks."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    plain, *marks = get_args(annotation)
    return plain, marks


def choices(annotation: Any) -> tuple | None:
    """What a field may be that chooses the algorithm: types and names; None of any other field.

    >>> choices(bool), choices(Literal["mean", "sum"] | None), choices(float | None)
    ((<class 'bool'>,), ('mean', 'sum', None), None)
    """
    plain, _ = parts(annotation)
    if get_origin(plain) is Literal:
        return get_args(plain)
    if get_origin(plain) in (Union, UnionType):
        members = [(None,) if x is NoneType else choices(x) for x in get_args(plain)]
        known = [x for x in members if x is not None]
        only_none = all(x == (None,) for x in known)
        return None if only_none or len(known) < len(members) else sum(known, ())
    chooses = plain in (bool, str) or (isinstance(plain, type) and issubclass(plain, Enum))
    return (plain,) if chooses else None


@cache
def static_fields(cls: type) -> list[str]:
    """The names of a record's fields that belong to the structure."""
    types = annotations(cls)
    return [field.name for field in fields(cls) if _is_static(cls, field, types[field.name])]


def _is_static(cls: type, field: Field, annotation: Any) -> bool:
    if "static" in field.metadata:
        return bool(field.metadata["static"])
    if not isinstance(annotation, str):
        return choices(annotation) is not None or Static in parts(annotation)[1]
    if field.default is MISSING and field.default_factory is MISSING:
        raise TypeError(
            f"{cls.__name__}: {field.name} is annotated {annotation!r}, which names what "
            f"{cls.__module__} does not have, so that it is not known whether it is a number. "
            "Import the names at the top of the module, not under TYPE_CHECKING."
        )
    return isinstance(field.default, bool | str | Enum)


@dataclass_transform(frozen_default=True)
def record(cls: C) -> C:
    """Make a class a frozen dataclass and a pytree.

    Fields that are annotated `bool`, `str`, an `Enum`, a `Literal`, one of these or None, or
    `Annotated[..., Static]`, and those with `metadata={"static": True}`, belong to the structure;
    all others are leaves, which may be anything when a tree is filled, and are not checked then.

    `jax.tree_util.register_dataclass` leaves the class out: the structures of `Scale(0.5)` and
    `Clip(0.5)` would be equal, and one would run in place of the other where `jit` has traced it.

    >>> @record
    ... class Half:
    ...     x: float
    >>> @record
    ... class Twice:
    ...     x: float
    >>> jax.tree.structure(Half(1.0)) == jax.tree.structure(Twice(1.0))
    False
    """
    cls = dataclass(frozen=True, repr=cls.__repr__ is object.__repr__)(cls)
    static = static_fields(cls)
    data = [f.name for f in fields(cls) if f.name not in static]

    def structure(made):
        return cls, tuple(getattr(made, name) for name in static)

    def flatten(made):
        return [getattr(made, name) for name in data], structure(made)

    def flatten_with_keys(made):
        keys = map(jax.tree_util.GetAttrKey, data)
        return list(zip(keys, flatten(made)[0], strict=True)), structure(made)

    def unflatten(structure, children):
        made = object.__new__(cls)
        for name, x in zip([*static, *data], [*structure[1], *children], strict=True):
            object.__setattr__(made, name, x)
        return made

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def printed(made: Any) -> str:
    """A record as it is written after `import funcopt`: with the module where it is public."""
    cls = type(made)
    rules = import_module("funcopt.rules") if cls.__module__.startswith("funcopt.") else None
    public = getattr(rules, cls.__name__, None) is cls
    words = (f"{field.name}={getattr(made, field.name)!r}" for field in fields(made) if field.repr)
    return f"{'rules.' if public else ''}{cls.__qualname__}({', '.join(words)})"
