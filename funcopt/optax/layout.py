"""funcopt's arithmetic over optax's states.

A program that was written for optax looks into its states: `state[0].mu`, `isinstance(node,
ScaleByAdamState)`, `tree.get(state, "count")`. So the state of a transformation of this package is
the one that optax's own `init` makes. An update reads the slots out of it by their names, which
both libraries share, lets funcopt do the step, and puts the new slots where the old ones were.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from optax import OptState, Params, Updates

from ..core.description import Told, found_slots, told
from ..core.leaves import Absent
from ..core.lift import Lifted, LiftedState
from ..core.transformation import GradientTransformation
from ..core.tree_lift import LiftedTree, TreeState
from ..math.dtypes import at_least
from ..storage import kept_dtype


def lifted(tx: Any) -> Lifted | LiftedTree:
    """What a transformation of rules is at its bottom."""
    while isinstance(tx, GradientTransformation):
        tx = tx.body()
    assert isinstance(tx, Lifted | LiftedTree)
    return tx


def fields(state: Any, names: Container[str]) -> Iterator[tuple[str, Any]]:
    """Those contents of all states below `state` that have one of these names."""
    own = state._fields if hasattr(state, "_fields") else ()
    for i, x in enumerate(state if isinstance(state, tuple | list) else ()):
        if own and own[i] in names:
            yield own[i], x
        else:
            yield from fields(x, names)


def with_fields(state: Any, new: dict[str, Any]) -> Any:
    """The state with other contents under some names."""
    if hasattr(state, "_fields"):
        changed = {
            name: new[name] if name in new else with_fields(x, new)
            for name, x in zip(state._fields, state, strict=True)
        }
        return type(state)(**changed)
    if isinstance(state, tuple | list):
        return type(state)(with_fields(each, new) for each in state)
    return state


COUNTS = ("count", "count_m2", "t", "is_initial_step")
"""What optax's states call the number of steps, or whether there was none."""


def _counted(found: dict[str, Any]) -> Array:
    """How many steps there were; where only the first is told from the others, at most one."""
    if "is_initial_step" in found:
        found = {"t": ~jnp.asarray(found["is_initial_step"]), **found}
    return jnp.asarray(found.get("count", found.get("t", 0)), jnp.int32)


def _is_none(x: Any) -> bool:
    return x is None


