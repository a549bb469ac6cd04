"""The state of one transformation from that of another: other storages, and optax's states."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from optax import Params

from ..storage import coded_at_once
from ..storage.kept import Coded, decoded
from .answers import Holds
from .arguments import is_tracer
from .leaves import Absent, is_kept, of_codes
from .lift import LiftedState
from .paths import path_name, some
from .places import on_device
from .state_fields import Field, Records, alike, by_name, by_path
from .tree_lift import TreeState

COUNTS = {"count": 0, "t": 0, "count_m2": 0, "step_count": 1}
"""What states call the number of steps, and what that begins with."""
FIRST = "is_initial_step"
"""What optax's states call it where they tell no more than whether there was none."""


def convert_state(state: Any, tx: optax.GradientTransformation, params: Params) -> Any:
    """The state with which `tx` goes on from `state`, whose slots are kept in another way.

    `state` is that of the same transformation with another `storage=` or `mu_dtype`, so that a run
    that began in float32 goes on in 8 bits, or the other way around. Or one of the two is optax's:
    a live state of `optax.adamw` becomes that of `funcopt.adamw`, and back.

    Args:
        state: what `init` or `update` of the transformation so far has returned.
        tx: the transformation that goes on, of funcopt or of optax.
        params: the parameters.

    Returns:
        A state like `tx.init(params)`. Slots that both keep in the same way are the same bits,
        others are rounded to the nearest code once. Where the two are nested differently, slots,
        numbers and the count of steps go by their names, and what only `tx` has, such as a guard's
        baseline, is as `tx.init` makes it. Arrays lie in the memory where `tx.init` puts them.

    Raises:
        ValueError: a slot is missing in `state` or would be lost, the same name is there several
            times or means something else, shapes or parameters differ.

    >>> import funcopt, jax.numpy as jnp, optax
    >>> params = {"w": jnp.ones((64, 64))}
    >>> adam = optax.adam(1e-3)
    >>> _, state = adam.update(params, adam.init(params), params)
    >>> in_bits = funcopt.convert_state(state, funcopt.adam(1e-3, storage="8bit"), params)
    >>> int(in_bits.count), in_bits.nu["w"].codes.codes.dtype.name
    (1, 'uint8')
    >>> back = funcopt.convert_state(in_bits, adam, params)
    >>> round(float(back[0].mu["w"][0, 0]), 4)
    0.1
    """
    if isinstance(state, optax.GradientTransformation):
        raise TypeError(
            "convert_state: the order of arguments is `convert_state(state, tx, params)`, got the "
            f"transformation {state!r} as the state."
        )
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"convert_state: tx must be a transformation, got {tx!r}.")
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state)):
        raise TypeError(
            "convert_state: the state has shapes and types in the place of arrays. For those of "
            "the new state, call `jax.eval_shape(lambda x: convert_state(x, tx, params), state)`."
        )
    target, records = tx.init(params), Records.beside(params)
    ours, structure = jax.tree_util.tree_flatten_with_path(target, is_leaf=is_kept)
    theirs = jax.tree_util.tree_leaves_with_path(state, is_leaf=is_kept)
    if [path for path, _ in ours] != [path for path, _ in theirs]:
        return _by_names(target, state, records)
    kinds = [list(map(type, records.all(x))) for x in (target, state)]
    if len(kinds[0]) == len(kinds[1]):
        for wanted, got in zip(*kinds, strict=True):
            _check_kinds(wanted, got)
    pairs = zip(ours, theirs, strict=True)
    return structure.unflatten([_as(path_name(p), new, x) for (p, new), (_, x) in pairs])


