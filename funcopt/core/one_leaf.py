"""A chain of rules on one leaf, behind one `jit` that leaves of the same shape share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from ..math.dtypes import cast, common_dtype
from ..math.norm import is_sharded
from ..storage import Storage, kept_dtype
from ..storage.kept import Coded, decoded
from .again import kept as slot_again
from .chunks import in_chunks
from .leaf import View
from .leaves import Absent
from .one_pass import each_by_itself
from .report import of_leaf
from .rule import Clock, Rule
from .steps import is_whole

Sight = View | Literal[False] | None
"""How a rule sees a leaf: in a view, None for as it is, False for not at all."""


def slots_of(rule: Rule, array: Array, view: View | None) -> Any:
    """The slots of one parameter, those of the shape of what the rule sees in its own shape."""
    if view is None:
        return rule.init(array)
    begin_all = rule.init
    for _ in range(view.stacked):
        begin_all = jax.vmap(begin_all)
    slots = begin_all(view.of(array))
    unit = jax.eval_shape(rule.init, jax.ShapeDtypeStruct(view.unit, array.dtype))
    return type(slots)(
        *(
            view.back(x, array.shape) if u is not None and u.shape == view.unit else x
            for x, u in zip(slots, unit, strict=True)
        )
    )


@dataclass(frozen=True)
class ChainPlan:
    """The static side of a chain of rules at one step.

    Numbers that are known in Python stay Python numbers, so that 1 - b2 is exact before it is
    rounded; only arrays are traced. `kept` has the dtypes of slots where arithmetic is in float32.
    """

    structure: Any
    known: tuple[float | None, ...]
    slots: tuple[type, ...]
    kept: tuple[tuple[Any, ...], ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Asked for by `jit` for every leaf."""
        return hash((self.structure, self.known, self.slots, self.kept))

    @staticmethod
    def of(rules: tuple[Rule, ...], storage: Storage) -> tuple["ChainPlan", tuple[Array, ...]]:
        leaves, structure = jax.tree.flatten(rules)
        known = tuple(x if isinstance(x, int | float) else None for x in leaves)
        numbers = tuple(x for x in leaves if not isinstance(x, int | float))
        slots = tuple(each.slots for each in rules)
        kept = tuple(
            tuple(kept_dtype(storage, each, name, jnp.float32) for name in each._fields)
            for each in slots
        )
        return ChainPlan(structure, known, slots, kept), numbers

    def rules(self, numbers: Sequence[Array]) -> tuple[Rule, ...]:
        fill = iter(numbers)
        return jax.tree.unflatten(
            self.structure, [next(fill) if x is None else x for x in self.known]
        )

    def rows(self, flat: Sequence[Any]) -> tuple:
        """A flat list of slots, grouped by rule."""
        grouped, begin = [], 0
        for each in self.slots:
            end = begin + len(each._fields)
            grouped.append(each(*flat[begin:end]))
            begin = end
        return tuple(grouped)


@partial(jax.jit, static_argnames=("plan", "sights", "goes_on", "apart", "rows"))
def on_leaf(
    plan: ChainPlan,
    sights: tuple[Sight, ...],
    goes_on: bool,
    apart: bool,
    numbers: tuple[Array, ...],
    grad: Array,
    factor: Array | None,
    slots: tuple,
    param: Array | None,
    clock: Clock,
    rows: int = 0,
) -> tuple[Array, list[Any], list[Any]]:
    """The whole chain of rules on one leaf, in the type of the arithmetic.

    The gradient is `factor` times `grad`. Returns the update, the slots, and what the rules that
    report say, None where one is not active. With `apart`, each array is computed by itself; else
    with `rows`, so many rows after the others.
    """
    if rows and not apart:

        def of_rows(grad: Array, kept: list[Any], param: Array | None, first: Array) -> Any:
            here = replace(clock, first=first)
            grouped = plan.rows(kept)
            return _chained(plan, sights, goes_on, numbers, grad, factor, grouped, param, here)[:2]

        flat = [x for each in slots for x in each]
        return *in_chunks(rows, of_rows, clock.t > 0, grad, flat, param), []
    if not apart:
        return _chained(plan, sights, goes_on, numbers, grad, factor, slots, param, clock)

    def evaluate(grad: Array, factor: Array | None, slots: tuple, param: Array | None) -> list[Any]:
        update, kept, _ = _chained(
            plan, sights, goes_on, numbers, grad, factor, slots, param, clock
        )
        return [update, *kept]

    update, *kept = each_by_itself(evaluate, grad, factor, slots, param)
    return update, kept, []


def _chained(
    plan: ChainPlan,
    sights: tuple[Sight, ...],
    goes_on: bool,
    numbers: tuple[Array, ...],
    grad: Array,
    factor: Array | None,
    slots: tuple,
    param: Array | None,
    clock: Clock,
) -> tuple[Array, list[Any], list[Any]]:
    like = [param] if param is not None else [grad, *jax.tree.leaves(slots)]
    dtype = common_dtype(jnp.float32, *like)
    real = jnp.finfo(dtype).dtype
    rules = plan.rules([x if is_whole(x) else cast(x, real) for x in numbers])
    lr = None if clock.lr is None else cast(clock.lr, real)
    diagonal = clock.hessian_diagonal
    diagonal = None if diagonal is None else cast(diagonal, real)
    clock = replace(clock, lr=lr, hessian_diagonal=diagonal)

    update = cast(grad, dtype) if factor is None else cast(factor, real) * cast(grad, dtype)
    p = None if param is None else cast(param, dtype)
    flat: list[Any] = []
    reports: list[Any] = []
    for each, sight, kept, natural in zip(rules, sights, slots, plan.kept, strict=True):
        if sight is not False:
            wide = [None if isinstance(x, Absent) else decoded(x, dtype) for x in kept]
            update, new, report = _applied(each, sight, update, type(kept)(*wide), p, clock)
            rows = zip(kept._fields, new, wide, kept, natural, strict=True)
            for name, x, w, old, narrow in rows:
                least = narrow if w is None or w.dtype == jnp.float32 else w.dtype
                flat.append(_kept_again(each, name, x, old, least, clock))
        else:
            flat += kept
            report = None
        if each.report._fields:
            reports.append(None if report is None else of_leaf(report))
    update = update if goes_on else clock.choose_step(update)
    return cast(update, (grad if param is None else param).dtype), flat, reports


