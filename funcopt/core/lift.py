"""Lifts rules, written for one array, to transformations of a pytree.

The only module that knows both trees and rules. It resolves schedules, promotes to the type of
the arithmetic, keeps slots as their storage says, and runs the whole chain of rules on one leaf
behind one nested `jit`, which leaves of the same shape share: tracing a thousand of them costs
hardly more than tracing one, and so does calling `update` outside of `jit`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import Params, Updates

from ..math.counts import steps_ahead
from ..math.dtypes import at_least, common_dtype, is_half
from ..math.moments import minus_weight
from ..math.norm import is_sharded
from ..math.once import number_once
from ..math.varying import named, varying_along, varying_axes
from ..storage import Storage, check_paths, check_slots, first_kept
from ..storage.kept import Coded
from . import one_pass
from .again import in_few_bits
from .arguments import Hyperparameter, check_fields, number_at
from .chunks import rows_of_chunks
from .description import Act, Slot, Told, act_of, is_nothing, kept_slots, parts_of, why_in_full
from .feedback import bind_feedback, init_feedback, update_feedback
from .leaf import Leaf, View, described, no_matrix, view_of
from .leaves import (
    Absent,
    Beside,
    beside_gradients,
    gradients_beside,
    in_full,
    is_kept,
    parameters,
)
from .masked import MaskedRule
from .one_leaf import ChainPlan, Sight, on_leaf, slots_of
from .paths import path_codes, path_names, reason, selected
from .refusals import called, no_hessian, no_parameters
from .report import reported, together
from .rule import Clock, Rule
from .steps import is_whole


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


@dataclass(frozen=True)
class Lifted:
    """The pair `(init, update)` of a chain of rules.

    Leaves that are no hidden matrix go through `otherwise`, another chain, if there is one.
    """

    chain: tuple[Rule | MaskedRule, ...]
    learning_rate: Hyperparameter | None
    storage: Storage
    otherwise: tuple[Rule | MaskedRule, ...] | None = None
    layer_axis: Any = None
    matrices: Any = None
    hidden: Any = None

    takes: ClassVar = {"goes_on", "factors"}

    def __post_init__(self):
        for each in self.rules:
            if not isinstance(each, Rule):
                raise TypeError(
                    f"Expected a rule such as funcopt.rules.Adam(), got {each!r}. Transformations "
                    "are put together with funcopt.chain."
                )
            check_fields(each)
        check_slots(self.storage, [each.slots for each in self.rules])

    @property
    def members(self) -> tuple[Rule | MaskedRule, ...]:
        """The rules of both chains."""
        return (*self.chain, *(self.otherwise or ()))

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(each.rule if isinstance(each, MaskedRule) else each for each in self.members)

    def init(self, params: Params) -> LiftedState:
        arrays, structure = parameters(params)
        tree = jax.tree.unflatten(structure, arrays)
        names = path_names(params)
        check_paths(self.storage, "init", names)
        views = self._views(tree)  # a mask that fits nothing is told here
        feedback = init_feedback(self._numbers)
        learning_rate, rules = bind_feedback(self._numbers, feedback)
        slots, reports = [], []
        for i, each in enumerate(_at(0, rules)):
            kept = [
                self._first_kept(each, array, view.sight[i], path)
                for array, view, path in zip(arrays, views, names, strict=True)
            ]
            columns = zip(*kept, strict=True) if kept else [()] * len(each.slots._fields)
            slots.append(each.slots(*(jax.tree.unflatten(structure, column) for column in columns)))
            if each.report._fields:
                reports.append(_no_report(each, arrays))
        count = jnp.zeros([], jnp.int32)
        lr = _first_rate(learning_rate)
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
        goes_on: bool = False,
        factors: Sequence[Array] | None = None,
        chunk: int | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, LiftedState]:
        # Other extra arguments are for other members of a chain.
        self._check_params(params)
        diagonals = self._diagonals(updates, extra_args)
        state = self._own(state)
        old = [tree for slots in state.slots for tree in slots]
        leaves, structure = gradients_beside(
            updates,
            params,
            old,
            names=self._slot_names,
            shape_of=self._shapes_beside(updates),
        )

        heard = in_full(state.feedback)
        feedback = update_feedback(self._numbers, heard, value, metric, state.count)
        learning_rate, rules = bind_feedback(self._numbers, feedback)
        t = jnp.asarray(optax.safe_increment(state.count))
        lr = _rate(learning_rate, state.count)
        shown = [leaf.grad if leaf.param is None else leaf.param for leaf in leaves]
        shown = jax.tree.unflatten(structure, shown)
        in_codes = any(in_few_bits(x) for leaf in leaves for x in leaf.slots)
        views, rules = self._views(shown, in_codes), _at(state.count, rules)
        lefts = {(), *(view.left for view in views)}
        plans = {left: ChainPlan.of(_instead(rules, left), self.storage) for left in lefts}
        plan, _ = plans[()]
        means = _corrected(rules)
        clock = Clock(t, lr, gate, weights=_weights(means, t) if means else None)
        done = []
        scales = [None] * len(leaves) if factors is None else factors
        for leaf, view, diagonal, factor in zip(leaves, views, diagonals, scales, strict=True):
            own, numbers = plans[view.left]
            own_clock = view.path is not None or diagonal is not None
            at = replace(clock, path=view.path, hessian_diagonal=diagonal) if own_clock else clock
            slots = plan.rows(leaf.slots)
            here = leaf.grad, factor, slots, leaf.param, at
            rows = self._rows(chunk, leaf) if diagonal is None else 0
            done.append(on_leaf(own, view.sight, goes_on, self._apart(leaf), numbers, *here, rows))

        renewed = zip(*(kept for _, kept, _ in done), strict=True) if done else [()] * len(old)
        trees = [
            jax.tree.unflatten(jax.tree.structure(tree, is_leaf=is_kept), new)
            for tree, new in zip(old, renewed, strict=True)
        ]
        new_state = LiftedState(
            count=clock.choose(t, state.count),
            lr=_renewed_rate(lr, state.lr, clock),
            slots=plan.rows(trees),
            feedback=jax.tree.map(clock.choose, feedback, heard),
            reports=_reports([report for _, _, report in done], state.reports, clock),
        )
        return jax.tree.unflatten(structure, [update for update, _, _ in done]), new_state

    def tells(self, params: Params, state: LiftedState, name: str) -> list[Told]:
        arrays, structure = parameters(params)
        views = self._views(jax.tree.unflatten(structure, arrays))
        leaves = described(params, self.layer_axis, self.matrices, self.hidden)
        hidden = selected(self.hidden, params)
        kept = [kept_slots(slots) for slots in state.slots if slots._fields]
        rate = () if self.learning_rate is None else (self.learning_rate,)
        out = []
        for i, (leaf, view, flag) in enumerate(zip(leaves, views, hidden, strict=True)):
            rest = leaf.matrix is None and self.otherwise is not None
            why = (no_matrix(leaf, self.matrices, self.hidden, flag),) if rest else ()
            slots = tuple(slot for slots in kept for slot in slots[i])
            why += self._why_in_full(leaf.path, slots)
            own = "" if rest or name in ("lift", "optimizer") else name
            told = self._told(leaf, view, rest, own)
            out.append(Told(slots=slots, learning_rate=rate, why=why) + told)
        return out

    def _why_in_full(self, path: str, slots: tuple[Slot, ...]) -> tuple[str, ...]:
        """Why slots are kept in float32 that the storage would keep in fewer bits elsewhere."""
        own = {name: each.slots for each in self.rules for name in each.slots._fields}
        return why_in_full(self.storage, own, path, slots)

    def _told(self, leaf: Leaf, view: "_LeafView", rest: bool, name: str) -> Told:
        """What the rules of one chain, or of that for the `rest`, do with a leaf."""
        acts: list[Act] = []
        why: list[tuple[str, str]] = []
        looked = set()
        rules = _instead(self.rules, view.left)
        for i, (member, rule, sight) in enumerate(
            zip(self.members, rules, view.sight, strict=True)
        ):
            if (i >= len(self.chain)) is not rest:
                continue
            if isinstance(member, MaskedRule) and (sight is False or i in view.left):
                why += _not_done(member.rule, i in view.left, reason(member.mask, leaf.path))
            if sight is not False:
                factor = rule.multiplies_by(sight.unit if isinstance(sight, View) else leaf.shape)
                scales = rule.acts_on == "matrix"
                numbers = {"scale" if scales else "factor": factor}
                acts.append(act_of(rule, descends=rule.descends, **numbers))
                looked.add(rule.acts_on)
        # What another rule of these does is not left out.
        done = {act.name for act in acts}
        if any(act.decay and not is_nothing(act.decay.number) for act in acts):
            done.add("decay")
        reasons = dict.fromkeys(said for name, said in why if name not in done)
        seen = replace(
            leaf,
            matrix=leaf.matrix if "matrix" in looked else None,
            stacked=leaf.stacked if looked & {"array", "matrix"} else (),
        )
        return Told(tuple(acts), parts_of(acts, name), leaf=seen, why=tuple(reasons))

    def _views(self, tree: Params, in_codes: bool = False) -> list["_LeafView"]:
        """What happens to each leaf; where slots are `in_codes`, paths tell their noise."""
        count = jax.tree.structure(tree).num_leaves
        named = in_codes or any(each.needs_path for each in self.rules)
        codes = path_codes(tree) if named else [None] * count
        active = self._active(tree)
        left = self._left_out(tree)
        if not self.looks_at_axes:
            return [_LeafView(*each) for each in zip(active, codes, left, strict=True)]
        leaves = described(tree, self.layer_axis, self.matrices, self.hidden)
        sights = map(self._sight, leaves, active)
        return [_LeafView(*each) for each in zip(sights, codes, left, strict=True)]

    @property
    def looks_at_axes(self) -> bool:
        """Whether leaves differ by more than masks."""
        told = (self.otherwise, self.layer_axis, self.matrices, self.hidden)
        by_matrix = any(each.acts_on == "matrix" for each in self.rules)
        return by_matrix or any(each is not None for each in told)

    def _sight(self, leaf: Leaf, active: tuple[Sight, ...]) -> tuple[Sight, ...]:
        """How each rule sees a leaf, those of one chain not at all where there are two."""
        split = len(self.chain)
        rest = leaf.matrix is None and self.otherwise is not None
        for each in self.rules[split:] if rest else self.rules[:split]:
            if each.acts_on == "matrix" and leaf.matrix is None:
                raise ValueError(
                    f"{type(each).__name__} acts on matrices, but the parameter {leaf.path!r} has "
                    f"the shape {leaf.shape}"
                    + (f" with layers along {leaf.stacked}" if leaf.stacked else "")
                    + ". Give the rules for such parameters as otherwise=, or say by matrices= "
                    "which of its axes make a matrix."
                )
        return tuple(
            view_of(leaf, each.acts_on) if flag is not False and (i >= split) == rest else False
            for i, (each, flag) in enumerate(zip(self.rules, active, strict=True))
        )

    def _apart(self, leaf: Beside) -> bool:
        """Whether a leaf is done in one pass over memory, if each array is computed by itself."""
        if not one_pass.enabled():
            return False
        arrays = [leaf.grad, *leaf.slots, *([] if leaf.param is None else [leaf.param])]
        coded = any(isinstance(x, Coded) for x in arrays)
        narrow = any(is_half(x) for x in jax.tree.leaves(arrays))
        return self._plain and not coded and not narrow

    def _rows(self, chunk: int | None, leaf: Beside) -> int:
        """How many rows of a leaf are done at a time, 0 for all."""
        if chunk is None or not self._plain or is_sharded(jnp.asarray(leaf.grad)):
            return 0
        param = None if leaf.param is None else jnp.asarray(leaf.param)
        return rows_of_chunks(chunk, jnp.asarray(leaf.grad), leaf.slots, param)

    @property
    def _plain(self) -> bool:
        """Whether no element sees another one."""
        return all(each.acts_on == "element" and not each.report._fields for each in self.rules)

    def _first_kept(self, rule: Rule, array: Array, sight: Sight, path: str) -> list[Any]:
        """The slots of one parameter as they are kept before the first update."""
        if sight is False:
            return [Absent() for _ in rule.slots._fields]
        slots = slots_of(rule, array, sight)
        return [
            Absent() if x is None else first_kept(self.storage, rule.slots, name, x, path)
            for name, x in slots._asdict().items()
        ]

    @property
    def _slot_names(self) -> list[str]:
        return [name for each in self.rules for name in each.slots._fields]

    def _shapes_beside(self, updates: Updates) -> Callable[[int, int, Array], Any]:
        """Tells the shape that slot j has beside the i-th gradient, None where there is no slot.

        Each kind of leaf is asked about once, and none where all slots are as large as their
        parameters.
        """
        views = cache(lambda: self._views(updates))
        rules = cache(lambda: _at(0, bind_feedback(self._numbers, init_feedback(self._numbers))[1]))

        @cache
        def shapes(sights: tuple[Sight, ...], shape: tuple[int, ...], dtype: Any) -> list[Any]:
            kept: list[Any] = []
            array = jax.ShapeDtypeStruct(shape, dtype)
            for rule, sight in zip(rules(), sights, strict=True):
                if sight is False:
                    kept += [None] * len(rule.slots._fields)
                else:
                    kept += jax.eval_shape(partial(slots_of, rule, view=sight), array)
            return [None if x is None else x.shape for x in kept]

        return lambda j, i, x: shapes(views()[i].sight, jnp.shape(x), x.dtype)[j]

    @property
    def _numbers(self) -> tuple[Any, tuple[Rule, ...]]:
        """Everything that may be a schedule."""
        return self.learning_rate, self.rules

    def _check_params(self, params: Params | None) -> None:
        needy = [type(each).__name__ for each in self.rules if each.needs_params]
        if params is None and needy:
            raise no_parameters(", ".join(needy))

    def _diagonals(self, updates: Updates, extra_args: dict[str, Any]) -> list[Array | None]:
        """What there is of the Hessian's diagonal beside each gradient, for a rule that reads it.

        None says that there is no estimate at this step. Not to say anything is an error, since it
        would be one that shows nowhere, in a compiled step least of all.
        """
        needy = [type(each).__name__ for each in self.rules if each.needs_hessian]
        if needy and "hessian_diagonal" not in extra_args:
            raise no_hessian(", ".join(needy))
        given = extra_args["hessian_diagonal"] if needy else None
        if given is None:
            return [None] * jax.tree.structure(updates).num_leaves
        return [*beside_gradients("hessian_diagonal", given, updates)]

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
            if list(map(type, kept)) == [each for each in expected if each._fields]:
                fill = iter(kept)
                slots = tuple(next(fill) if each._fields else each() for each in expected)
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
        reporting = [each for each in self.rules if each.report._fields]
        if [type(x) for x in state.reports] == [each.report for each in reporting]:
            return in_full(state.reports)
        arrays = [x for slots in state.slots for x in jax.tree.leaves(slots)]
        return tuple(_no_report(each, arrays) for each in reporting)

    def _active(self, tree: Params) -> list[tuple[Sight, ...]]:
        """For each leaf, which rules work on it: None for as it is, False for not at all."""
        count = jax.tree.structure(tree).num_leaves
        sights: list[list[Sight]] = [[None] * count] * len(self.members)
        for i, each in enumerate(self.members):
            if isinstance(each, MaskedRule) and each.rule.left_out() is None:
                sights[i] = [None if flag else False for flag in selected(each.mask, tree)]
        return list(zip(*sights, strict=True)) if sights else [()] * count

    def _left_out(self, tree: Params) -> list[tuple[int, ...]]:
        """For each leaf, the rules in whose place goes what they leave to others by their mask."""
        left: list[tuple[int, ...]] = [()] * jax.tree.structure(tree).num_leaves
        for i, each in enumerate(self.members):
            if isinstance(each, MaskedRule) and each.rule.left_out() is not None:
                flags = selected(each.mask, tree)
                left = [x if flag else (*x, i) for x, flag in zip(left, flags, strict=True)]
        return left


def _instead(rules: tuple[Rule, ...], left: tuple[int, ...]) -> tuple[Rule, ...]:
    """The rules, some of them replaced by what is for the leaves that they leave out."""
    return tuple((each.left_out() or each) if i in left else each for i, each in enumerate(rules))


def _not_done(rule: Rule, goes_on: bool, why: str) -> list[tuple[str, str]]:
    """What is not done to a leaf that a rule leaves out, or `goes_on` with without its decay."""
    name = called(type(rule))
    if not goes_on and not (rule.decays_by and "decay" in name):
        return [(name, f"no {name}: {why}")]
    number: Any = rule.weight_decay  # type: ignore[attr-defined]
    return [] if is_nothing(number) else [("decay", f"no decay: {why}")]


def _names(slots: tuple[type, ...]) -> str:
    return f"({', '.join(each.__name__ for each in slots)})"


def _at(step: Array | int, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The rules with every schedule replaced by its value at `step`, and arrays checked."""

    def at(path, x):
        if isinstance(x, int | float):
            return x
        number = number_at(f"{type(rules[path[0].idx]).__name__}: {path[1].name}", x, step)
        return jnp.asarray(x) if not callable(x) and is_whole(x) else number

    return jax.tree_util.tree_map_with_path(at, rules, is_leaf=callable)


