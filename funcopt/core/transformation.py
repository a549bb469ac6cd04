"""The transformation: a pure pair `(init, update)` over a pytree, as a value."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, ParamSpec, TypeVar, overload

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from optax import OptState, Params, Updates

from ..math.dtypes import common_dtype
from . import one_pass
from .answers import Writes
from .description import Told, foreign, recorded, told_in_turn
from .paper import Paper
from .paths import path_name, path_names, some
from .places import beside_parameters
from .rule import Rule
from .value import Call, Configured, build, register, value_factory

P = ParamSpec("P")
Tree = TypeVar("Tree")
State = TypeVar("State")


INTERNAL = frozenset({"facts", "goes_on", "factors", "leaves_factors"})
"""Arguments of `update` that only those get whose class names them in `takes`.

`facts` are norms of the gradients that are known already. `goes_on` says that the update is the
input of another member of a chain, so that it may be anything while the gate is closed. `factors`
are numbers by which the updates are still to be multiplied, one for each leaf, and
`leaves_factors` says that the next member takes them: what is returned in the place of the updates
may then be `Unscaled`.
"""


class Unscaled(NamedTuple):
    """Updates, and the numbers by which they are still to be multiplied, one for each leaf."""

    updates: Any
    factors: list[Array]


class _Pair:
    """The two functions of a transformation, over a body that is built when first needed."""

    def __init__(self, call: Call, numbers: tuple):
        self.call, self.numbers, self.built = call, numbers, None

    def body(self) -> Any:
        if self.built is None:
            body = build(self.call, self.numbers)
            self.built = gated(body) if isinstance(body, optax.GradientTransformation) else body
        return self.built

    def init(self, params: Params) -> OptState:
        state = recorded(self.call.factory.__name__, self.body(), params)
        return beside_parameters(params, state)

    def update(
        self, updates: Updates, state: OptState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        body = self.body()
        if not isinstance(body, GradientTransformation):
            given = {name: extra_args.pop(name, None) for name in INTERNAL.difference(_taken(body))}
            if given.get("factors") is not None:
                updates = _multiplied(updates, given["factors"])
        return body.update(updates, state, params, **extra_args)


class GradientTransformation(Configured, optax.GradientTransformationExtraArgs):
    """An optimizer or a part of one: a pair of pure functions `(init, update)`, and a value.

    It is what optax calls by the same name, so that everything which takes one takes this; and it
    prints as the call that made it, compares, hashes, pickles, and is a pytree whose leaves are
    its numeric hyperparameters.

    >>> import funcopt, jax
    >>> tx = funcopt.adam(1e-3, b2=0.95)
    >>> tx
    adam(learning_rate=0.001, b2=0.95)
    >>> tx == funcopt.adam(1e-3, b2=0.95)
    True
    >>> jax.tree.leaves(tx)
    [0.001, 0.9, 0.95, 1e-08, 0.0]
    """

    _pair: _Pair

    if TYPE_CHECKING:
        # For a type checker: parameters may be of any class that is a pytree, and gradients and
        # states come back as what they were.
        def init(self, params: Any) -> Any: ...  # pyright: ignore[reportIncompatibleVariableOverride]

        def update(  # pyright: ignore[reportIncompatibleVariableOverride]
            self, updates: Tree, state: State, params: Any = None, **extra_args: Any
        ) -> tuple[Tree, State]: ...

    def __new__(cls, call: Call, numbers: tuple):
        pair = _Pair(call, numbers)
        self = tuple.__new__(cls, (pair.init, pair.update))
        self._call, self._numbers, self._pair = call, numbers, pair
        return self

    def body(self) -> Any:
        return self._pair.body()


register(GradientTransformation)


Factory = Callable[P, GradientTransformation]


@overload
def transformation(function: Callable[P, Any], /) -> Factory[P]: ...


@overload
def transformation(*, paper: Paper) -> Callable[[Callable[P, Any]], Factory[P]]: ...


def transformation(function: Any = None, /, *, paper: Paper | None = None) -> Any:
    """Decorate a factory of transformations, so that what it makes is a value.

    The function's body returns anything with `init(params)` and
    `update(updates, state, params, **extra_args)`. Its arguments are checked by the aliases
    of `funcopt.arguments` that annotate them and become the leaves of the value where they are
    numbers; the body must not branch on those.

    Args:
        function: the factory.
        paper: where the algorithm comes from, kept as the factory's `paper`:
            `@transformation(paper=...)`.

    >>> import funcopt
    >>> from funcopt.arguments import Rate
    >>> @funcopt.transformation
    ... def clipped_sgd(learning_rate: Rate):
    ...     return funcopt.chain(funcopt.clip(1.0), funcopt.sgd(learning_rate))
    >>> clipped_sgd(0.1)
    clipped_sgd(learning_rate=0.1)
    >>> funcopt.adamw.paper.short
    'Loshchilov & Hutter, 2019'
    """

    def decorate(function: Callable) -> Callable:
        factory = value_factory(GradientTransformation, function)
        vars(factory)["paper"] = paper
        return factory

    return decorate if function is None else decorate(function)


@dataclass(frozen=True)
class _Chain:
    """Transformations one after the other; `facts` are of the gradients that the first one sees."""

    members: tuple

    takes: ClassVar = {"facts", "goes_on"}

    def init(self, params: Params) -> tuple:
        return tuple(member.init(params) for member in self.members)

    def tells(self, params: Params, state: tuple, name: str) -> list[Told]:
        del name  # its members have names of their own
        return told_in_turn(self.members, params, state)

    def update(
        self,
        updates: Updates,
        state: tuple,
        params: Params | None = None,
        *,
        facts: Any = None,
        goes_on: bool = False,
        **extra_args: Any,
    ) -> tuple[Updates, tuple]:
        is_chain_state = isinstance(state, tuple | list) and not hasattr(state, "_fields")
        if not is_chain_state or len(state) != len(self.members):
            got = f"{len(state)}" if is_chain_state else f"a {type(state).__name__}"
            raise ValueError(
                f"The state is not one of this chain: expected the {len(self.members)} states of "
                f"its members, got {got}. `tx.init(params)` makes a state, and the order of "
                "arguments is `tx.update(grads, state, params)`."
            )
        gate = extra_args.get("gate")
        if gate is not None and not self.members and not goes_on:
            updates = where_open(gate, updates)
        states = []
        for i, (member, old) in enumerate(zip(self.members, state, strict=True)):
            known = {"facts": facts} if i == 0 and facts is not None else {}
            rest = self.members[i + 1 :]
            if goes_on or (gate is not None and rest):
                known["goes_on"] = True
            if isinstance(updates, Unscaled):
                known["factors"], updates = updates.factors, updates.updates
            if rest and one_pass.enabled() and "factors" in taken(rest[0]):
                known["leaves_factors"] = True
            updates, new = member.update(updates, old, params, **known, **extra_args)
            states.append(new)
        return updates, tuple(states)


def taken(tx: Any) -> frozenset[str]:
    """The names among `INTERNAL` that reach what a transformation is made of."""
    return _taken(_opened(tx))


def _taken(body: Any) -> frozenset[str]:
    return frozenset(getattr(body, "takes", ()))


def _multiplied(updates: Updates, factors: list[Array]) -> Updates:
    leaves, structure = jax.tree.flatten(updates)
    products = [(x * factor).astype(x.dtype) for x, factor in zip(leaves, factors, strict=True)]
    return structure.unflatten(products)


@dataclass(frozen=True)
class _Gated:
    """A transformation that knows no gate, such as optax's: what it did is selected afterwards.

    Its state keeps the types that it began with, which optax's does not where gradients are wider
    than parameters.
    """

    body: optax.GradientTransformation

    def init(self, params: Params) -> OptState:
        return self.body.init(params)

    def tells(self, params: Params, state: OptState, name: str) -> list[Told]:
        del state, name  # what is not funcopt's is asked by its own `init`
        return foreign(self.body, params)

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params | None = None,
        *,
        gate: Array | None = None,
        facts: Any = None,
        goes_on: bool = False,
        **extra_args: Any,
    ) -> tuple[Updates, OptState]:
        del facts  # what is not funcopt's does not know them
        body = optax.with_extra_args_support(self.body)
        new_updates, new = body.update(updates, state, params, **extra_args)
        if jax.tree.structure(new) == jax.tree.structure(state):
            new = jax.tree.map(_in_type_of, state, new)
        if gate is None:
            return new_updates, new
        kept = jax.tree.map(lambda a, b: jnp.where(gate, a, b), new, state)
        return new_updates if goes_on else where_open(gate, new_updates), kept


def in_turn(body: Any) -> tuple | None:
    """The members of a chain; None where it is something else."""
    return body.members if isinstance(body, _Chain) else None


def _in_type_of(old: Any, new: Any) -> Any:
    wanted, got = getattr(old, "dtype", None), getattr(new, "dtype", None)
    return new if wanted is None or wanted == got else jnp.asarray(new).astype(wanted)


def gated(tx: optax.GradientTransformation) -> Any:
    """`tx`, such that it takes a gate and any other extra argument."""
    return tx if isinstance(tx, GradientTransformation) else _Gated(tx)


def where_open(gate: Array, updates: Updates) -> Updates:
    """`updates`, or what changes nothing when it is added: minus zero, which keeps every bit."""
    return jax.tree.map(lambda u: jnp.where(gate, u, -jnp.zeros_like(u)), updates)


@transformation
def chain(*transforms: optax.GradientTransformation):
    """Apply transformations one after the other. The state is the tuple of their states.

    Members may be funcopt's or optax's; extra arguments of `update` reach all of them. Without
    members it is `identity()`.

    >>> import funcopt
    >>> funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-3))
    chain(clip_by_global_norm(max_norm=1.0), adamw(learning_rate=0.001))
    """
    for each in transforms:
        if isinstance(each, Rule) or not (hasattr(each, "init") and hasattr(each, "update")):
            raise TypeError(f"chain takes gradient transformations, got {each!r}{_hint(each)}.")
    return _Chain(tuple(gated(each) for each in transforms))


def _hint(x: Any) -> str:
    if isinstance(x, Rule):
        return ": a rule, which funcopt.lift or funcopt.optimizer makes a transformation"
    if isinstance(x, list | tuple):
        return ": give them as arguments of their own, chain(a, b)"
    return ": call it to make one" if callable(x) else ""


@transformation
def identity():
    """Pass updates through as they are.

    >>> import funcopt
    >>> tx = funcopt.identity()
    >>> tx.update(1.0, tx.init(1.0))
    (1.0, ())
    """
    return _Chain(())


def apply_updates(params: Tree, updates: Any) -> Tree:
    """Add updates to parameters: `params + updates`, each in its parameter's dtype.

    Where the update is None the parameter stays, so that parameters may be a whole Equinox model;
    where the parameter is None it stays None.

    Args:
        params: a tree of arrays.
        updates: a tree like it, of arrays of the same shapes, or None.

    Raises:
        ValueError: a shape differs, or the trees do.

    >>> import funcopt
    >>> funcopt.apply_updates({"w": 1.0}, {"w": -0.25})
    {'w': Array(0.75, dtype=float32)}
    """
    return _combined(params, updates, _add)


def _combined(params: Tree, updates: Any, combine: Callable[[Any, Any], Array]) -> Tree:
    """`combine(param, update)` for each parameter that has an update; the others as they are."""

    def is_none(x):
        return x is None

    changes, structure = jax.tree.flatten(updates, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError:
        ours, theirs = path_names(params), path_names(updates)
        if sorted(ours) == sorted(theirs):
            raise ValueError(
                "apply_updates: updates and parameters have the same names in different "
                f"containers or another order: {some(theirs)} and {some(ours)}. Take gradients "
                "with respect to the tree that is updated, so that both are of one kind."
            ) from None
        raise ValueError(
            "apply_updates: updates and parameters are different trees. Parameters without an "
            f"update: {some([name for name in ours if name not in theirs])}. Updates without a "
            f"parameter: {some([name for name in theirs if name not in ours])}."
        ) from None
    new = []
    for i, (update, param) in enumerate(zip(changes, parts, strict=True)):
        if update is None or param is None:
            new.append(param)
            continue
        if jnp.shape(update) != jnp.shape(param):
            path = jax.tree_util.tree_leaves_with_path(updates, is_leaf=is_none)[i][0]
            raise ValueError(
                f"The update of {path_name(path)!r} has shape {jnp.shape(update)}, but the "
                f"parameter has shape {jnp.shape(param)}."
            )
        new.append(combine(param, update))
    return jax.tree.unflatten(structure, new)


def _add(param: Array, update: Array) -> Array:
    dtype, wide = jnp.result_type(param), common_dtype(param, update)
    # Shapes are equal already: `lax.add` has no promotion to trace.
    total = jax.lax.add(jnp.asarray(param, wide), jnp.asarray(update, wide))
    return jax.lax.convert_element_type(total, dtype)


def step(
    tx: optax.GradientTransformation,
    grads: Any,
    state: State,
    params: Tree,
    **extra_args: Any,
) -> tuple[Tree, State]:
    """One optimization step: `tx.update` and `apply_updates` in one.

    What keeps weights more precisely than parameters are, such as `master_weights`, writes these
    itself.

    Gradients point uphill. For a complex parameter `jax.grad` gives the conjugate of that: take
    `jax.tree.map(jnp.conj, grads)`.

    >>> import funcopt
    >>> tx = funcopt.sgd(0.5)
    >>> params, state = funcopt.step(tx, {"w": 1.0}, tx.init({"w": 1.0}), {"w": 1.0})
    >>> params
    {'w': Array(0.5, dtype=float32)}
    """
    body: Any = _opened(tx)
    if isinstance(body, Writes):
        written: Any = body.written
        new, new_state = written(grads, state, params, **extra_args)
        return _combined(params, new, lambda _, whole: whole), new_state
    update: Any = optax.with_extra_args_support(tx).update
    updates, new_state = update(grads, state, params, **extra_args)
    return apply_updates(params, updates), new_state


def _opened(tx: Any) -> Any:
    """What a value is made of."""
    while isinstance(tx, GradientTransformation):
        tx = tx.body()
    return tx


def metrics(state: Any) -> dict[str, Float[Array, ""]]:
    """The metrics in a state, as a flat dict: learning rate, norms, clip ratio, skipped steps, ...

    Works on any nesting of states, funcopt's and optax's, inside and outside of `jit`. Where a
    name occurs twice, its group in a `partition` stands behind it, as in `lr/kernel`, and
    `lr/otherwise` for the group `""`; where the group does not tell, the path of its state stands
    before it.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.sgd(0.5))
    >>> _, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> {name: float(x) for name, x in funcopt.metrics(state).items()}
    {'grad_norm': 5.0, 'clip_ratio': 0.2..., 'clipped': 1.0, 'lr': 0.5}
    """
    _refuse_transformation("metrics", state)
    return {name: jnp.asarray(x, jnp.float32) for name, x in _named(reports(state)).items()}


def _refuse_transformation(name: str, state: Any) -> None:
    if isinstance(state, optax.GradientTransformation):
        raise TypeError(
            f"{name} takes a state, got the transformation {state!r}. `tx.init(params)` makes one, "
            "and `tx.update` returns the next."
        )


class Report(NamedTuple):
    """One number that a state tells, and where: the path of the state, and its groups."""

    name: str
    path: str
    groups: tuple[str, ...]
    number: Any


def reports(state: Any) -> list[Report]:
    """Every number that a state below `state` tells."""
    return list(_reports(state, "", ()))


def _reports(node: Any, path: str, groups: tuple[str, ...]) -> Iterator[Report]:
    if hasattr(node, "_fields") and hasattr(node, "metrics"):
        for name, x in node.metrics().items():
            yield Report(name, path, groups, x)
    by_group = _by_group(node)
    if by_group is not None:
        for label, child in by_group.items():
            yield from _reports(child, _below(path, label), (*groups, label or "otherwise"))
        return
    below, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    for key, child in below:
        if child is not node:
            yield from _reports(child, _below(path, path_name(key)), groups)


def _below(path: str, name: str) -> str:
    return "/".join(filter(None, [path, name]))


def _by_group(state: Any) -> dict[str, OptState] | None:
    """The states of the groups of a `partition`, funcopt's or optax's."""
    if isinstance(state, optax.MultiTransformState):
        return {str(label): each for label, each in state.inner_states.items()}
    return state.by_group() if hasattr(type(state), "by_group") else None


def _named(found: list[Report]) -> dict[str, Any]:
    """The numbers by the shortest names that tell them apart."""
    short = Counter(each.name for each in found)
    grouped = ["/".join([each.name, *each.groups]) for each in found]
    whole = Counter(grouped)
    names = {}
    for each, name in zip(found, grouped, strict=True):
        if short[each.name] == 1:
            name = each.name
        elif not each.groups or whole[name] > 1:
            name = f"{each.path}/{each.name}"
        names[name] = each.number
    return names


def rates(state: Any) -> dict[str, Any]:
    """The learning rates that a state reports, by the names that `metrics` gives them."""
    found = reports(state)
    named = _named(found)
    return {
        name: x for (name, x), each in zip(named.items(), found, strict=True) if each.name == "lr"
    }


def current_lr(state: Any) -> Float[Array, ""]:
    """The learning rate in force: of the last update, before that of the first one to come.

    The groups of a `partition` may share one. Inside of `jit` nobody knows whether they do: what
    comes is NaN in a step in which they do not.

    Raises:
        ValueError: the state holds no learning rate, or several that differ; `metrics` shows them
            all.

    >>> import funcopt
    >>> tx = funcopt.adam(0.25)
    >>> float(funcopt.current_lr(tx.init({"w": 1.0})))
    0.25
    """
    _refuse_transformation("current_lr", state)
    found = {name: jnp.asarray(x, jnp.float32) for name, x in rates(state).items()}
    if not found:
        raise ValueError(
            "The state holds no learning rate. funcopt.metrics(state) shows everything it reports."
        )
    first, *others = found.values()
    if any(isinstance(x, jax.core.Tracer) for x in found.values()):
        same = [first == x for x in others]
        return jnp.where(jnp.all(jnp.stack(same), axis=0), first, jnp.nan) if same else first
    if all(np.array_equal(first, x) for x in others):
        return first
    differ = ", ".join(f"{name} {x}" for name, x in found.items())
    raise ValueError(
        f"The state holds {len(found)} learning rates that differ: {differ}. "
        "funcopt.metrics(state) has each of them by its name."
    )
