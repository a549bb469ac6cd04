"""The transformation: a pure pair `(init, update)` over a pytree, as a value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, overload

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import OptState, Params, Updates

from .description import Told, foreign, recorded
from .paper import Paper
from .places import beside_parameters
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


def taken(tx: Any) -> frozenset[str]:
    """The names among `INTERNAL` that reach what a transformation is made of."""
    return _taken(opened(tx))


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
        goes_on: bool = False,
        **extra_args: Any,
    ) -> tuple[Updates, OptState]:
        # What is not funcopt's does not know them, and would hand them on to ours inside of it.
        for name in INTERNAL:
            extra_args.pop(name, None)
        body = optax.with_extra_args_support(self.body)
        new_updates, new = body.update(updates, state, params, **extra_args)
        if jax.tree.structure(new) == jax.tree.structure(state):
            new = jax.tree.map(_in_type_of, state, new)
        if gate is None:
            return new_updates, new
        kept = jax.tree.map(lambda a, b: jnp.where(gate, a, b), new, state)
        return new_updates if goes_on else where_open(gate, new_updates), kept


def _in_type_of(old: Any, new: Any) -> Any:
    wanted, got = getattr(old, "dtype", None), getattr(new, "dtype", None)
    return new if wanted is None or wanted == got else jnp.asarray(new).astype(wanted)


def gated(tx: optax.GradientTransformation) -> Any:
    """`tx`, such that it takes a gate and any other extra argument."""
    return tx if isinstance(tx, GradientTransformation) else _Gated(tx)


def where_open(gate: Array, updates: Updates) -> Updates:
    """`updates`, or what changes nothing when it is added: minus zero, which keeps every bit."""
    return jax.tree.map(lambda u: jnp.where(gate, u, -jnp.zeros_like(u)), updates)


def opened(tx: Any) -> Any:
    """What a value is made of."""
    while isinstance(tx, GradientTransformation):
        tx = tx.body()
    return tx
