"""What a transformation does with each parameter, told by what runs.

Whoever has a method `tells` answers for the leaves that its `init` is given, from the same records
of leaves and with the state that `init` has made. What optax made has none: what it wraps is found
by what its `init` calls, and its own slots by their paths.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import OptState, Params

from ..storage import Storage, how_kept
from ..storage.kept import Coded
from .arguments import is_tracer
from .leaf import Leaf
from .leaves import Absent, is_kept
from .paths import path_name, path_names
from .refusals import called
from .value import Configured


class Slot(NamedTuple):
    """What is kept of one parameter under one name; `dtype` is a codec's name where it has one."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


class Decaying(NamedTuple):
    """How a rule decays a parameter, by which number, which may be 0, and how often the learning
    rate is a factor of that, of which factors before it are a part.
    """

    how: str
    number: Any
    rate_power: int = 0


@dataclass(frozen=True)
class Act:
    """What one rule does with one parameter.

    Args:
        name: of the rule, as users call it.
        keeps: whether it has slots.
        decay: how it decays the parameter; None for what is no decay.
        factor: what the learning rate is multiplied by, a number, an array by layer, or a schedule.
        scale: what a matrix is multiplied by for its shape.
        descends: whether it multiplies by the learning rate.
    """

    name: str
    keeps: bool = False
    decay: Decaying | None = None
    factor: Any = None
    scale: float | None = None
    descends: bool = False

    @property
    def is_told_elsewhere(self) -> bool:
        """Whether a rate, a factor or a decay is all that it is."""
        numbers = (self.decay, self.factor, self.scale)
        return not self.keeps and (self.descends or any(x is not None for x in numbers))


class Part(NamedTuple):
    """A transformation by its name, and how much of it no other column tells: 0 for nothing, 2
    where it keeps something of the parameter, or descends.
    """

    name: str
    weight: int = 1


@dataclass(frozen=True)
class Told:
    """What a transformation does with one parameter.

    Args:
        acts: what its rules do, in order.
        parts: the transformations that these rules are of.
        slots: what is kept of the parameter.
        learning_rate: numbers and schedules that it multiplies by.
        leaf: the record of the parameter, where a rule looks at its axes.
        group: the labels of its groups, the outermost first.
        why: reasons, in words.
        frozen: whether it stays where it is.
    """

    acts: tuple[Act, ...] = ()
    parts: tuple[Part, ...] = ()
    slots: tuple[Slot, ...] = ()
    learning_rate: tuple[Any, ...] = ()
    leaf: Leaf | None = None
    group: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    frozen: bool = False

    def __add__(self, after: "Told") -> "Told":
        return Told(
            self.acts + after.acts,
            self.parts + after.parts,
            self.slots + after.slots,
            self.learning_rate + after.learning_rate,
            self.leaf or after.leaf,
            self.group + after.group,
            self.why + tuple(x for x in after.why if x not in self.why),
            self.frozen or after.frozen,
        )


@runtime_checkable
class Tells(Protocol):
    """A transformation that tells what it does with each leaf of the parameters.

    `state` is what its `init` has made of them, `name` the factory's whose value it is, if any.
    """

    def tells(self, params: Params, state: Any, name: str) -> list[Told]: ...


def told(tx: Any, params: Params, state: OptState, name: str = "") -> list[Told]:
    """What `tx` does with each leaf, in order; `state` is what its `init` made of them."""
    name, body = _opened(tx, name)
    return (
        body.tells(params, state, name) if isinstance(body, Tells) else foreign(body, params, name)
    )


def told_in_turn(members: Sequence[Any], params: Params, states: Sequence[Any]) -> list[Told]:
    """What transformations that are applied one after the other do with each leaf."""
    out = [Told() for _ in path_names(params)]
    for tx, state in zip(members, states, strict=True):
        out = [a + b for a, b in zip(out, told(tx, params, state), strict=True)]
    return out


def _opened(tx: Any, name: str) -> tuple[str, Any]:
    """What a value is made of, by the name of the outermost factory."""
    while isinstance(tx, Configured):
        name = name or tx.factory.__name__
        tx = tx.body()
    return name, tx


