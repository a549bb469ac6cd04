"""What keeps parameters of 16 bits more precisely than they are, around any optimizer.

    x ← the weight in float32, of the parameter p and of what is kept beside it
    x ← x + inner update at x               in float32, as if parameters were
    q ← x rounded to the type of p          and what that leaves out is kept
    update ← q − p                          in float32, so that p + update is q

Where the written parameters are wanted, as by `funcopt.step`, they are q themselves. What has 32
bits or more is left to the optimizer.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from optax import OptState, Params, Updates

from ..core.leaves import Absent, Beside, gradients_beside, in_full, is_kept, parameters
from ..core.paths import path_codes, path_names
from ..core.refusals import called, foreign_state
from ..core.rule import NoSlots
from ..core.step import apply_updates
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.dtypes import is_half
from ..math.halves import landing
from ..math.rounding import hash_noise

SALT = np.uint32(0x5745_4947)
"""Tells the noise of weights from that of slots, which may have the same path."""


class Way:
    """How a weight is kept in more than 16 bits. Instances are structure: frozen and hashable.

    `slots` is the NamedTuple class of what is kept beside a parameter: one field, whose `whole` of
    parameter and field is the weight in float32, or none. `restores` is the narrowest type in which
    that is any good, if it is of floats.
    """

    slots: ClassVar[Any] = NoSlots
    restores: ClassVar[str] = "float16"

    @property
    def half(self) -> tuple[str, ...]:
        """The types of 16 bits that it knows."""
        return "bfloat16", "float16"

    @property
    def instead(self) -> str:
        """What to do about parameters in the other one."""
        return ""

    def draws(self, kept: Any) -> bool:
        """Whether a parameter beside which this is kept is rounded by chance."""
        del kept
        return False

    def begin(self, param: Array) -> Array:
        """What is kept beside a parameter at first."""
        return jnp.zeros_like(param)

    def moved(
        self, update: Array, x: Array, param: Array, kept: Any, noise: Any
    ) -> tuple[Array, Any]:
        """The parameter after an update of the weight `x`, and what that leaves out."""
        raise NotImplementedError

    def settled(self, rest: Any, new: Array, landed: Array, param: Array) -> Array:
        """What is kept of `rest` where `landed` was written, which is `new` but for rounding."""
        del new, landed, param  # all of it may be
        return rest


class WeightsState(NamedTuple):
    """`slots` has what is kept beside each parameter of 16 bits."""

    inner: OptState
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    slots: Any

    def weights(self, params: list[Array]) -> list[Array]:
        """Those in float32 that the optimizer inside sees, of parameters that are all its own."""
        kept = [x for tree in self.slots for x in jax.tree.leaves(tree, is_leaf=is_kept)]
        if len(kept) != len(params):
            return params
        pairs = zip(params, kept, strict=True)
        return [p if isinstance(x, Absent) else self.slots.whole(p, x) for p, x in pairs]


@dataclass(frozen=True)
class Weights(Wrapper[WeightsState]):
    how: Way

    state = WeightsState
    keeps = ("slots",)
    needs_params = True

    @property
    def name(self) -> str:
        return called(type(self.how))

    def shown(self, params: Params) -> Params:
        """In float32, as if parameters were."""
        arrays, structure = parameters(params)
        return structure.unflatten(arrays)

    def first(self, start: Beginning) -> WeightsState:
        leaves = jax.tree.leaves(start.params)
        for path, x in zip(path_names(start.params), leaves, strict=True):
            self._check(path, x)
        kept: list[Any] = [
            self.how.begin(x) if is_half(x) else Absent() for x in map(jnp.asarray, leaves)
        ]
        slots = self.how.slots(*(start.as_tree(kept) for _ in self.how.slots._fields))
        return WeightsState(start.inner, jnp.zeros([], jnp.int32), slots)

    def varying(self, state: WeightsState, axes: frozenset[str]) -> WeightsState:
        del axes  # nothing is decided, and what is kept varies as its parameter does
        return state

    def step(
        self, updates: Updates, state: WeightsState, inside: Inside
    ) -> tuple[Updates, WeightsState]:
        extra = dict(inside.extra_args)
        writes = extra.pop("writes", False)
        leaves, structure = self._beside(updates, state, inside.params)
        weights = [self._whole(leaf) for leaf in leaves]
        inside = replace(inside, params=structure.unflatten(weights), extra_args=extra)
        moved, inner = inside.run(updates, state.inner, facts=inside.facts)
        moved = jax.tree.leaves(moved)

        count = jnp.asarray(optax.safe_increment(state.count))
        codes = path_codes(updates)
        new, kept = [], []
        for leaf, x, u, code in zip(leaves, weights, moved, codes, strict=True):
            if not is_half(leaf.param):
                new.append(apply_updates(leaf.param, u) if writes else u)
                kept.append(Absent())
                continue
            old = leaf.slots[0] if leaf.slots else None
            draw = (count, code ^ SALT) if self.how.draws(old) else None
            got, left = _renewed(u, x, leaf.param, old, inside.gate, draw, self.how, writes)
            new.append(got)
            kept.append(left)
        # Containers may differ between `init` and `update`: the state keeps its own.
        trees = (jax.tree.structure(tree, is_leaf=is_kept) for tree in state.slots)
        slots = self.how.slots(*(tree.unflatten(kept) for tree in trees))
        return structure.unflatten(new), WeightsState(inner, count, slots)

    def written(
        self, updates: Updates, state: WeightsState, params: Params, **extra_args: Any
    ) -> tuple[Params, WeightsState]:
        """The parameters after the step in place of its updates."""
        return self.update(updates, state, params, writes=True, **extra_args)

    def _whole(self, leaf: Beside) -> Array:
        param = jnp.asarray(leaf.param)
        if not is_half(param):
            return param
        return _whole(param, leaf.slots[0] if leaf.slots else None, self.how)

    def _beside(
        self, updates: Updates, state: WeightsState, params: Params | None
    ) -> tuple[list[Beside], Any]:
        if type(state.slots) is not self.how.slots:
            got = f"{type(state).__name__} of {type(state.slots).__name__}"
            raise foreign_state(self.name, got, f"WeightsState of {self.how.slots.__name__}")
        trees = [in_full(tree, self.how.restores) for tree in state.slots]
        absent = [isinstance(x, Absent) for x in jax.tree.leaves(trees, is_leaf=is_kept)]
        leaves, structure = gradients_beside(
            updates,
            params,
            trees,
            names=state.slots._fields,
            shape_of=lambda j, i, x: None if absent[i] else jnp.shape(x),
        )
        for path, leaf in zip(path_names(updates), leaves, strict=True):
            self._check(path, leaf.param)
            if leaf.slots and is_half(leaf.param) == isinstance(leaf.slots[0], Absent):
                dtype = jnp.result_type(leaf.param).name
                other = "a wider one" if is_half(leaf.param) else "one of 16 bits"
                raise ValueError(
                    f"{self.name}: the parameter {path!r} is {dtype}, but the state was made for "
                    f"{other}. Convert it to the type that it had, or make a state for these with "
                    "`tx.init(params)`."
                )
        return leaves, structure

    def _check(self, path: str, param: Any) -> None:
        dtype = jnp.result_type(param).name
        if is_half(param) and dtype not in self.how.half:
            raise ValueError(
                f"{self.name}: the parameter {path!r} is {dtype}, of which this keeps no more than "
                f"it is: it knows {' and '.join(self.how.half)}. {self.how.instead}"
            )


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="how")
def _whole(param: Array, kept: Array | None, how: Way) -> Array:
    return param.astype(jnp.float32) if kept is None else how.slots.whole(param, kept)


@partial(jax.jit, static_argnames=("how", "writes"))
def _renewed(
    update: Array,
    x: Array,
    param: Array,
    kept: Array | None,
    gate: Array | None,
    draw: tuple[Array, Array] | None,
    how: Way,
    writes: bool,
) -> tuple[Array, Array | None]:
    """The update of one parameter, or the parameter itself, and what is kept beside it."""
    noise = None if draw is None else hash_noise(param.shape, *draw, like=param)
    new, rest = how.moved(update.astype(jnp.float32), x, param, kept, noise)
    if gate is not None:
        new = jnp.where(gate, new, param)
    change, landed = (new, new) if writes else landing(new, param)
    if kept is None:
        return change, None
    left = how.settled(rest, new, landed, param).astype(kept.dtype)
    return change, left if gate is None else jnp.where(gate, left, kept)
