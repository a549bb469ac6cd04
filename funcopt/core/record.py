"""Records of numbers as pytrees whose class is part of their structure."""

import inspect
import sys
from dataclasses import Field, dataclass, fields
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_args, get_origin

import jax

C = TypeVar("C", bound=type)


class Static:
    """Marks an annotation, `Annotated[..., Static]`, of fields that belong to the structure."""


def static_fields(cls: type) -> list[str]:
    """The names of a record's fields that belong to the structure."""
    types = inspect.get_annotations(cls, eval_str=True)

    def is_static(field: Field) -> bool:
        type_: Any = types.get(field.name, field.type)
        marks: list = []
        if get_origin(type_) is Annotated:
            type_, *marks = get_args(type_)
        chooses = type_ in (bool, str) or get_origin(type_) is Literal or Static in marks
        return chooses or bool(field.metadata.get("static"))

    return [field.name for field in fields(cls) if is_static(field)]


@dataclass_transform(frozen_default=True)
def record(cls: C) -> C:
    """Make a class a frozen dataclass and a pytree; fields annotated `bool`, `str`, a `Literal` or
    `Static`, or with `metadata={"static": True}`, belong to the structure.

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
        known = zip(static, structure[1], strict=True)
        return cls(**dict(known), **dict(zip(data, children, strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def printed(made: Any) -> str:
    """A record as it is written after `import funcopt`: with the module where it is public."""
    cls = type(made)
    public = getattr(sys.modules.get("funcopt.rules"), cls.__name__, None) is cls
    words = (f"{field.name}={getattr(made, field.name)!r}" for field in fields(made) if field.repr)
    return f"{'rules.' if public else ''}{cls.__qualname__}({', '.join(words)})"
