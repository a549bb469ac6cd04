"""Records of numbers as pytrees whose class is part of their structure."""

from dataclasses import dataclass, fields
from typing import TypeVar, dataclass_transform

import jax

C = TypeVar("C", bound=type)


@dataclass_transform(frozen_default=True)
def record(cls: C) -> C:
    """Make a class a frozen dataclass and a pytree; fields annotated `bool`, `str` or with
    `metadata={"static": True}` belong to the structure.

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
    cls = dataclass(frozen=True)(cls)
    static = [f.name for f in fields(cls) if f.type in (bool, str) or f.metadata.get("static")]
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
