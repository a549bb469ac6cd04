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
from ..storage import Storage, check_slots, kept_dtype
from .arguments import check_fields, number_at
from .leaves import gradients_beside, in_full, parameters
from .listening import begin, hear, spoken
from .paths import Mask, checked_mask, marked
from .record import record
from .rule import Clock, Rule


class LiftedState(NamedTuple):
    """The state of a lifted chain of rules.

    `lr` is the learning rate in force, None where there is none; `slots` has one NamedTuple for
    each rule, whose fields are trees shaped like the parameters. A slot is also an attribute of
    the state, as it is in optax: `state.mu`. `feedback` has the states of the schedules that
    listen to a metric.
    """

    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    lr: Float[Array, ""] | None
    slots: tuple
    feedback: tuple = ()

    def metrics(self) -> dict[str, Array]:
        return {} if self.lr is None else {"lr": self.lr}

    def __getattr__(self, name: str) -> Params:
        for slots in self.slots:
            if name in slots._fields:
                return getattr(slots, name)
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
    """The pair `(init, update)` of a chain of rules."""

    chain: tuple[Rule | Where, ...]
    learning_rate: ScalarOrSchedule | None
    storage: Storage

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
    def rules(self) -> tuple[Rule, ...]:
        return tuple(each.rule if isinstance(each, Where) else each for each in self.chain)

    def init(self, params: Params) -> LiftedState:
        arrays, structure = parameters(params)
        self._active(jax.tree.unflatten(structure, arrays))  # a mask that fits nothing is told here
        feedback = begin(self._numbers)
        learning_rate, rules = spoken(self._numbers, feedback)
        slots = []
        for each in _at(0, rules):
            kept = [self._kept(each, array) for array in arrays]
            columns = zip(*kept, strict=True) if kept else [()] * len(each.slots._fields)
            slots.append(each.slots(*(jax.tree.unflatten(structure, column) for column in columns)))
        count = jnp.zeros([], jnp.int32)
        lr = _rate(learning_rate, count)
        if lr is not None:
            lr = lr.astype(jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype)
        return LiftedState(count, lr, tuple(slots), feedback)

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
            updates, params, old, names=self._slot_names, shape_of=self._slot_shape
        )

        heard = in_full(state.feedback)
        feedback = hear(self._numbers, heard, value, metric, state.count)
        learning_rate, rules = spoken(self._numbers, feedback)
        t = jnp.asarray(optax.safe_increment(state.count))
        lr = _rate(learning_rate, state.count)
        clock = Clock(t, lr, gate)
        shown = [leaf.grad if leaf.param is None else leaf.param for leaf in leaves]
        shown = jax.tree.unflatten(structure, shown)
        plan, numbers = _Plan.of(_at(state.count, rules), self.storage)
        done = [
            _leaf(plan, active, numbers, leaf.grad, plan.rows(leaf.slots), leaf.param, clock)
            for leaf, active in zip(leaves, self._active(shown), strict=True)
        ]

        renewed = zip(*(flat for _, flat in done), strict=True) if done else [()] * len(old)
        trees = [
            jax.tree.unflatten(jax.tree.structure(tree), new)
            for tree, new in zip(old, renewed, strict=True)
        ]
        new_state = LiftedState(
            count=clock.choose(t, state.count),
            lr=_renewed_rate(lr, state.lr, clock),
            slots=plan.rows(trees),
            feedback=jax.tree.map(clock.choose, feedback, heard),
        )
        return jax.tree.unflatten(structure, [update for update, _ in done]), new_state

    def _kept(self, rule: Rule, array: Array) -> list[Array]:
        """The slots of one parameter in the dtypes in which they are kept."""
        slots = rule.init(array)
        return [
            cast(x, kept_dtype(self.storage, rule.slots, name, x.dtype))
            for name, x in slots._asdict().items()
        ]

    @property
    def _slot_names(self) -> list[str]:
        return [name for each in self.rules for name in each.slots._fields]

    def _slot_shape(self, index: int, array: Array) -> tuple[int, ...]:
        """The shape that a rule gives to a slot of `array`, which need not be the array's."""
        shapes = [x.shape for each in _at(0, self.rules) for x in jax.eval_shape(each.init, array)]
        return shapes[index]

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
            return state
        if found is not None and (state.lr is None) == (self.learning_rate is None):
            kept = [slots for slots in state.slots if slots._fields]
            if list(map(type, kept)) == [kind for kind in expected if kind._fields]:
                fill = iter(kept)
                slots = tuple(next(fill) if kind._fields else kind() for kind in expected)
                return LiftedState(state.count, state.lr, slots, state.feedback)
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

    def _active(self, tree: Params) -> list[tuple[bool, ...]]:
        """For each leaf of the parameters, which rules work on it."""
        count = jax.tree.structure(tree).num_leaves
        flags = [[True] * count] * len(self.chain)
        for i, each in enumerate(self.chain):
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

    def rules(self, numbers: Sequence[Array]) -> tuple[Rule, ...]:
        fill = iter(numbers)
        return jax.tree.unflatten(
            self.structure, [next(fill) if x is None else x for x in self.known]
        )

    def rows(self, flat: Sequence[Any]) -> tuple:
        """A flat list of slots, grouped by rule."""
        fill = iter(flat)
        return tuple(kind(*(next(fill) for _ in kind._fields)) for kind in self.slots)


@partial(jax.jit, static_argnames=("plan", "active"))
def _leaf(
    plan: _Plan,
    active: tuple[bool, ...],
    numbers: tuple[Array, ...],
    grad: Array,
    slots: tuple,
    param: Array | None,
    clock: Clock,
) -> tuple[Array, list[Array]]:
    """The whole chain of rules on one leaf, in the type of the arithmetic."""
    like = [param] if param is not None else [grad, *jax.tree.leaves(slots)]
    dtype = common_dtype(jnp.float32, *like)
    real = jnp.finfo(dtype).dtype
    rules = plan.rules([cast(x, real) for x in numbers])
    lr = None if clock.lr is None else cast(clock.lr, real)
    clock = Clock(clock.t, lr, clock.gate)

    update = cast(grad, dtype)
    p = None if param is None else cast(param, dtype)
    flat: list[Array] = []
    for each, on, kept, natural in zip(rules, active, slots, plan.kept, strict=True):
        if on:
            wide = [cast(x, dtype if jnp.iscomplexobj(x) else real) for x in kept]
            done = each.update(update, type(kept)(*wide), p, clock)
            update, new = _checked(each, done, grad, kept)
            for x, w, old, narrow in zip(new, wide, kept, natural, strict=True):
                least = narrow if w.dtype == jnp.float32 else w.dtype
                flat.append(cast(x, at_least(old.dtype, least)))
        else:
            flat += kept
    return cast(clock.choose_step(update), (grad if param is None else param).dtype), flat


def _checked(rule: Rule, done: Any, grad: Array, kept: Any) -> tuple[Array, Any]:
    """What a rule's `update` returned, refused if its kinds or shapes are not those of the leaf."""
    name = f"{type(rule).__name__}.update"
    if not isinstance(done, tuple) or len(done) != 2 or type(done[1]) is not type(kept):
        raise TypeError(f"{name} must return (update, {type(kept).__name__}(...)), got {done!r}.")
    update, new = done
    if jnp.shape(update) != grad.shape:
        raise ValueError(
            f"{name} returned an update of shape {jnp.shape(update)} for a gradient of shape "
            f"{grad.shape}."
        )
    for field, x, old in zip(kept._fields, new, kept, strict=True):
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
    return update, new