Corrections = tuple[tuple[float, int], ...]
"""Decays by which running means are corrected, and how many steps ahead."""


def _corrected(rules: tuple[Rule, ...]) -> Corrections:
    """The corrections of rules whose decays are known in Python."""
    told = [(each, name) for each in rules for name in each.corrects]
    named = [(each, (name, 0) if isinstance(name, str) else name) for each, name in told]
    found = [(getattr(each, name), ahead) for each, (name, ahead) in named]
    return tuple(dict.fromkeys(x for x in found if isinstance(x[0], int | float)))


@partial(jax.jit, static_argnums=0)
def _weights(corrections: Corrections, t: Array) -> dict[tuple[float, int], Array]:
    """What all leaves multiply these running means by, but for the sign."""
    real = jnp.dtype(jnp.float32)
    return {each: minus_weight(each[0], steps_ahead(t, each[1]), real) for each in corrections}


def _rate(learning_rate: Any, count: Array) -> Float[Array, ""] | None:
    if learning_rate is None:
        return None
    rate = number_at("learning_rate", learning_rate, count)
    return number_once(rate) if callable(learning_rate) else rate


def _first_rate(learning_rate: Any) -> Float[Array, ""] | None:
    """The rate of the first step, as one program, for a schedule is many operations.

    The step is a constant in it: XLA computes the rate instead of compiling how to.
    """

    def rate() -> Float[Array, ""] | None:
        return _rate(learning_rate, jnp.zeros([], jnp.int32))

    if not callable(learning_rate):
        return rate()
    try:
        return jax.jit(rate)()
    except jax.errors.JAXTypeError:  # a function of numbers in Python, which only eager steps take
        return rate()