def kept_slot(name: str, x: Any) -> Slot:
    """A slot as it is kept, of an array or of codes."""
    size = sum(math.prod(a.shape) * a.dtype.itemsize for a in jax.tree.leaves(x))
    if isinstance(x, Coded):
        return Slot(name, tuple(x.shape), x.codec.name, size)
    return Slot(name, tuple(x.shape), x.dtype.name, size)


def kept_slots(slots: Any) -> list[tuple[Slot, ...]]:
    """The slots of each leaf, of a NamedTuple of trees."""
    columns = [
        (name, jax.tree.leaves(tree, is_leaf=is_kept))
        for name, tree in slots._asdict().items()
        if tree is not None
    ]
    count = len(columns[0][1]) if columns else 0
    return [
        tuple(kept_slot(name, x[i]) for name, x in columns if not isinstance(x[i], Absent))
        for i in range(count)
    ]


def why_in_full(
    storage: Storage, classes: Mapping[str, type], path: str, slots: Sequence[Slot]
) -> tuple[str, ...]:
    """Why slots of one parameter are in float32 that a storage would keep in fewer bits elsewhere.

    `classes` has the NamedTuple class of each slot.
    """
    found: dict[str, list[str]] = {}
    for slot in slots:
        if slot.dtype == "float32" and slot.name in classes:
            like = jax.ShapeDtypeStruct(slot.shape, jnp.float32)
            why = how_kept(storage, classes[slot.name], slot.name, like, path).why
            found.setdefault(why, []).append(slot.name)
    return tuple(f"{', '.join(names)} in float32: {why}" for why, names in found.items() if why)


def found_slots(node: Any, params: Params) -> list[tuple[Slot, ...]]:
    """The slots of each leaf in a state of any kind: what lies at a path that ends as the leaf's.

    An array that stands for all parameters is known by its shape.
    """
    names = path_names(params)
    places = {name: i for i, name in enumerate(names)}
    shapes = [jnp.shape(x) for x in jax.tree.leaves(params)]
    found: list[list[Slot]] = [[] for _ in names]
    for path, x in jax.tree_util.tree_leaves_with_path(node, is_leaf=is_kept):
        if isinstance(x, Absent) or not (isinstance(x, Coded) or hasattr(x, "dtype")):
            continue
        pieces = path_name(path).split("/")
        for at in range(len(pieces) + 1):
            i = places.get("/".join(pieces[at:]))
            if i is None:
                continue
            inexact = isinstance(x, Coded) or jnp.issubdtype(x.dtype, jnp.inexact)
            if names[i] or (inexact and x.shape == shapes[i]):
                found[i].append(kept_slot(_slot_name(pieces[:at]), x))
            break
    return [tuple(row) for row in found]


_WRAPPING = ("slots", "inner", "inner_state", "inner_states", "inner_opt_state")


def _slot_name(pieces: list[str]) -> str:
    told = [x for x in pieces if x and not x.isdigit() and x not in _WRAPPING]
    return "/".join(told) or "state"


def foreign(tx: Any, params: Params, name: str = "") -> list[Told]:
    """What a transformation that does not tell does: what it wraps, and what its state keeps."""
    with recording() as calls:
        state = tx.init(params)
    if any(map(_is_injected, jax.tree.leaves(state, is_leaf=_is_injected))):
        calls = _with_known_numbers(tx, calls)
    names = path_names(params)
    places = {name: i for i, name in enumerate(names)}
    out = [Told() for _ in names]
    for called_so, body, own, made in calls:
        rows = zip(path_names(own), told(body, own, made, called_so), strict=True)
        for path, each in rows:
            if path in places:
                out[places[path]] += each

    def is_told(x: Any) -> bool:
        return any(x is made for _, _, _, made in calls)

    rest = jax.tree.map(lambda x: None if is_told(x) else x, state, is_leaf=is_told)
    masked = isinstance(state, optax.MaskedState)
    left = "left out by masked, which passes its gradient on as it is"
    own_name = name or _state_name(rest)
    for i, slots in enumerate(found_slots(rest, params)):
        part = (Part(own_name, 2),) if slots else ()
        acts = (Act(own_name, keeps=True),) if slots else ()
        passes = not slots and out[i] == Told()
        why = (left if masked else "optax's own rules alone, which keep nothing of it",)
        out[i] += Told(acts, part, slots, why=why if passes else ())
    return out