def _by_names(target: Any, state: Any, records: Records) -> Any:
    want, have = records.fields(target), records.fields(state)
    wanted = by_name(x for x in want if records.is_slot(x.tree))

    def is_kept_slot(x: Field) -> bool:
        return records.is_slot(x.tree) or (x.name in wanted and records.may_be_slot(x.tree))

    kept = by_name(filter(is_kept_slot, have))
    # Weights that nobody has kept more precisely than the parameters are these.
    for holds in (x for x in records.all(target) if isinstance(x, Holds)):
        for name in {x.name for x in records.fields(getattr(holds, "slots", ()))} - kept.keys():
            wanted.pop(name, None)
    if wanted.keys() != kept.keys() or (want and not any(True for _ in records.all(state))):
        raise ValueError(
            f"convert_state: the state has the slots {some(sorted(kept))}, and the transformation "
            f"keeps {some(sorted(wanted))}. Give the state of the same algorithm, or begin anew "
            "with `tx.init(params)`."
        )
    _check_momentum(target, state, records)
    new = dict(each for name in wanted for each in _slots(wanted[name], kept[name]))
    counting = (*COUNTS, FIRST)
    ours = [x for x in want if x.place not in new and not records.is_slot(x.tree)]
    theirs = [x for x in have if not is_kept_slot(x)]
    found = alike(*([x for x in xs if x.name not in counting] for xs in (ours, theirs)))
    _check_learnt(target, [x for x in ours if x.place not in found], theirs, records)
    new |= {x.place: _number(x.tree, found[x.place]) for x in ours if x.place in found}
    count = _count(by_name(theirs))
    for x in ours:
        if x.name in counting and count is not None:
            said = count == 0 if x.name == FIRST else count + COUNTS[x.name]
            new[x.place] = jnp.asarray(said, jnp.result_type(x.tree))
    return records.replaced(target, iter([new.get(x.place, x.tree) for x in want]))


def _slots(ours: list[Field], theirs: list[Field]) -> list[tuple[int, Any]]:
    """The place of each field of a name, with the slots that go there: by their paths, or in order
    where a path is there several times.
    """
    for each in theirs:
        _check_kinds(ours[0].record, each.record)
    name, parts = ours[0].name, [by_path(each.tree) for each in theirs]
    whole = {path: x for part in parts for path, x in part.items()}
    paths = [list(by_path(each.tree)) for each in ours]
    if len(whole) == sum(map(len, parts)) and sorted(itertools.chain(*paths)) == sorted(whole):
        parts = [{path: whole[path] for path in own} for own in paths]
    if len(ours) != len(parts):
        raise ValueError(
            f"convert_state: there are {len(theirs)} slots {name!r} in the state and {len(ours)} "
            "in the transformation, so that it is not known which is which. Convert the states of "
            "its parts one by one."
        )
    pairs = zip(ours, parts, strict=True)
    return [(each.place, _tree_as(name, each.tree, part)) for each, part in pairs]


def _check_kinds(wanted: type, got: type) -> None:
    """Refuse slots that another algorithm of funcopt calls by the same names."""
    own = all(kind.__module__.startswith("funcopt.") for kind in (wanted, got))
    if own and (wanted.__module__, wanted.__name__) != (got.__module__, got.__name__):
        raise ValueError(
            f"convert_state: the state has {got.__name__}, and the transformation keeps "
            f"{wanted.__name__}. Give the state of the same algorithm, or begin anew with "
            "`tx.init(params)`."
        )


def _check_momentum(target: Any, state: Any, records: Records) -> None:
    """Refuse a momentum that has a learning rate in it where the other one has none."""
    whole = [bool({"nu", "trace"} <= _slot_names(x, records)) for x in (target, state)]
    after = [_traces_steps(x, records) for x in (target, state)]
    if (whole[0] and after[1]) or (whole[1] and after[0]):
        raise ValueError(
            "convert_state: the `trace` of optax's rmsprop is of steps, with the learning rate in "
            "them, and that of funcopt's of directions before it. Neither goes on from the other: "
            "begin anew with `tx.init(params)`."
        )


def _slot_names(state: Any, records: Records) -> set[str]:
    """The slots of a chain of rules, if there is one with a momentum behind something else."""
    chains = (x for x in records.all(state) if isinstance(x, LiftedState))
    names = ({name for slots in x.slots for name in slots._fields} for x in chains)
    return next((each for each in names if "trace" in each), set())


def _traces_steps(state: Any, records: Records) -> bool:
    """Whether there is one of optax's momentums behind one of its means of squares."""
    kinds = [x._fields for x in records.all(state) if not isinstance(x, LiftedState)]
    return ("trace",) in kinds and any("nu" in kind for kind in kinds[: kinds.index(("trace",))])


def _check_learnt(target: Any, left: list[Field], have: list[Field], records: Records) -> None:
    """Refuse what would go on from slots, and without a number that was learnt beside them."""
    trees = [x for x in records.all(target) if isinstance(x, TreeState) and x.slots._fields]
    kinds = {type(x.numbers) for x in trees}
    told = {x.name for x in have}
    for x in left:
        if x.record in kinds and (x.name != "lr" or "lr" in told):
            raise ValueError(
                f"convert_state: the transformation has learnt {x.name!r} beside its slots, of "
                "which there is none in the state, or several. Convert the states of its parts one "
                "by one, or begin anew with `tx.init(params)`."
            )


