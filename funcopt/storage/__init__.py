"""How slots are kept between steps.

Arithmetic is always in float32 or wider, and so are slots, unless a storage says otherwise:

    None                    float32 for half-precision parameters, else the parameter's dtype
    "bfloat16", "float16"   signed slots of at most float32 are kept in that dtype
    {"mu": "bfloat16"}      the named slots only

Non-negative accumulators stay in float32. Rounded to the nearest bfloat16, a running mean of
squares with decay 0.999 stops at half of its true value, because each increment is smaller than
half a unit in the last place; the steps then come out 41 % too long. So do slots that are declared
exact: sums of gradients, which stop in the same way, and starting points, of which what counts is
a small difference.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ..math.dtypes import cast, dtype_named
from .kept import Codec as Codec
from .kept import Coded, coded

REDUCED = ("bfloat16", "float16", "float32")


def checked_storage(where: str, storage: Any) -> Any:
    if storage is None:
        return None
    if isinstance(storage, Codec):
        return storage
    if isinstance(storage, Mapping):
        return {
            name: checked_storage(f"{where}[{name!r}]", dtype) for name, dtype in storage.items()
        }
    dtype = dtype_named(storage)
    name = None if dtype is None else dtype.name
    if name not in REDUCED:
        raise ValueError(
            f"{where} must be None, one of {', '.join(REDUCED)}, or a dict of these by slot, "
            f"got {storage!r}."
        )
    return name


Storage = Annotated[
    DTypeLike | Codec | Mapping[str, DTypeLike | Codec | None] | None, checked_storage
]


def with_slot(storage: Storage, slot: str, dtype: DTypeLike | None) -> Storage:
    """`storage`, with `slot` kept in `dtype` unless that is None."""
    if dtype is None:
        return storage
    named = dict(storage) if isinstance(storage, Mapping) else {"": storage}
    return {**named, slot: dtype}


def part(storage: Storage, slots: type) -> Storage:
    """What `storage` says of these slots, where it speaks of those of several."""
    if not isinstance(storage, Mapping):
        return storage
    return {name: dtype for name, dtype in storage.items() if not name or name in slots._fields}


def part_without(storage: Storage, slots: type) -> Storage:
    """What `storage` says of all slots but these."""
    if not isinstance(storage, Mapping):
        return storage
    return {name: dtype for name, dtype in storage.items() if name not in slots._fields}


@cache
def declared(slots: type, name: str) -> str:
    """What a slot is declared to be: "signed", "nonnegative" or "exact".

    One that a parameter need not have is annotated by that or None.
    """
    told = get_args(get_type_hints(slots, include_extras=True)[name])
    return get_args(told[0])[-1] if told[-1] is NoneType else told[-1]


WHY_WIDE = {
    "nonnegative": "accumulates magnitudes, and rounded to {} it would stop growing",
    "exact": "is a sum or a starting point, of which {} would round away what counts",
}


def check_slots(storage: Storage, slot_classes: Iterable[type]) -> None:
    """Refuse a storage that names a slot nobody has, or one that it would break."""
    if not isinstance(storage, Mapping):
        return
    slots = {name: declared(each, name) for each in slot_classes for name in each._fields}
    for name, dtype in storage.items():
        if name and name not in slots:
            raise ValueError(
                f"storage names the slot {name!r}, but there is "
                + (f"only {', '.join(slots)}." if slots else "no slot to store.")
            )
        if name and isinstance(dtype, Codec) and slots[name] not in dtype.holds:
            raise ValueError(
                f"storage[{name!r}] = {dtype!r}: {name} is {slots[name]}, and this keeps "
                f"{' and '.join(dtype.holds)} slots only. Keep it in float32."
            )
        if name and slots[name] in WHY_WIDE and dtype in ("bfloat16", "float16"):
            raise ValueError(
                f"storage[{name!r}] = {dtype!r}: {name} {WHY_WIDE[slots[name]].format(dtype)}. "
                "Keep it in float32."
            )


def kept_as(storage: Storage, name: str) -> Any:
    """What a storage says of the slot `name`."""
    return storage.get(name, storage.get("")) if isinstance(storage, Mapping) else storage


def kept_dtype(storage: Storage, slots: type, name: str, natural: DTypeLike) -> DTypeLike:
    """The dtype in which slot `name` is kept, when arithmetic uses `natural`."""
    kept: Any = kept_as(storage, name)
    whole = kept is None or isinstance(kept, Codec) or natural != jnp.float32
    if whole or declared(slots, name) in WHY_WIDE:
        return natural
    return jnp.dtype(kept)  # type: ignore[arg-type]


def first_kept(storage: Storage, slots: type, name: str, x: Array) -> Array | Coded:
    """The slot `name` as it is kept, before the first update."""
    kept = kept_as(storage, name)
    if isinstance(kept, Codec) and declared(slots, name) in kept.holds:
        return coded(kept, x)
    return cast(x, kept_dtype(storage, slots, name, x.dtype))