def _kept_again(
    rule: Rule, name: str, new: Array | None, old: Any, least: Any, clock: Clock
) -> Any:
    """A renewed slot as it was kept; codes that lose digits are selected once more."""
    kept = slot_again(rule, name, new, old, least, clock)
    return jax.tree.map(clock.choose, kept, old) if isinstance(old, Coded) else kept


def _applied(
    rule: Rule, view: View | None, update: Array, slots: Any, param: Array | None, clock: Clock
) -> tuple[Array, Any, Any]:
    """One rule on one leaf, of which it sees every stacked part by itself."""
    if rule.acts_on == "matrix" and is_sharded(update):
        return _on_whole_matrices(rule, view, update, slots, param, clock)
    if view is None:
        return _checked(rule, rule.update(update, slots, param, clock), update, slots)
    same = _of_shape(rule, view, update)
    moved = type(slots)(*(view.of(x) if s else x for x, s in zip(slots, same, strict=True)))

    def of_unit(update: Array, slots: Any, param: Array | None) -> tuple[Array, Any, Any]:
        return _checked(rule, rule.update(update, slots, param, clock), update, slots)

    for _ in range(view.stacked):
        of_unit = jax.vmap(of_unit)
    seen = None if param is None else view.of(param)
    new_update, new, report = of_unit(view.of(update), moved, seen)
    shape = update.shape
    new = type(slots)(*(view.back(x, shape) if s else x for x, s in zip(new, same, strict=True)))
    return view.back(new_update, shape), new, report


def _of_shape(rule: Rule, view: View, like: Array) -> list[bool]:
    """Which slots have the shape of what the rule sees."""
    unit = jax.eval_shape(rule.init, jax.ShapeDtypeStruct(view.unit, like.dtype))
    return [u is not None and u.shape == view.unit for u in unit]


def _on_whole_matrices(
    rule: Rule, view: View | None, update: Array, slots: Any, param: Array | None, clock: Clock
) -> tuple[Array, Any, Any]:
    """A rule for matrices on a leaf in parts on an explicit mesh, where a product of parts would be
    told its place: every device has all matrices as a whole, or those of the layers that it has.
    """
    layers = () if view is None else view.order[: view.stacked]
    kept = jax.typeof(update).sharding.spec
    whole = P(*(place if axis in layers else None for axis, place in enumerate(kept)))
    of_layers = P(*(kept[axis] for axis in layers))

    def places(x: Array) -> P:
        return whole if x.shape == update.shape else of_layers

    given = update, slots, param
    specs = jax.tree.map(places, given)
    numbers, structure = jax.tree.flatten((rule, clock))
    known = [x if isinstance(x, int | float) else None for x in numbers]

    def run(given: tuple, arrays: list[Array]) -> tuple[Array, Any, Any]:
        fill = iter(arrays)
        full = [next(fill) if x is None else x for x in known]
        rule, clock = jax.tree.unflatten(structure, full)
        update, slots, param = given
        return _applied(rule, view, update, slots, param, clock)

    if any(each is not None for each in of_layers):
        out = *specs[:2], of_layers
        run = jax.shard_map(run, in_specs=(specs, P()), out_specs=out)
    arrays = [x for x in numbers if not isinstance(x, int | float)]
    *new, report = run(jax.tree.map(jax.sharding.reshard, given, specs), arrays)

    def back(x: Array, old: Array) -> Array:
        return jax.sharding.reshard(x, jax.typeof(old).sharding.spec)

    return *jax.tree.map(back, tuple(new), given[:2]), report


def _checked(rule: Rule, done: Any, grad: Array, kept: Any) -> tuple[Array, Any, Any]:
    """What a rule's `update` returned, refused if its kinds or shapes are not those of the leaf."""
    name = f"{type(rule).__name__}.update"
    reports = bool(rule.report._fields)  # type: ignore[attr-defined]
    fine = isinstance(done, tuple) and len(done) == 2 + reports and type(done[1]) is type(kept)
    if not fine or (reports and type(done[2]) is not rule.report):
        said = f", {rule.report.__name__}(...)" if reports else ""
        raise TypeError(
            f"{name} must return (update, {type(kept).__name__}(...){said}), got {done!r}."
        )
    update, new = done[:2]
    if jnp.shape(update) != grad.shape:
        raise ValueError(
            f"{name} returned an update of shape {jnp.shape(update)} for a gradient of shape "
            f"{grad.shape}."
        )
    for field, x, old in zip(kept._fields, new, kept, strict=True):
        if (x is None) != (old is None):
            raise TypeError(f"{name} returned {field} = {x!r}, but it is kept as {old!r}.")
        if x is None:
            continue
        if jnp.shape(x) != old.shape:
            raise ValueError(
                f"{name} returned {field} of shape {jnp.shape(x)}, but it is kept with shape "
                f"{old.shape}."
            )
        if jnp.iscomplexobj(x) and not jnp.iscomplexobj(old):
            raise TypeError(
                f"{name} returned a complex {field} ({x.dtype}), but it is kept as {old.dtype}. "
                "Is the gradient complex where the parameter is real?"
            )
    return update, new, done[2] if reports else None
