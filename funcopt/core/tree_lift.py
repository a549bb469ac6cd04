"""Lifts tree rules to transformations: what `lift` is for rules, for what looks at all leaves.

It checks the state and the gradients, resolves schedules, promotes to the type of the arithmetic,
keeps slots as their storage says and applies the gate, so that a tree rule is its slots, its
numbers and its equations.

Everything is computed in float32, or wider where a parameter is wider; numbers are kept so too. A
rule with an `axis_name` sums over all devices. Without one it looks at what is on this device, and
inside of `shard_map` the types of what it learns say so from the start, so that a loop can carry
it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int
from optax import OptState, Params, Updates

from ..math.choice import where
from ..math.columns import Column
from ..math.dtypes import common_dtype
from ..math.global_norm import Facts
from ..math.varying import AxisNames, mean_across, named, varying_along, varying_axes
from ..storage import Storage, check_paths, check_slots, first_kept, kept_dtype
from .arguments import check_fields, number_at
from .description import Told, act_of, is_nothing, kept_slots, parts_of, told, why_in_full
from .feedback import bind_feedback, init_feedback, update_feedback
from .leaves import gradients_beside, in_full, parameters
from .metrics import reports
from .paths import path_names, reason, selected
from .refusals import called, foreign_state, no_parameters, no_value
from .report import common, reported
from .rule import Clock, Rule
from .transformation import Unscaled
from .tree_rule import Start, Step, TreeRule
from .tree_step import TreeStep


class TreeState(NamedTuple):
    """The state of a tree rule: its numbers, and its slots, which are trees like the parameters.

    Both are also attributes of the state: `state.lr`, `state.mu`, those of a tree rule inside as
    well. `inner` is the state of the transformation that the rule wraps, `()` where it wraps none;
    `feedback` has the states of the schedules that listen to a metric.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    numbers: Any
    slots: Any
    feedback: tuple = ()
    inner: OptState = ()

    def metrics(self) -> dict[str, Array]:
        return reported(self.numbers, {each.name for each in reports(self.inner)})

    def __getattr__(self, name: str) -> Any:
        for part in (self.numbers, self.slots):
            if name in part._fields:
                return getattr(part, name)
        if isinstance(self.inner, TreeState):
            return getattr(self.inner, name)
        raise AttributeError(f"The state has no {name!r}.")


