"""Lifts rules, written for one array, to transformations of a pytree.

The only module that knows both trees and rules. It resolves schedules, promotes to the type of
the arithmetic, keeps slots as their storage says, and runs the whole chain of rules on one leaf
behind one nested `jit`, which leaves of the same shape share: tracing a thousand of them costs
hardly more than tracing one, and so does calling `update` outside of `jit`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, ScalarOrSchedule, Updates

from ..math.dtypes import at_least, cast, common_dtype
from ..math.varying import named, varying_along, varying_axes
from ..storage import Storage, check_slots, first_kept, kept_dtype
from ..storage.kept import Coded, decoded, kept_again
from .arguments import check_fields, number_at
from .feedback import begin, hear, spoken
from .leaf import Leaf, View, described, view_of
from .leaves import Absent, gradients_beside, in_full, is_kept, parameters
from .paths import Mask, checked_mask, marked, path_codes
from .record import record
from .report import of_leaf, reported, together
from .rule import Clock, Rule


class LiftedState(NamedTuple):
    """The state of a lifted chain of rules.

    `lr` is the learning rate in force, None where there is none; `slots` has one NamedTuple for
    each rule, whose fields are trees shaped like the parameters. A slot is also an attribute of
    the state, as it is in optax: `state.mu`. `feedback` has the states of the schedules that
    listen to a metric, `reports` what the rules that report have said of the last step.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""] | None
    slots: tuple
    feedback: tuple = ()
    reports: tuple = ()

    def metrics(self) -> dict[str, Array]:
        told = {} if self.lr is None else {"lr": self.lr}
        for report in self.reports:
            told |= reported(report)
        return told

    def __getattr__(self, name: str) -> Params:
        for each in (*self.slots, *self.reports):
            if name in each._fields:
                return getattr(each, name)
        raise AttributeError(f"The state has no slot {name!r}.")


@record
class Where:
    """A rule without slots that works on some parameters only and passes the others through."""

    rule: Rule
    mask: Any


def where(mask: Mask, rule: Rule) -> Rule | Where:
    """`rule`, for the parameters that `mask` means."""
    if not isinstance(rule, Rule):
        raise TypeError(
            f"where takes a rule such as funcopt.Scale(0.1), got {rule!r}. For a transformation on "
            "some parameters only, use funcopt.partition({pattern: transformation}) or "
            "optax.masked(transformation, mask)."
        )
    if mask is None:
        return rule
    if rule.slots._fields:  # type: ignore[attr-defined]
        raise ValueError(f"{type(rule).__name__} has slots; only a rule without can be masked.")
    return Where(rule, checked_mask("where: mask", mask))