def _number(target: Any, x: Any) -> Any:
    """A number of the whole state, or numbers, where they are alike; else as it was begun."""
    shapes = [jax.tree.map(np.shape, tree) for tree in (target, x)]
    if shapes[0] != shapes[1]:
        return target
    return jax.tree.map(lambda old, new: _in_memory(jnp.asarray(new, old.dtype), old), target, x)


def _count(found: dict[str, list[Field]]) -> int | Int[Array, ""] | None:
    """How many steps a state has counted; None where it counts none."""
    counts = [x.tree - first for name, first in COUNTS.items() for x in found.get(name, ())]
    shapes = [jnp.shape(x) for x in counts if jnp.ndim(x)]
    if shapes:
        raise ValueError(
            f"convert_state: the state has counts of shape {shapes[0]}, one for each of several "
            "runs. Convert it as it was made: by `jax.vmap` of `convert_state` over states and "
            "parameters."
        )
    known = {int(x) for x in counts if not is_tracer(x)}
    if len(known) > 1:
        raise ValueError(
            f"convert_state: the state has counted {some(sorted(map(str, known)))} steps in "
            "several places, and there is one count. Convert the states of its parts one by one."
        )
    if counts or FIRST not in found:
        return counts[0] if counts else None
    return jnp.where(found[FIRST][0].tree, 0, 1)


def _is_float(x: Any) -> bool:
    return is_kept(x) or jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _is_complex(x: Any) -> bool:
    return not is_kept(x) and jnp.iscomplexobj(x)


def _tree_as(name: str, target: Any, theirs: dict[str, Any]) -> Any:
    """Slots as another tree like them is kept."""
    ours, structure = jax.tree_util.tree_flatten_with_path(target, is_leaf=is_kept)
    names = [path_name(path) for path, _ in ours]
    if set(names) != set(theirs):
        raise of_codes(list(theirs), names) or ValueError(
            f"convert_state: the state's {name} is for the parameters {some(list(theirs))}, not "
            f"for {some(names)}."
        )
    rows = zip(names, ours, strict=True)
    return structure.unflatten([_as(f"{name} of {p!r}", new, theirs[p]) for p, (_, new) in rows])


def _as(where: str, target: Any, x: Any) -> Any:
    """What is kept of a slot or a number as `target` is kept."""
    if isinstance(target, Absent) or isinstance(x, Absent):
        if type(target) is type(x):
            return x
        raise ValueError(
            f"convert_state: {where} is kept by one of the two transformations and not by the "
            "other. Give the state of the same algorithm."
        )
    shapes = [y.shape if isinstance(y, Coded) else np.shape(y) for y in (x, target)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"convert_state: {where} has shape {shapes[0]}, and the transformation keeps "
            f"{shapes[1]}: the state was made for a parameter of another shape."
        )
    if _is_complex(x) and not _is_complex(target):
        raise ValueError(
            f"convert_state: {where} is complex ({x.dtype.name}), and the transformation keeps it "
            "real: the state was made for complex parameters."
        )
    return _in_memory(_kept_as(where, target, on_device(x)), target)


def _kept_as(where: str, target: Any, x: Any) -> Any:
    if isinstance(target, Coded):
        if isinstance(x, Coded) and x.codec == target.codec:
            return x
        return coded_at_once(target.codec, jnp.asarray(decoded(x, jnp.float32), jnp.float32))
    if _is_float(target) and _is_float(x):
        return decoded(x, target.dtype).astype(target.dtype)
    if _is_float(target) or _is_float(x) or (x.dtype != target.dtype and x.dtype.itemsize < 4):
        raise ValueError(
            f"convert_state: {where} is kept in {x.dtype.name}, and the transformation keeps it in "
            f"{target.dtype.name}, which is of another meaning. Go on with the kind of master "
            "weights that the state was made for, or begin anew with `tx.init(params)`."
        )
    return x


def _in_memory(x: Any, like: Any) -> Any:
    """Arrays in the memory in which others lie."""

    def moved(y: Array, old: Array) -> Array:
        space = jax.typeof(old).memory_space
        return y if jax.typeof(y).memory_space == space else jax.device_put(y, space)

    return jax.tree.map(moved, x, like)