def _is_injected(x: Any) -> bool:
    return isinstance(x, optax.InjectStatefulHyperparamsState | optax.InjectHyperparamsState)


def _with_known_numbers(tx: Any, calls: "list[Call]") -> "list[Call]":
    """The same calls, of which `inject_hyperparams` has made arrays that a trace does not know."""
    with jax.ensure_compile_time_eval(), recording() as known:
        tx.init({})
    if len(known) != len(calls):
        return calls
    return [call._replace(body=other.body) for call, other in zip(calls, known, strict=True)]


def _state_name(state: Any) -> str:
    """What optax calls that of which this is the state: `scale_by_adam`."""
    found = [called(type(x)).removesuffix("_state") for x in _states_with_trees(state)]
    return ", ".join(dict.fromkeys(found)) or called(type(state)).removesuffix("_state")


def _states_with_trees(node: Any) -> Iterator[Any]:
    """The states that have trees of their own, not only those of others."""
    below = jax.tree.leaves(node, is_leaf=lambda x: x is not node)
    own = [x for x in below if not isinstance(x, tuple)]
    if hasattr(node, "_fields") and any(
        isinstance(x, dict | list) or getattr(x, "ndim", 0) for x in own
    ):
        yield node
    for x in below:
        if isinstance(x, tuple) and x is not node:
            yield from _states_with_trees(x)


class Call(NamedTuple):
    """One call of `init`: of a factory's value, of what it is made of, with what, and the state."""

    name: str
    body: Any
    params: Params
    state: OptState


_CALLS: ContextVar[list[Call] | None] = ContextVar("calls", default=None)


@contextmanager
def recording() -> Iterator[list[Call]]:
    """A list of the calls of `init` of funcopt's transformations, but not of those inside them."""
    calls: list[Call] = []
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def recorded(name: str, body: Any, params: Params) -> OptState:
    """`body.init(params)`, which is recorded where that is wanted."""
    calls = _CALLS.get()
    if calls is None:
        return body.init(params)
    token = _CALLS.set(None)
    try:
        state = body.init(params)
    finally:
        _CALLS.reset(token)
    calls.append(Call(name, body, params, state))
    return state


def sized(count: float) -> str:
    """Bytes as people read them.

    >>> sized(328), sized(4096), sized(2.5e9)
    ('328 B', '4.1 kB', '2.5 GB')
    """
    unit = "B"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"


def is_nothing(number: Any) -> bool:
    """Whether a number is known to be 0."""
    if callable(number) or is_tracer(number):
        return False
    return number is None or (np.ndim(number) == 0 and float(number) == 0)


def act_of(rule: Any, **more: Any) -> Act:
    """What a rule for arrays or for trees does, as far as it says so itself."""
    number = getattr(rule, "weight_decay", None) if getattr(rule, "decays", True) else None
    decay = None
    if rule.decays_by and number is not None:
        decay = Decaying(rule.decays_by, number, getattr(rule, "rate_power", 0))
    return Act(called(type(rule)), bool(rule.slots._fields), decay, **more)


def parts_of(acts: Sequence[Act], name: str = "") -> tuple[Part, ...]:
    """Rules as one transformation of this name, or each by its own."""
    if not name:
        return tuple(Part(act.name, _weight([act])) for act in acts if not act.is_told_elsewhere)
    return (Part(name, _weight(acts)),) if acts else ()


def _weight(acts: Sequence[Act]) -> int:
    if any(act.keeps or act.descends for act in acts):
        return 2
    return int(not all(act.is_told_elsewhere for act in acts))