@dataclass(frozen=True)
class Lifted:
    """The pair `(init, update)` of a chain of rules.

    Leaves that are no hidden matrix go through `otherwise`, another chain, if there is one.
    """

    chain: tuple[Rule | Where, ...]
    learning_rate: ScalarOrSchedule | None
    storage: Storage
    otherwise: tuple[Rule | Where, ...] | None = None
    layer_axis: Any = None
    matrices: Any = None
    hidden: Any = None

    def __post_init__(self):
        for each in self.rules:
            if not isinstance(each, Rule):
                raise TypeError(
                    f"Expected a rule such as funcopt.Adam(), got {each!r}. Transformations are "
                    "put together with funcopt.chain."
                )
            check_fields(each)
        check_slots(self.storage, [each.slots for each in self.rules])

    @property
    def members(self) -> tuple[Rule | Where, ...]:
        """The rules of both chains."""
        return (*self.chain, *(self.otherwise or ()))

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(each.rule if isinstance(each, Where) else each for each in self.members)

    def init(self, params: Params) -> LiftedState:
        arrays, structure = parameters(params)
        tree = jax.tree.unflatten(structure, arrays)
        self._active(tree)  # a mask that fits nothing is told here
        ways = self._ways(tree)
        feedback = begin(self._numbers)
        learning_rate, rules = spoken(self._numbers, feedback)
        slots, reports = [], []
        for i, each in enumerate(_at(0, rules)):
            kept = [self._kept(i, each, *leaf) for leaf in zip(arrays, ways, strict=True)]
            columns = zip(*kept, strict=True) if kept else [()] * len(each.slots._fields)
            slots.append(each.slots(*(jax.tree.unflatten(structure, column) for column in columns)))
            if each.report._fields:
                reports.append(_no_report(each, arrays))
        count = jnp.zeros([], jnp.int32)
        lr = _rate(learning_rate, count)
        if lr is not None:
            lr = lr.astype(jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype)
        return LiftedState(count, lr, tuple(slots), feedback, tuple(reports))

    def update(
        self,
        updates: Updates,
        state: LiftedState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, LiftedState]:
        del extra_args  # they are for other members of a chain
        self._check_params(params)
        state = self._own(state)
        old = [tree for slots in state.slots for tree in slots]
        leaves, structure = gradients_beside(
            updates,
            params,
            old,
            names=self._slot_names,
            shape_of=lambda j, i, x: self._slot_shape(j, x, self._ways(updates)[i]),
        )

        heard = in_full(state.feedback)
        feedback = hear(self._numbers, heard, value, metric, state.count)
        learning_rate, rules = spoken(self._numbers, feedback)
        t = jnp.asarray(optax.safe_increment(state.count))
        lr = _rate(learning_rate, state.count)
        clock = Clock(t, lr, gate)
        shown = [leaf.grad if leaf.param is None else leaf.param for leaf in leaves]
        shown = jax.tree.unflatten(structure, shown)
        ways = self._ways(shown)
        parts = self._parts(_at(state.count, rules))
        plans = [_Plan.of(part, self.storage) for part in parts]
        codes = self._codes(shown, len(leaves))
        done = []
        for leaf, way, active, code in zip(leaves, ways, self._active(shown), codes, strict=True):
            plan, numbers = plans[way.chain]
            first = way.chain * len(self._fields(0))
            slots = plan.rows(leaf.slots[first : first + plan.width])
            active = active[len(self.chain) :] if way.chain else active[: len(self.chain)]
            at = Clock(t, lr, gate, code)
            done.append(_leaf(plan, active, way.views, numbers, leaf.grad, slots, leaf.param, at))

        rows = [self._row(way, kept) for way, (_, kept, _) in zip(ways, done, strict=True)]
        renewed = zip(*rows, strict=True) if rows else [()] * len(old)
        trees = iter(
            [
                jax.tree.unflatten(jax.tree.structure(tree, is_leaf=is_kept), new)
                for tree, new in zip(old, renewed, strict=True)
            ]
        )
        new_state = LiftedState(
            count=clock.choose(t, state.count),
            lr=_renewed_rate(lr, state.lr, clock),
            slots=tuple(each.slots(*(next(trees) for _ in each.slots._fields)) for each in rules),
            feedback=jax.tree.map(clock.choose, feedback, heard),
            reports=self._reports(ways, [report for _, _, report in done], state.reports, clock),
        )
        return jax.tree.unflatten(structure, [update for update, _, _ in done]), new_state

    def _fields(self, chain: int) -> list[str]:
        rules = self.rules[len(self.chain) :] if chain else self.rules[: len(self.chain)]
        return [name for each in rules for name in each.slots._fields]

    def _parts(self, rules: tuple[Rule, ...]) -> list[tuple[Rule, ...]]:
        """The rules of each chain."""
        return [rules[: len(self.chain)], rules[len(self.chain) :]]

    def _ways(self, tree: Params) -> list["_Way"]:
        """For each leaf, the chain that it goes through, and how the rules of that see it."""
        acts = {each.acts_on for each in self.rules}
        told = self.layer_axis is not None or self.matrices is not None or self.hidden is not None
        if acts <= {"element"} and not (told or self.otherwise is not None):
            return [_Way(0, (None,) * len(self.chain))] * len(jax.tree.leaves(tree))
        if not told and self.otherwise is None and "matrix" not in acts:
            return [_Way(0, (None,) * len(self.chain))] * len(jax.tree.leaves(tree))
        return [
            self._way(leaf) for leaf in described(tree, self.layer_axis, self.matrices, self.hidden)
        ]

    def _way(self, leaf: Leaf) -> "_Way":
        first, rest = self._parts(self.rules)
        by_matrix = [each for each in first if each.acts_on == "matrix"]
        chain = 1 if leaf.matrix is None and self.otherwise is not None else 0
        if chain == 0 and by_matrix and leaf.matrix is None:
            raise ValueError(
                f"{type(by_matrix[0]).__name__} acts on matrices, but the parameter {leaf.path!r} "
                f"has the shape {leaf.shape}"
                + (f" with layers along {leaf.stacked}" if leaf.stacked else "")
                + ". Give the rules for such parameters as otherwise=, or say by matrices= which "
                "of its axes make a matrix."
            )
        views = tuple(view_of(leaf, each.acts_on) for each in (rest if chain else first))
        return _Way(chain, views)

    def _codes(self, tree: Params, count: int) -> list[Any]:
        """A number for the path of each leaf, where a rule needs it."""
        needed = any(each.needs_path for each in self.rules)
        return list(path_codes(tree)) if needed else [None] * count

    def _row(self, way: "_Way", kept: list[Any]) -> list[Any]:
        """The slots of both chains, of which a leaf has only those of its own."""
        if self.otherwise is None:
            return kept
        none = [Absent()] * len(self._fields(1 - way.chain))
        return none + kept if way.chain else kept + none

    def _reports(self, ways: list, parts: list, old: tuple, clock: Clock) -> tuple:
        """What each rule that reports says of all its leaves."""
        of_rules: list[list[Any]] = []
        for chain, rules in enumerate(self._parts(self.rules)):
            said = [part for way, part in zip(ways, parts, strict=True) if way.chain == chain]
            reporting = sum(bool(each.report._fields) for each in rules)
            for i in range(reporting):
                of_rules.append([part[i] for part in said if part[i] is not None])
        return tuple(
            _chosen(together(of_leaves), was, clock) if of_leaves else was
            for of_leaves, was in zip(of_rules, old, strict=True)
        )

    def _kept(self, index: int, rule: Rule, array: Array, way: "_Way") -> list[Any]:
        """The slots of one parameter as they are kept."""
        own = index - (len(self.chain) if way.chain else 0)
        if (index >= len(self.chain)) != bool(way.chain):
            return [Absent() for _ in rule.slots._fields]
        slots = _slots_of(rule, array, way.views[own])
        return [
            Absent() if x is None else first_kept(self.storage, rule.slots, name, x)
            for name, x in slots._asdict().items()
        ]

    @property
    def _slot_names(self) -> list[str]:
        return [name for each in self.rules for name in each.slots._fields]

    def _slot_shape(self, index: int, array: Array, way: "_Way") -> tuple[int, ...] | None:
        """The shape that a rule gives to a slot of `array`, which need not be the array's."""
        kept: list[Any] = []
        for i, rule in enumerate(_at(0, self.rules)):
            own = i - (len(self.chain) if way.chain else 0)
            if (i >= len(self.chain)) != bool(way.chain):
                kept += [None] * len(rule.slots._fields)
                continue
            kept += jax.eval_shape(lambda x: _slots_of(rule, x, way.views[own]), array)  # noqa: B023
        return None if kept[index] is None else kept[index].shape

    @property
    def _numbers(self) -> tuple[Any, tuple[Rule, ...]]:
        """Everything that may be a schedule."""
        return self.learning_rate, self.rules

    def _check_params(self, params: Params | None) -> None:
        needy = [type(each).__name__ for each in self.rules if each.needs_params]
        if params is None and needy:
            raise ValueError(
                f"{', '.join(needy)} needs the parameters: call "
                "`tx.update(grads, state, params)`, not `tx.update(grads, state)`."
            )

    def _own(self, state: Any) -> LiftedState:
        """The state, if it is of this transformation, which may be anything if nothing is kept.

        Rules that keep nothing may come and go between the runs of a state: `adamw` goes on from
        what `adam` has left.
        """
        expected = tuple(each.slots for each in self.rules)
        found = tuple(map(type, state.slots)) if isinstance(state, LiftedState) else None
        if found == expected:
            return state._replace(reports=self._own_reports(state))
        if found is not None and (state.lr is None) == (self.learning_rate is None):
            kept = [slots for slots in state.slots if slots._fields]
            if list(map(type, kept)) == [kind for kind in expected if kind._fields]:
                fill = iter(kept)
                slots = tuple(next(fill) if kind._fields else kind() for kind in expected)
                reports = self._own_reports(state)
                return LiftedState(state.count, state.lr, slots, state.feedback, reports)
        scheduled = any(map(callable, jax.tree.leaves(self.rules, is_leaf=callable)))
        if self.learning_rate is None and not scheduled and not any(s._fields for s in expected):
            return self.init(())
        rules = ", ".join(type(each).__name__ for each in self.rules)
        got = f"a {type(state).__name__}" if found is None else _names(found)
        raise ValueError(
            f"The state is not one of this transformation, whose rules {rules} keep "
            f"{_names(expected)}: got {got}. `tx.init(params)` makes a state, the order of "
            "arguments is `tx.update(grads, state, params)`, and a checkpoint keeps its types if "
            "it is restored with such a state as its target."
        )

    def _own_reports(self, state: LiftedState) -> tuple:
        """The reports of a state, begun anew where they are others: no update reads them."""
        kinds = [each for each in self.rules if each.report._fields]
        if [type(x) for x in state.reports] == [each.report for each in kinds]:
            return in_full(state.reports)
        arrays = [x for slots in state.slots for x in jax.tree.leaves(slots)]
        return tuple(_no_report(each, arrays) for each in kinds)

    def _active(self, tree: Params) -> list[tuple[bool, ...]]:
        """For each leaf of the parameters, which rules work on it."""
        count = jax.tree.structure(tree).num_leaves
        flags = [[True] * count] * len(self.members)
        for i, each in enumerate(self.members):
            if isinstance(each, Where):
                flags[i] = marked(each.mask, tree)
        return list(zip(*flags, strict=True)) if flags else [()] * count


