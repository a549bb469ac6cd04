"""How slots are kept between steps.

Arithmetic is always in float32 or wider, and so are slots, unless a storage says otherwise:

    None                    float32 for half-precision parameters, else the parameter's dtype
    "bfloat16", "float16"   signed slots of at most float32 are kept in that dtype
    "8bit", "4bit", "16bit" a codec for signed slots, and one for those that are never negative
    "int8", "dynamic8", ... this codec, for the slots that it can hold
    Log8(block=64), ...     the same for arrays of every size and name
    ByKind(...)             two codecs, and which arrays they are for
    ByPath({pattern: ...})  by the paths of parameters
    {"mu": ...}             the named slots only

What is told by a name or by `ByKind` is for matrices of at least 4096 elements; vectors, small
arrays, embeddings, output heads and norms are kept in float32. So are slots that are declared
exact: sums of gradients, which would stop growing, and starting points, of which what counts is a
small difference. `funcopt.describe` shows what is kept how, and why.

Codes have the shape of their slot, in blocks along its last axis with one bfloat16 scale each, and
lie on the devices of a mesh as their parameter does. A slow mean, such as one of squares with decay
0.999, would stop at several times its true value if it were rounded to the nearest code, because an
increment is smaller than half the distance of codes. It is rounded by chance instead, so that its
mean is right. The chance is a function of the step, the path, the slot and the index of an element:
no key is kept, a run goes on from a checkpoint as it would have, and on every mesh. In
`jax.shard_map` the index is that in a device's part, and in `jax.vmap` that in one of the members:
parts, and members, draw alike.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ..math.dtypes import cast, dtype_named
from .by_kind import CODECS as CODECS
from .by_kind import NAMED, ByKind
from .by_kind import PRESETS as PRESETS
from .by_path import ByPath as ByPath
from .dynamic import Dynamic4 as Dynamic4
from .dynamic import Dynamic8 as Dynamic8
from .half import BFloat16 as BFloat16
from .kept import Codec as Codec
from .kept import Coded, coded
from .linear import Int8 as Int8
from .logarithmic import Log4 as Log4
from .logarithmic import Log8 as Log8

REDUCED = ("bfloat16", "float16", "float32")


def checked_storage(where: str, storage: Any) -> Any:
    if storage is None or isinstance(storage, Codec | ByKind):
        return storage
    if isinstance(storage, ByPath):
        return _checked_by_path(where, storage)
    if isinstance(storage, Mapping):
        for name, each in storage.items():
            _check_one_slot(f"{where}[{name!r}]", name, each)
        return {name: checked_storage(f"{where}[{name!r}]", x) for name, x in storage.items()}
    if isinstance(storage, str) and storage in NAMED:
        return storage
    dtype = dtype_named(storage)
    name = None if dtype is None else dtype.name
    if name not in REDUCED:
        raise ValueError(
            f"{where} must be None, one of {', '.join((*REDUCED, *NAMED))}, a codec, a ByKind or a "
            f"ByPath of funcopt.storage, or a dict of these by slot, got {storage!r}."
        )
    return name


def _check_one_slot(where: str, name: str, storage: Any) -> None:
    """Refuse what says of a slot that has a name what it says of several."""
    inside = storage.all if isinstance(storage, ByPath) else [storage]
    if name and any(isinstance(each, Mapping) for each in inside):
        raise ValueError(f"{where}: a dict by slot in another one: give one with all slots.")


def _checked_by_path(where: str, storage: ByPath) -> ByPath:
    by_slot = (x for each in storage.all if isinstance(each, Mapping) for x in each.values())
    if any(isinstance(each, ByPath) for each in (*storage.all, *by_slot)):
        raise ValueError(f"{where}: a ByPath in another one: give one with all patterns.")
    pairs = tuple(
        (pattern, checked_storage(f"{where}[{pattern!r}]", each))
        for pattern, each in storage.storages
    )
    otherwise = checked_storage(f"{where}: otherwise", storage.otherwise)
    return ByPath(pairs, otherwise, storage.strict)


StorageLike = DTypeLike | Codec | ByKind | ByPath | Mapping[str, Any] | None
Storage = Annotated[StorageLike, checked_storage]


def mentions(storage: StorageLike, dtype: str) -> bool:
    """Whether a storage keeps some slot in `dtype`."""
    inside: Iterable[Any] = ()
    if isinstance(storage, ByPath):
        inside = storage.all
    elif isinstance(storage, Mapping):
        inside = storage.values()
    return storage == dtype or any(mentions(each, dtype) for each in inside)


def with_slot(storage: Storage, slot: str, dtype: DTypeLike | None) -> Storage:
    """`storage`, with `slot` kept in `dtype` unless that is None."""
    if dtype is None:
        return storage
    named = dict(storage) if isinstance(storage, Mapping) else {"": storage}
    return {**named, slot: dtype}


def part(storage: Storage, slots: type) -> Storage:
    """What `storage` says of these slots, where it speaks of those of several."""
    return _chosen(storage, lambda name: not name or name in slots._fields)


def part_without(storage: Storage, slots: type) -> Storage:
    """What `storage` says of all slots but these."""
    return _chosen(storage, lambda name: name not in slots._fields)


def part_named(storage: Storage, slots: Collection[str]) -> Storage:
    """What `storage` says of the slots with these names."""
    return _chosen(storage, lambda name: not name or name in slots)


def _chosen(storage: Storage, wanted: Callable[[str], bool]) -> Any:
    if isinstance(storage, ByPath):
        return storage.each(lambda each: _chosen(each, wanted))
    if not isinstance(storage, Mapping):
        return storage
    return {
        name: kept if name else _chosen(kept, wanted)
        for name, kept in storage.items()
        if wanted(name)
    }


def loose(storage: Storage) -> Any:
    """A storage for some of the parameters, whose patterns may be found in the others only."""
    if isinstance(storage, ByPath):
        return replace(storage, strict=False)
    if isinstance(storage, Mapping):
        return {name: loose(each) for name, each in storage.items()}
    return storage


def slots_named(storage: Storage) -> set[str]:
    """The slots that a storage names."""
    return {name for by_slot in _by_slot(storage) for name in by_slot if name}


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
OR_CODES = {"nonnegative": ', or by "16bit" or "8bit", which round by chance', "exact": ""}


def check_slots(storage: Storage, slot_classes: Iterable[type]) -> None:
    """Refuse a storage that names a slot nobody has, or one that it would break."""
    slots = {name: declared(each, name) for each in slot_classes for name in each._fields}
    for by_slot in _by_slot(storage):
        for name, kept in by_slot.items():
            if name and name not in slots:
                raise ValueError(
                    f"storage names the slot {name!r}, but there is "
                    + (f"only {', '.join(slots)}." if slots else "no slot to store.")
                )
            if name:
                _check_slot(name, slots[name], kept)


def _by_slot(storage: Storage) -> Iterator[Mapping[str, Any]]:
    """The dicts by slot that are in a storage."""
    if isinstance(storage, ByPath):
        for each in storage.all:
            yield from _by_slot(each)
    elif isinstance(storage, Mapping):
        yield storage
        yield from _by_slot(storage.get(""))


def _check_slot(name: str, kind: str, kept: Any) -> None:
    said = f"storage[{name!r}] = {kept!r}: {name}"
    if isinstance(kept, ByPath):
        for each in kept.all:
            _check_slot(name, kind, each)
    elif isinstance(kept, Codec) and kind not in kept.holds:
        raise ValueError(
            f"{said} is {kind}, and this keeps {' and '.join(kept.holds)} slots only. Keep it in "
            "float32."
        )
    elif isinstance(kept, str) and kept in NAMED and NAMED[kept].codec(kind) is None:
        others = [each for each, codec in CODECS.items() if kind in codec.holds]
        raise ValueError(
            f"{said} is {kind}, which this does not keep. Keep it in float32"
            + (f", or by {' or '.join(others)}." if others else ".")
        )
    elif kind in WHY_WIDE and kept in ("bfloat16", "float16"):
        why = WHY_WIDE[kind].format(kept)
        raise ValueError(f"{said} {why}. Keep it in float32{OR_CODES[kind]}.")


class Kept(NamedTuple):
    """How a slot is kept: by a codec, or as an array of a dtype; and why in full, if it is."""

    codec: Codec | None
    dtype: Any
    why: str = ""


def kept_as(storage: Storage, name: str, path: str = "") -> Any:
    """What a storage says of the slot `name` of the parameter at a path."""
    while isinstance(storage, Mapping | ByPath):
        if isinstance(storage, ByPath):
            storage = storage.at(path)
        else:
            storage = storage.get(name, storage.get(""))
    return storage


def how_kept(storage: Storage, slots: type, name: str, x: Any, path: str) -> Kept:
    """How a storage keeps the slot `name` of the parameter at a path; `x` has its shape and dtype.

    It is told by the shape of the whole array and never by that of a device's part.
    """
    said, kind = kept_as(storage, name, path), declared(slots, name)
    if said is None or x.dtype != jnp.float32:
        return Kept(None, x.dtype)
    if isinstance(said, Codec):
        return (
            Kept(said, x.dtype) if kind in said.holds else Kept(None, x.dtype, f"declared {kind}")
        )
    if isinstance(said, ByKind) or said in NAMED:
        by_kind = said if isinstance(said, ByKind) else NAMED[said]
        codec = by_kind.codec(kind)
        if codec is None:
            return Kept(None, x.dtype, f"declared {kind}")
        why = by_kind.in_full(x.shape, path)
        return Kept(None, x.dtype, why) if why else Kept(codec, x.dtype)
    if kind in WHY_WIDE and said != "float32":
        return Kept(None, x.dtype, f"declared {kind}")
    return Kept(None, jnp.dtype(said))


def kept_dtype(storage: Storage, slots: type, name: str, natural: DTypeLike) -> DTypeLike:
    """The least dtype in which slot `name` is kept, when arithmetic uses `natural`."""
    if natural != jnp.float32 or declared(slots, name) in WHY_WIDE:
        return natural
    said = [each for each in _said(storage, name) if each in ("bfloat16", "float16")]
    return jnp.dtype(said[0]) if said else natural


def _said(storage: Storage, name: str) -> Iterator[Any]:
    """All that a storage says of a slot, by whatever path."""
    if isinstance(storage, ByPath):
        for each in storage.all:
            yield from _said(each, name)
    elif isinstance(storage, Mapping):
        yield from _said(storage.get(name, storage.get("")), name)
    else:
        yield storage


def check_paths(storage: Storage, where: str, paths: Iterable[str]) -> None:
    """Refuse patterns of a storage that are found in none of these paths."""
    inside = storage.values() if isinstance(storage, Mapping) else [storage]
    for each in inside:
        if isinstance(each, ByPath) and each.strict:
            each.check(where, paths)


def first_kept(storage: Storage, slots: type, name: str, x: Array, path: str = "") -> Array | Coded:
    """The slot `name` as it is kept, before the first update."""
    kept = how_kept(storage, slots, name, x, path)
    if kept.codec is None:
        return cast(x, kept.dtype)
    # XLA would code zeros element by element where `init` is compiled with what follows.
    return coded_at_once(kept.codec, jax.lax.optimization_barrier(x))


coded_at_once = jax.jit(coded, static_argnums=0)
"""The codes of an array by one program; outside of `jit` each operation would be one."""