def _renewed_rate(
    rate: Float[Array, ""] | None, old: Float[Array, ""] | None, clock: Clock
) -> Float[Array, ""] | None:
    """The rate of this step as the state keeps it: never in half precision."""
    if rate is None or old is None:
        return old
    dtype = at_least(old.dtype, jnp.float32)
    return clock.choose(rate.astype(dtype), old.astype(dtype))


class _LeafView(NamedTuple):
    """How each rule sees a leaf, a number for its path, and the rules that leave it out."""

    sight: tuple[Sight, ...]
    path: Any
    left: tuple[int, ...] = ()


def _no_report(rule: Rule, arrays: Sequence[Array]) -> Any:
    """A report before the first update, of the types that it has after one."""
    real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
    varies = varying_axes(*arrays) - set(named(getattr(rule, "axis_name", None)))
    defaults: dict[str, float] = rule.report._field_defaults  # type: ignore[attr-defined]
    return rule.report(*(varying_along(jnp.array(x, real), varies) for x in defaults.values()))


def _reports(parts: list[list[Any]], old: tuple, clock: Clock) -> tuple:
    """What each rule that reports says of all leaves that it works on."""
    new = []
    for i, was in enumerate(old):
        of_leaves = [part[i] for part in parts if part[i] is not None]
        new.append(_chosen(together(of_leaves), was, clock) if of_leaves else was)
    return tuple(new)


def _chosen(new: Any, old: Any, clock: Clock) -> Any:
    """A report of the kept types, the old one when this step does not count."""

    def one(new: Array, old: Array) -> Array:
        return clock.choose(varying_along(new.astype(old.dtype), varying_axes(old)), old)

    return jax.tree.map(one, new, old)