@dataclass(frozen=True)
class LiftedTree:
    """The pair `(init, update)` of a tree rule, and of the transformation that it wraps.

    `kept` has the types of slots that are given outright, whatever `storage` may say of their like.
    `decay` is a rule for each leaf that the `mask` of the tree rule means. It sees the gradient
    where its place is the first, else the step and, as the rate in force, the number `lr`.
    """

    rule: TreeRule
    storage: Storage = None
    inner: Any = None
    kept: Any = None
    decay: Rule | None = None

    takes: ClassVar = {"facts", "goes_on", "leaves_factors"}

    def __post_init__(self):
        check_fields(self.rule)
        check_slots(self.storage, [self.rule.slots])

    @property
    def name(self) -> str:
        """As users call it: the rule's class in small letters, `clip_by_global_norm`."""
        return called(type(self.rule))

    @property
    def axis_name(self) -> AxisNames:
        return getattr(self.rule, "axis_name", None)

    def init(self, params: Params) -> TreeState:
        arrays, structure = parameters(params)
        names = path_names(params)
        check_paths(self.storage, "init", names)
        selected(getattr(self.rule, "mask", None), params)  # one that fits nothing is told here
        real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
        feedback = init_feedback(self._numbers)
        rule, _ = self._at(feedback, jnp.zeros([], jnp.int32), real)
        wide = [x.astype(common_dtype(real, x)) for x in arrays]
        inside = params if rule.observes else structure.unflatten(wide)
        inner = () if self.inner is None else self.inner.init(inside)
        in_half = any(jnp.finfo(jnp.result_type(x)).bits < 32 for x in jax.tree.leaves(params))
        slots, numbers = rule.init(arrays, Start(real, self.axis_name, in_half, inner))
        varies = varying_axes(*arrays) - set(named(self.axis_name))
        # What would be donated twice if it were not copied.
        held = set(map(id, jax.tree.leaves((rule, params, inner, slots))))

        def kept(name: str, column: Column | None) -> Any:
            if column is None:
                return None
            own = [_own(x, array) for x, array in zip(column, arrays, strict=True)]
            given = (self.kept or {}).get(name)
            if given is not None:
                return structure.unflatten([x.astype(given) for x in own])
            rows = zip(own, names, strict=True)
            return structure.unflatten(
                [first_kept(self.storage, rule.slots, name, x, path) for x, path in rows]
            )

        def learnt(name: str, x: Any) -> Array:
            own = _number(x, real, jnp.array if id(x) in held else jnp.asarray)
            held.add(id(x))
            return own if name in common(rule.numbers) else varying_along(own, varies)

        return TreeState(
            jnp.zeros([], jnp.int32),
            type(numbers)(*(learnt(*number) for number in numbers._asdict().items())),
            type(slots)(*(kept(*slot) for slot in slots._asdict().items())),
            feedback,
            inner,
        )

    def tells(self, params: Params, state: TreeState, name: str) -> list[Told]:
        names, alone = path_names(params), self.inner is None
        inside = [Told()] * len(names) if alone else told(self.inner, params, state.inner)
        mask = getattr(self.rule, "mask", None)
        rate = getattr(self.rule, "learning_rate", None) if alone else None
        acts = [act_of(self.rule, descends=rate is not None)]
        if self.decay is not None:
            acts.insert(0 if self.decay.place == "first" else 1, act_of(self.decay))
        decays = any(act.decay and not is_nothing(act.decay.number) for act in acts)
        slots = kept_slots(state.slots) or [()] * len(names)
        out = []
        for path, flag, own, each in zip(names, selected(mask, params), slots, inside, strict=True):
            here = tuple(act if flag else replace(act, decay=None) for act in acts)
            why = (f"no decay: {reason(mask, path)}",) if decays and not flag else ()
            why += why_in_full(self.storage, self._slot_classes, path, own)
            rates = () if rate is None else (rate,)
            parts = parts_of(here, name or self.name)
            out.append(each + Told(here, parts, own, rates, why=why))
        return out

    def update(
        self,
        updates: Updates,
        state: TreeState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
        facts: Facts | None = None,
        goes_on: bool = False,
        leaves_factors: bool = False,
        **extra_args: Any,
    ) -> tuple[Updates, TreeState]:
        if params is None and self.rule.needs_params:
            raise no_parameters(self.name)
        state = self._own(state)
        trees = {name: tree for name, tree in state.slots._asdict().items() if tree is not None}
        beside = gradients_beside(
            updates,
            params,
            [*trees.values()],
            names=[*trees],
            shape_of=self._shapes_beside([*trees], state.inner),
        )
        feedback = update_feedback(self._numbers, state.feedback, value, metric, state.count)
        clock = Clock(jnp.asarray(optax.safe_increment(state.count)), gate=gate)
        now = TreeStep(self.rule, self.axis_name, *beside, clock, state, goes_on)
        rule, decay = self._at(feedback, state.count, now.real)
        given = {"value": value, "metric": metric, "gate": gate}
        extra_args |= {name: x for name, x in given.items() if x is not None}

        steps, slots, numbers, inner = updates, state.slots, state.numbers, state.inner
        if now.leaves:
            ran, ran_to = [], ()
            if self.inner is not None:
                inside = params if rule.observes else now.as_tree(rule.seen(now.params, now.slots))
                known = {} if facts is None else {"facts": facts}
                ran, ran_to = self.inner.update(updates, inner, inside, **known, **extra_args)
                ran = jax.tree.leaves(ran)
            step = Step(
                now.real,
                self.axis_name,
                clock,
                self._loss(value, now.real),
                lambda: now.grad_norm(facts),
                now.renew,
                now.selected,
                now.decay,
                lambda: (list(map(now.wide, ran)), ran_to),
                lambda old, flag, x: self._restarted(old, clock.choose(flag, False), x, now),
            )
            x = now.params if rule.needs_params else None
            grads = now.grads if decay is None else now.decayed_first(decay)
            steps, slots, numbers, *rest = rule.update(grads, now.slots, state.numbers, x, step)
            dtypes = list(map(jnp.result_type, ran)) if rule.observes else now.dtypes
            lasting = None if decay is None or decay.place == "first" else (decay, numbers.lr)
            if leaves_factors and lasting is None and now.are_left(steps, dtypes):
                steps = Unscaled(now.as_tree(steps.arrays), steps.numbers)
            else:
                steps = now.as_updates(steps, dtypes, lasting)
            slots = now.kept_as_trees(slots)
            numbers = now.numbers(numbers)
            inner = rest[0] if rest else inner
        elif self.inner is not None:
            steps, inner = self.inner.update(updates, inner, params, **extra_args)
        return steps, TreeState(
            clock.choose(clock.t, state.count),
            numbers,
            slots,
            jax.tree.map(clock.choose, feedback, state.feedback),
            inner,
        )

    def _restarted(self, old: OptState, flag: Array, x: Column, now: "TreeStep") -> OptState:
        """The state of what is wrapped, begun anew where the flag is set."""
        assert self.inner is not None

        def one(new: Array, old: Array) -> Array:
            return where(flag, varying_along(new, varying_axes(old)), old)

        return jax.tree.map(one, self.inner.init(now.as_tree(x)), old)

    @property
    def _slot_classes(self) -> dict[str, type]:
        return dict.fromkeys(self.rule.slots._fields, self.rule.slots)  # type: ignore[attr-defined]

    @property
    def _numbers(self) -> tuple[TreeRule, Rule | None]:
        """Everything that may be a schedule."""
        return self.rule, self.decay

    def _at(self, feedback: tuple, count: Array, real: Any) -> Any:
        """The rule and the decay at this step.

        What is a number in Python stays one, so that 1 - b2 is exact.
        """

        def at(path: tuple, x: Any) -> Any:
            if isinstance(x, int | float):
                return x
            if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.integer):
                return x
            name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
            return number_at(f"{self.name}: {name}", x, count).astype(real)

        told = bind_feedback(self._numbers, feedback)
        return jax.tree_util.tree_map_with_path(at, told, is_leaf=callable)

    def _own(self, state: Any) -> TreeState:
        """The state, if it is of this rule, its numbers and slots in full."""
        rule = self.rule
        classes = type(getattr(state, "numbers", None)), type(getattr(state, "slots", None))
        if not isinstance(state, TreeState) or classes != (rule.numbers, rule.slots):
            counts = any(map(callable, jax.tree.leaves(rule, is_leaf=callable)))
            if rule.only_reports and not counts:
                return self.init(())
            got = (
                type(state).__name__
                if not isinstance(state, TreeState)
                else " and ".join(each.__name__ for each in classes)
            )
            raise foreign_state(self.name, got, _of_kinds(rule))

        def least(name: str) -> Any:
            given = (self.kept or {}).get(name)
            return given or kept_dtype(self.storage, rule.slots, name, jnp.float32)

        slots = {name: in_full(x, least(name)) for name, x in state.slots._asdict().items()}
        return state._replace(
            numbers=in_full(state.numbers),
            slots=rule.slots(**slots),
            feedback=in_full(state.feedback),
        )

    def _shapes_beside(self, names: list[str], inner: OptState) -> Callable[..., tuple[int, ...]]:
        """Tells the shape that the slot `names[j]` has beside a gradient, which need not be its.

        Each kind of leaf is asked about once.
        """

        @cache
        def shapes(shape: tuple[int, ...], dtype: Any) -> dict[str, tuple[int, ...]]:
            array = jax.ShapeDtypeStruct(shape, dtype)
            real = jnp.finfo(common_dtype(jnp.float32, array)).dtype
            first = init_feedback(self._numbers)
            rule, _ = self._at(first, jnp.zeros([], jnp.int32), real)
            start = Start(real, None, False, inner)
            slots, _ = jax.eval_shape(lambda x: rule.init([x], start), array)
            return {name: getattr(slots, name)[0].shape for name in names}

        return lambda j, i, x: shapes(jnp.shape(x), x.dtype)[names[j]]

    def _loss(self, value: ArrayLike | None, real: Any) -> Float[Array, ""]:
        """The loss, checked, if the rule needs it; its mean where devices differ."""
        if not self.rule.needs_value:
            return jnp.zeros([], real)
        if value is None:
            raise no_value(self.name)
        if jnp.ndim(value):
            raise ValueError(
                f"{self.name}: value must be a scalar, got an array of shape {jnp.shape(value)}. "
                "Give the mean over the batch."
            )
        return mean_across(jnp.asarray(value).astype(real), self.axis_name)


def _of_kinds(rule: Any) -> str:
    names = [each.__name__ for each in (rule.numbers, rule.slots) if each._fields]
    return f"TreeState of {' and '.join(names) or 'nothing'}"


def _own(x: Array, array: Array) -> Array:
    """A slot in a buffer of its own, so that it and the parameter can be donated together."""
    return jnp.array(x, copy=True) if x is array else x


def _number(x: Any, real: Any, made: Callable[..., Array]) -> Array:
    """A number of the state, an array `made` of it: integers and flags keep their type."""
    exact = isinstance(x, bool | int) or not jnp.issubdtype(jnp.result_type(x), jnp.inexact)
    return made(x, jnp.result_type(x) if exact else real)