def _names(slots: tuple[type, ...]) -> str:
    return f"({', '.join(each.__name__ for each in slots)})"


def _at(step: Array | int, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules with every schedule replaced by its value at `step`, and arrays checked."""

    def at(path, x):
        if isinstance(x, int | float):
            return x
        return number_at(f"{type(rules[path[0].idx]).__name__}: {path[1].name}", x, step)

    return jax.tree_util.tree_map_with_path(at, rules, is_leaf=callable)


def _rate(learning_rate: Any, count: Array) -> Float[Array, ""] | None:
    return None if learning_rate is None else number_at("learning_rate", learning_rate, count)


def _renewed_rate(
    rate: Float[Array, ""] | None, old: Float[Array, ""] | None, clock: Clock
) -> Float[Array, ""] | None:
    """The rate of this step as the state keeps it: never in half precision."""
    if rate is None or old is None:
        return old
    dtype = at_least(old.dtype, jnp.float32)
    return clock.choose(rate.astype(dtype), old.astype(dtype))


class _Way(NamedTuple):
    """The chain that a leaf goes through, and how each of its rules sees the leaf."""

    chain: int
    views: tuple[View | None, ...]


def _no_report(rule: Rule, arrays: Sequence[Array]) -> Any:
    """A report before the first update, of the types that it has after one."""
    real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
    varies = varying_axes(*arrays) - set(named(getattr(rule, "axis_name", None)))
    defaults: dict[str, float] = rule.report._field_defaults  # type: ignore[attr-defined]
    return rule.report(*(varying_along(jnp.array(x, real), varies) for x in defaults.values()))


def _chosen(new: Any, old: Any, clock: Clock) -> Any:
    """A report of the kept types, the old one when this step does not count."""

    def one(new: Array, old: Array) -> Array:
        return clock.choose(varying_along(new.astype(old.dtype), varying_axes(old)), old)

    return jax.tree.map(one, new, old)


def _slots_of(rule: Rule, array: Array, view: View | None) -> Any:
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
class _Plan:
    """The static side of a chain of rules at one step.

    Numbers that are known in Python stay Python numbers, so that 1 - b2 is exact before it is
    rounded; only arrays are traced. `kept` has the dtypes of slots where arithmetic is in float32.
    """

    structure: Any
    known: tuple[float | None, ...]
    slots: tuple[type, ...]
    kept: tuple[tuple[Any, ...], ...]

    @staticmethod
    def of(rules: tuple[Rule, ...], storage: Storage) -> tuple["_Plan", tuple[Array, ...]]:
        leaves, structure = jax.tree.flatten(rules)
        known = tuple(x if isinstance(x, int | float) else None for x in leaves)
        numbers = tuple(x for x in leaves if not isinstance(x, int | float))
        kinds = tuple(each.slots for each in rules)
        kept = tuple(
            tuple(kept_dtype(storage, kind, name, jnp.float32) for name in kind._fields)
            for kind in kinds
        )
        return _Plan(structure, known, kinds, kept), numbers

    @property
    def width(self) -> int:
        """How many slots there are."""
        return sum(len(kind._fields) for kind in self.slots)  # type: ignore[attr-defined]

    def rules(self, numbers: Sequence[Array]) -> tuple[Rule, ...]:
        fill = iter(numbers)
        return jax.tree.unflatten(
            self.structure, [next(fill) if x is None else x for x in self.known]
        )

    def rows(self, flat: Sequence[Any]) -> tuple:
        """A flat list of slots, grouped by rule."""
        fill = iter(flat)
        return tuple(kind(*(next(fill) for _ in kind._fields)) for kind in self.slots)


@partial(jax.jit, static_argnames=("plan", "active", "views"))
def _leaf(
    plan: _Plan,
    active: tuple[bool, ...],
    views: tuple[View | None, ...],
    numbers: tuple[Array, ...],
    grad: Array,
    slots: tuple,
    param: Array | None,
    clock: Clock,
) -> tuple[Array, list[Any], list[Any]]:
    """The whole chain of rules on one leaf, in the type of the arithmetic.

    Returns the update, the slots, and what the rules that report say, None where one is not active.
    """
    like = [param] if param is not None else [grad, *jax.tree.leaves(slots)]
    dtype = common_dtype(jnp.float32, *like)
    real = jnp.finfo(dtype).dtype
    rules = plan.rules([cast(x, real) for x in numbers])
    lr = None if clock.lr is None else cast(clock.lr, real)
    clock = Clock(clock.t, lr, clock.gate, clock.path)

    update = cast(grad, dtype)
    p = None if param is None else cast(param, dtype)
    flat: list[Any] = []
    reports: list[Any] = []
    for each, on, view, kept, natural in zip(rules, active, views, slots, plan.kept, strict=True):
        if on:
            wide = [None if isinstance(x, Absent) else decoded(x, dtype) for x in kept]
            update, new, report = _applied(each, view, update, type(kept)(*wide), p, clock)
            for x, w, old, narrow in zip(new, wide, kept, natural, strict=True):
                least = narrow if w is None or w.dtype == jnp.float32 else w.dtype
                flat.append(_kept_again(x, old, least, clock))
        else:
            flat += kept
            report = None
        if each.report._fields:
            reports.append(None if report is None else of_leaf(report))
    return cast(clock.choose_step(update), (grad if param is None else param).dtype), flat, reports


def _kept_again(new: Array | None, old: Any, least: Any, clock: Clock) -> Any:
    """A renewed slot as it was kept; codes that lose digits are selected once more."""
    if new is None:
        return Absent()
    kept = kept_again(new, old, least)
    return jax.tree.map(clock.choose, kept, old) if isinstance(old, Coded) else kept


def _applied(
    rule: Rule, view: View | None, update: Array, slots: Any, param: Array | None, clock: Clock
) -> tuple[Array, Any, Any]:
    """One rule on one leaf, of which it sees every stacked part by itself."""
    if view is None:
        return _checked(rule, rule.update(update, slots, param, clock), update, slots)
    unit = jax.eval_shape(rule.init, jax.ShapeDtypeStruct(view.unit, update.dtype))
    whole = [u is not None and u.shape == view.unit for u in unit]
    moved = type(slots)(*(view.of(x) if same else x for x, same in zip(slots, whole, strict=True)))

    def of_unit(update: Array, slots: Any, param: Array | None) -> tuple[Array, Any, Any]:
        return _checked(rule, rule.update(update, slots, param, clock), update, slots)

    for _ in range(view.stacked):
        of_unit = jax.vmap(of_unit)
    seen = None if param is None else view.of(param)
    new_update, new, report = of_unit(view.of(update), moved, seen)
    shape = update.shape
    new = type(slots)(
        *(view.back(x, shape) if same else x for x, same in zip(new, whole, strict=True))
    )
    return view.back(new_update, shape), new, report


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
