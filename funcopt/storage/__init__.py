"""How slots are kept between steps.

Arithmetic is always in float32 or wider, and so are slots, unless a storage says otherwise:

    None                    float32 for half-precision parameters, else the parameter's dtype
    "bfloat16", "float16"   signed slots of at most float32 are kept in that dtype
    {"mu": "bfloat16"}      the named slots only

Non-negative accumulators stay in float32. Rounded to the nearest bfloat16, a running mean of
squares with decay 0.999 stops at half of its true value, because each increment is smaller than
half a unit in the last place; the steps then come out 41 % too long.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_type_hints

import jax.numpy as jnp
from jax.typing import DTypeLike

REDUCED = ("bfloat16", "float16", "float32")


def _checked(where: str, storage: Any) -> Any:
    if storage is None:
        return None
    if isinstance(storage, Mapping):
        return {name: _checked(f"{where}[{name!r}]", dtype) for name, dtype in storage.items()}
    try:
        name = jnp.dtype(storage).name
    except TypeError:
        name = None
    if name not in REDUCED:
        raise ValueError(
            f"{where} must be None, one of {', '.join(REDUCED)}, or a dict of these by slot, "
            f"got {storage!r}."
        )
    return name


Storage = Annotated[DTypeLike | Mapping[str, DTypeLike | None] | None, _checked]


def with_slot(storage: Storage, slot: str, dtype: DTypeLike | None) -> Storage:
    """`storage`, with `slot` kept in `dtype` unless that is None."""
    if dtype is None:
        return storage
    named = dict(storage) if isinstance(storage, Mapping) else {"": storage}
    return {**named, slot: dtype}


def is_signed(slots: type, name: str) -> bool:
    return "signed" in get_args(get_type_hints(slots, include_extras=True)[name])


def check_slots(storage: Storage, kinds: Iterable[type]) -> None:
    """Refuse a storage that names a slot nobody has, or one that it would break."""
    if not isinstance(storage, Mapping):
        return
    signed = {name: is_signed(slots, name) for slots in kinds for name in slots._fields}
    for name, dtype in storage.items():
        if name and name not in signed:
            raise ValueError(
                f"storage names the slot {name!r}, but there is "
                + (f"only {', '.join(signed)}." if signed else "no slot to store.")
            )
        if name and not signed[name] and dtype in ("bfloat16", "float16"):
            raise ValueError(
                f"storage[{name!r}] = {dtype!r}: {name} accumulates magnitudes, and rounded to "
                f"{dtype} it would stop growing. Keep it in float32."
            )


def kept_dtype(storage: Storage, slots: type, name: str, natural: DTypeLike) -> DTypeLike:
    """The dtype in which slot `name` is kept, when arithmetic uses `natural`."""
    if isinstance(storage, Mapping):
        kept = storage.get(name, storage.get(""))
    else:
        kept = storage
    if kept is None or natural != jnp.float32 or not is_signed(slots, name):
        return natural
    return jnp.dtype(kept)