@dataclass(frozen=True)
class InOptaxState:
    """`ours`, whose state is that of `theirs`."""

    ours: GradientTransformation
    theirs: optax.GradientTransformation

    takes: ClassVar = {"goes_on"}

    def init(self, params: Params) -> OptState:
        """optax's state, its slots as wide as funcopt keeps them: of half-precision parameters,
        float32 ones.
        """
        state = self.theirs.init(params)
        found = dict(fields(state, self._kept))
        if any(map(_is_complex, jax.tree.leaves(params))):
            types = jax.eval_shape(self.ours.init, params)
            return with_fields(
                state,
                {
                    name: jax.tree.map(_as, getattr(types, name), x)
                    for name, x in found.items()
                    if name not in self._uneven
                },
            )
        return with_fields(
            state, {name: _at_least(self._kept[name], x) for name, x in found.items()}
        )

    def tells(self, params: Params, state: OptState, name: str) -> list[Told]:
        """What funcopt's does, with the slots of optax's state."""
        slots = found_slots(state, params)
        ours = told(self.ours, params, self.ours.init(params), name)
        return [replace(each, slots=own) for each, own in zip(ours, slots, strict=True)]

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params | None = None,
        *,
        gate: Array | None = None,
        goes_on: bool = False,
        **extra_args: Any,
    ) -> tuple[Updates, OptState]:
        found = dict(fields(state, {*COUNTS, *self._kept}))
        missing = [name for name in self._kept if name not in {*found, *self._uneven}]
        if missing:
            raise ValueError(
                f"{self.ours.factory.__name__} got a {type(state).__name__} as its state, in which "
                f"there is no {', '.join(missing)}: `tx.init(params)` makes one, and the order of "
                "arguments is `tx.update(grads, state, params)`."
            )
        count = _counted(found)
        # Leaves that no gradient comes for, as an Equinox model has some, keep their slots.
        leaves, structure = jax.tree.flatten(updates, is_leaf=_is_none)
        here = [x is not None for x in leaves]
        if leaves and not any(here):
            return updates, state
        updates = structure.unflatten([_inexact(x) for x in leaves])
        if params is not None:
            params = jax.tree.map(_inexact, _where(here, structure, params))
        slots = {
            name: _where(here, structure, found[name])
            for name in self._kept
            if name not in self._uneven
        }
        units = self._units(updates, structure)
        for name, of_leaves in units.items():
            parts = structure.flatten_up_to(found[name]) if name in found else of_leaves
            pairs = zip(of_leaves, parts, strict=True)
            slots[name] = structure.unflatten([_shaped(unit, x) for unit, x in pairs])
        given = extra_args if gate is None else {**extra_args, "gate": gate}
        if goes_on:
            given["goes_on"] = True
        out, new = self.ours.update(updates, self._native(slots, count), params, **given)
        renewed = {
            name: _put_back(here, structure, found[name], getattr(new, name))
            for name in slots
            if name not in units
        }
        for name in units.keys() & found.keys():
            columns = found[name], getattr(new, name)
            pairs = zip(*map(structure.flatten_up_to, columns), strict=True)
            renewed[name] = structure.unflatten([_unshaped(old, x) for old, x in pairs])
        for name in set(COUNTS) & set(found):
            said = new.count == 0 if name == "is_initial_step" else new.count
            renewed[name] = jnp.asarray(said, jnp.result_type(found[name]))
        return out, with_fields(state, renewed)

    @property
    def _kept(self) -> dict[str, Any]:
        """The least types of slots, by their names."""
        below = lifted(self.ours)
        kinds = [each.slots for each in below.rules] if isinstance(below, Lifted) else []
        return {
            name: kept_dtype(below.storage, kind, name, jnp.float32)
            for kind in kinds
            for name in kind._fields
        }

    @property
    def _uneven(self) -> list[str]:
        """The slots that a parameter need not have."""
        below = lifted(self.ours)
        rules = below.rules if isinstance(below, Lifted) else ()
        hints = [item for each in rules for item in each.slots.__annotations__.items()]
        return [name for name, hint in hints if type(None) in get_args(hint)]

    def _units(self, updates: Updates, structure: Any) -> dict[str, list[Any]]:
        """Of each uneven slot, what funcopt keeps of each leaf: shapes, or `Absent`."""
        if not self._uneven:
            return {}
        kinds = jax.eval_shape(self.ours.init, updates)
        return {name: structure.flatten_up_to(getattr(kinds, name)) for name in self._uneven}

    def _native(self, slots: dict[str, Params], count: Array) -> LiftedState | TreeState:
        """funcopt's state with these slots; a rate is computed anew in every update."""
        below = lifted(self.ours)
        if isinstance(below, LiftedTree):
            return below.init(())._replace(count=count)
        own = tuple(each.slots(*(slots[n] for n in each.slots._fields)) for each in below.rules)
        lr = None if below.learning_rate is None else jnp.zeros([], jnp.float32)
        return LiftedState(count, lr, own)


def _shaped(unit: Any, x: Any) -> Any:
    """A slot as funcopt has it, of optax's, which has an array of one 0 where there is none."""
    return jnp.reshape(x, unit.shape) if hasattr(unit, "shape") else unit


def _unshaped(old: Any, new: Any) -> Any:
    return old if new is None or isinstance(new, Absent) else jnp.reshape(new, old.shape)


def _inexact(x: Any) -> Any:
    """Integers as the numbers that optax makes of them by multiplying them with its rates."""
    number = isinstance(x, int) or (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.integer))
    return jnp.asarray(x, float) if number else x


def _is_complex(x: Any) -> bool:
    return isinstance(x, complex) or jnp.issubdtype(
        getattr(x, "dtype", np.bool_), np.complexfloating
    )


def _as(kind: jax.ShapeDtypeStruct, x: Array) -> Array:
    """A slot of a complex parameter, of which optax begins real ones as complex."""
    return (x if jnp.issubdtype(kind.dtype, jnp.complexfloating) else x.real).astype(kind.dtype)


def _at_least(least: Any, slot: Params) -> Params:
    def widened(x: Any) -> Any:
        floating = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)
        return x.astype(at_least(x.dtype, least)) if floating else x

    return jax.tree.map(widened, slot)


def _where(here: list[bool], structure: Any, slot: Params) -> Params:
    """The slots of those leaves that a gradient came for."""
    if all(here):
        return slot
    parts = structure.flatten_up_to(slot)
    return structure.unflatten([x if flag else None for x, flag in zip(parts, here, strict=True)])


def _put_back(here: list[bool], structure: Any, old: Params, new: Params) -> Params:
    if all(here):
        return new
    columns = structure.flatten_up_to(old), structure.flatten_up_to(new)
    rows = zip(*columns, here, strict=True)
    return structure.unflatten([b if flag else a for a, b, flag in rows])
