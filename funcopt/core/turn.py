"""What a whole-tree algorithm is given and gives back: columns of leaves, numbers, a clock.

An algorithm that looks at the whole tree is a frozen record of hyperparameters. Its numbers may
be schedules; the names in its `static` are of what is none. Its state is a NamedTuple with
`count`, `lr` (the effective rate in force) and `feedback`, and beside them scalars and trees
shaped like the parameters. `Start` makes the state, a `Turn` is one update.

A record with an `axis_name` sums over all devices; what its state begins with is the same on each.
Without one it looks at what is on this device, and inside of `shard_map` the types of what it
learns say so from the start, so that a loop can carry it.

Everything is computed in float32, or wider where a parameter is wider; scalars are kept so too.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from optax import Params, Updates, safe_increment

from ..math.columns import Column
from ..math.dtypes import common_dtype
from ..math.moments import zeros_real
from ..math.varying import AxisNames, mean_across, named, varying_along, varying_axes
from ..storage import Storage, kept_dtype
from .arguments import number_at
from .feedback import begin, hear, spoken
from .leaves import Beside, gradients_beside, in_full, is_array, parameters
from .paths import marked
from .rule import Clock, NoSlots

H = TypeVar("H")
S = TypeVar("S", bound=tuple)


def _scheduled(record: Any) -> dict[str, Any]:
    """The fields that are numbers or schedules of them."""
    static = getattr(record, "static", ())
    return {name: x for name, x in vars(record).items() if name not in static}


def _numbers(record: H, feedback: tuple, step: Array, real: Any) -> H:
    """The record at `step`. What is a number in Python stays one, so that 1 - b2 is exact."""

    def at(path: tuple, x: Any) -> Any:
        if isinstance(x, int | float):
            return x
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return number_at(f"{type(record).__name__.lstrip('_')}: {name}", x, step).astype(real)

    spoken_ = spoken(_scheduled(record), feedback)
    at_step = jax.tree_util.tree_map_with_path(at, spoken_, is_leaf=callable)
    return replace(record, **at_step)  # type: ignore[type-var]


@dataclass(frozen=True)
class Start:
    """The making of a state."""

    arrays: Column
    structure: Any
    real: Any
    feedback: tuple
    axis_name: AxisNames

    @staticmethod
    def of(record: H, params: Params) -> tuple[H, "Start"]:
        arrays, structure = parameters(params)
        marked(getattr(record, "mask", None), params)  # one that fits nothing is told here
        real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
        feedback = begin(_scheduled(record))
        start = Start(arrays, structure, real, feedback, getattr(record, "axis_name", None))
        return _numbers(record, feedback, jnp.zeros([], jnp.int32), real), start

    @property
    def count(self) -> Array:
        return jnp.zeros([], jnp.int32)

    def scalar(self, x: ArrayLike) -> Float[Array, ""]:
        """A number that follows from the count alone."""
        return jnp.array(x, self.real)

    def learnt(self, x: ArrayLike) -> Float[Array, ""]:
        """A number that follows from gradients or parameters."""
        return self.varying(self.scalar(x))

    def varying(self, x: Array) -> Array:
        """What follows from gradients or parameters, of the type that it will have."""
        return varying_along(x, varying_axes(*self.arrays) - set(named(self.axis_name)))

    def line(self, x: ArrayLike = 0.0) -> Float[Array, " leaves"]:
        """A number for each leaf."""
        return self.varying(jnp.full(len(self.arrays), x, self.real))

    def tree(self, column: Column) -> Params:
        return jax.tree.unflatten(self.structure, column)

    def zeros(self, real: bool = False) -> Params:
        """A tree of zeros, of real ones if they are to hold magnitudes."""
        return self.tree([zeros_real(x) if real else jnp.zeros_like(x) for x in self.arrays])

    def full(self, value: Any) -> Params:
        """`value` everywhere, for magnitudes."""
        return self.tree([zeros_real(x) + value for x in self.arrays])

    def copies(self) -> Params:
        """The parameters in buffers of their own, so that they can be donated."""
        return self.tree([jnp.array(x, copy=True) for x in self.arrays])

    def slots(self, kind: type, storage: Storage, **trees: Params | None) -> dict[str, Any]:
        """The slots that `kind` declares, in the dtypes in which they are kept."""

        def kept(name: str, tree: Params | None) -> Any:
            return jax.tree.map(lambda x: x.astype(kept_dtype(storage, kind, name, x.dtype)), tree)

        return {name: kept(name, tree) for name, tree in trees.items()}

    @property
    def wide(self) -> Column:
        return [x.astype(common_dtype(self.real, x)) for x in self.arrays]


@dataclass(frozen=True)
class Turn:
    """One update: what came, and how the state is renewed and updates leave."""

    leaves: list[Beside]
    structure: Any
    real: Any
    clock: Clock
    state: Any
    feedback: tuple
    axis_name: AxisNames

    @staticmethod
    def of(
        record: H,
        updates: Updates,
        state: Any,
        params: Params | None,
        *,
        kind: type,
        slots: type = NoSlots,
        as_they_are: tuple[str, ...] = (),
        needs_params: bool = True,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Array | None = None,
    ) -> tuple[H, "Turn"]:
        """The record at this step, and the turn.

        `slots` declares the trees in the state. Those and numbers that came in half precision,
        which neither the storage nor `as_they_are` allows, are kept in full from then on.
        """
        name = kind.__name__.removesuffix("State")
        if not isinstance(state, kind):
            raise ValueError(
                f"{name} got a {type(state).__name__} as its state, expected a {kind.__name__}: "
                "`tx.init(params)` makes one, and the order of arguments is "
                "`tx.update(grads, state, params)`."
            )
        if params is None and needs_params:
            raise ValueError(
                f"{name} needs the parameters: call `tx.update(grads, state, params)`, not "
                "`tx.update(grads, state)`."
            )
        declared: tuple[str, ...] = slots._fields  # type: ignore[attr-defined]
        storage = getattr(record, "storage", None)
        least = {slot: kept_dtype(storage, slots, slot, jnp.float32) for slot in declared}
        state = _in_full(state, least | dict.fromkeys(as_they_are, jnp.float16))
        trees = {slot: getattr(state, slot) for slot in declared}
        trees = {slot: tree for slot, tree in trees.items() if tree is not None}
        leaves, structure = gradients_beside(updates, params, [*trees.values()], names=[*trees])
        shown = [leaf.grad if leaf.param is None else leaf.param for leaf in leaves]
        real = jnp.finfo(common_dtype(jnp.float32, *shown)).dtype
        count: Array = state.count  # type: ignore[attr-defined]
        old: tuple = state.feedback  # type: ignore[attr-defined]
        feedback = hear(_scheduled(record), old, value, metric, count)
        clock = Clock(jnp.asarray(safe_increment(count)), gate=gate)
        axis_name = getattr(record, "axis_name", None)
        turn = Turn(leaves, structure, real, clock, state, feedback, axis_name)
        return _numbers(record, feedback, count, real), turn

    def _wide(self, x: Any) -> Array:
        x = jnp.asarray(x)
        return x.astype(common_dtype(self.real, x))

    @property
    def grads(self) -> Column:
        """The gradients: complex only beside a complex parameter."""
        return [self._wide(leaf.grad).astype(self._type(leaf)) for leaf in self.leaves]

    @property
    def params(self) -> Column:
        return [self._wide(leaf.param) for leaf in self.leaves]

    def _type(self, leaf: Beside) -> Any:
        return common_dtype(self.real, leaf.grad if leaf.param is None else leaf.param)

    def column(self, tree: Params) -> Column:
        """A slot, in the type of the arithmetic."""
        return [self._wide(x) for x in jax.tree.leaves(tree)]

    def decay(self, weight_decay: Any, mask: Any) -> Column:
        """`weight_decay` times the parameters that `mask` means, zeros for the others."""
        x = self.params
        tree = jax.tree.unflatten(self.structure, [leaf.param for leaf in self.leaves])
        flags = marked(mask, tree)  # a mask that fits nothing is a mistake without decay, too
        if weight_decay is None:
            return [jnp.zeros_like(each) for each in x]
        return [
            weight_decay * each if flag else jnp.zeros_like(each)
            for each, flag in zip(x, flags, strict=True)
        ]

    def renew(self, state: Any = None, **new: Any) -> Any:
        """The state with `new` scalars and columns, or as it was when the gate is closed.

        Compute updates, and sums over the tree, from the columns that this returns, so that XLA
        writes slots in place. `state` is what an earlier call returned: columns first, then the
        scalars that follow from them.
        """
        old = self.state._asdict()
        kept = {name: self._kept(x, old[name]) for name, x in new.items()}
        kept["count"] = self.clock.choose(self.clock.t, old["count"])
        kept["feedback"] = jax.tree.map(self.clock.choose, self.feedback, old["feedback"])
        return type(self.state)(**{**(state or self.state)._asdict(), **kept})

    def _kept(self, new: Any, old: Any) -> Any:
        if not isinstance(new, list):
            return self.clock.choose(jnp.asarray(new).astype(old.dtype), old)
        leaves, structure = jax.tree.flatten(old)
        return jax.tree.unflatten(
            structure,
            [self.clock.choose(x.astype(o.dtype), o) for x, o in zip(new, leaves, strict=True)],
        )

    def leave(self, steps: Column) -> Updates:
        """Updates in their parameters' dtype; with the gate closed, what changes no bit."""
        out = []
        for step, leaf in zip(steps, self.leaves, strict=True):
            kind = jnp.result_type(leaf.grad if leaf.param is None else leaf.param)
            out.append(self.clock.choose_step(step).astype(kind))
        return jax.tree.unflatten(self.structure, out)


def _in_full(state: S, least: dict[str, Any]) -> S:
    """The numbers of a state in float32 or wider, and its slots at least as wide as `least`."""
    old = state._asdict()  # type: ignore[attr-defined]
    ours = {name: x for name, x in old.items() if name in {*least, "feedback"} or is_array(x)}
    return type(state)(
        **old | {name: in_full(x, least.get(name, jnp.float32)) for name, x in ours.items()}
    )


def loss_value(
    name: str, value: ArrayLike | None, real: Any, axis_name: AxisNames
) -> Float[Array, ""]:
    """The loss that an algorithm needs, checked; its mean where devices differ."""
    if value is None:
        raise ValueError(
            f"{name} needs the loss at which the gradients were taken: call "
            "`tx.update(grads, state, params, value=loss)`; `jax.value_and_grad` gives both."
        )
    if jnp.ndim(value):
        raise ValueError(
            f"{name}: value must be a scalar, got an array of shape {jnp.shape(value)}. Give the "
            "mean over the batch."
        )
    return mean_across(jnp.asarray(value).astype(real), axis_name)
