"""How the slots of a transformation are kept, said of all that it is made of at once."""

from collections.abc import Iterator, Mapping
from typing import Any

import optax

from ..storage import Storage, checked_storage, loose, part_named, slots_named
from .lift import Lifted
from .transformation import GradientTransformation
from .tree_lift import LiftedTree


def with_storage(tx: Any, storage: Storage) -> Any:
    """`tx`, whose slots are kept as `storage` says where it does not say so itself.

    Args:
        tx: a transformation of funcopt, whatever it is made of: chains, wrappers and groups.
        storage: how slots are kept, see `funcopt.storage`. Slots by name are those that there are.

    Raises:
        TypeError: a part of it is optax's, whose slots are as they are.
        ValueError: `storage` names a slot that there is not, or one that it would break.

    >>> import funcopt
    >>> chain = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-3))
    >>> funcopt.with_storage(chain, "8bit")
    chain(clip_by_global_norm(max_norm=1.0), adamw(learning_rate=0.001, storage='8bit'))
    """
    where = "with_storage"
    told = slots_named(checked_storage(f"{where}: storage", storage))
    unknown = sorted(told - slot_names(tx))
    if unknown:
        raise ValueError(
            f"{where}: storage names the slot {unknown[0]!r}, but there is only "
            f"{', '.join(sorted(slot_names(tx))) or 'none'}."
        )
    return kept_so(where, tx, checked_storage(f"{where}: storage", storage))


def kept_so(where: str, tx: Any, storage: Storage) -> Any:
    """`tx`, whose slots are kept as `storage` says where it does not say so itself.

    Args:
        where: what stands before the text of an error.
        tx: a transformation of funcopt, whatever it is made of.
        storage: as in any factory; names of slots that a transformation has not are for others.

    Raises:
        TypeError: a part of it is optax's, whose slots are as they are.
    """
    if not isinstance(tx, GradientTransformation):
        raise TypeError(
            f"{where}: storage={storage!r} does not reach {tx!r}, which is not funcopt's and keeps "
            "its slots as it will. Give a transformation of funcopt, or each group a storage= of "
            "its own and none to the partition."
        )
    arguments, changes = tx.arguments, {}
    for name, x in arguments.items():
        if isinstance(x, tuple) and any(map(_is_transformation, x)):
            changes[name] = tuple(kept_so(where, each, storage) for each in x)
        elif isinstance(x, Mapping) and any(map(_is_transformation, x.values())):
            changes[name] = {
                label: each if each is None else kept_so(where, each, loose(storage))
                for label, each in x.items()
            }
        elif _is_transformation(x):
            changes[name] = kept_so(where, x, storage)
    if "storage" in arguments and arguments["storage"] is None:
        changes["storage"] = _of(tx, storage)
    if not changes and isinstance(tx.body(), GradientTransformation):
        return kept_so(where, tx.body(), storage)  # a factory that has no argument for it
    return tx.replace(**changes) if changes else tx


def slot_names(tx: Any) -> set[str]:
    """The names of all slots of a transformation, as far as rules of funcopt have them."""
    found = set(_own_slots(tx))
    for x in tx.arguments.values() if isinstance(tx, GradientTransformation) else ():
        several = isinstance(x, tuple) and not _is_transformation(x)
        inside = x.values() if isinstance(x, Mapping) else x if several else [x]
        found.update(*(slot_names(each) for each in inside if _is_transformation(each)))
    return found


def _is_transformation(x: Any) -> bool:
    return isinstance(x, optax.GradientTransformation)


def _of(tx: GradientTransformation, storage: Storage) -> Storage:
    """The part of a storage by name that is about slots of `tx`."""
    return part_named(storage, set(_own_slots(tx)))


def _own_slots(tx: Any) -> Iterator[str]:
    """The slots of the rules that one call has made, without those of what it was given."""
    while isinstance(tx, GradientTransformation):
        tx = tx.body()
    if isinstance(tx, Lifted):
        for rule in tx.rules:
            yield from rule.slots._fields  # type: ignore[attr-defined]
    elif isinstance(tx, LiftedTree):
        yield from tx.rule.slots._fields  # type: ignore[attr-defined]
        if not isinstance(tx.inner, GradientTransformation):
            yield from _own_slots(tx.inner)
