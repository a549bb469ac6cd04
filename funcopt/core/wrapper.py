"""What decides about the steps of another transformation: whether they count, of which gradients.

A wrapper is the class of its state, with what is inside at `inner`; what that begins with, `first`;
and `step`, which runs what is inside, once. The base

- refuses a state of another class, and an update without what is needed,
- keeps what the state has in full, also where it came from a checkpoint in half precision,
- hands `value`, `metric`, the gate and what else came on to the inside,
- leaves what the state has as it was where a gate around is closed.

What changes updates leaf by leaf, or keeps slots of its own, is less to write as a tree rule around
a transformation: `LiftedTree(rule, inner=)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool
from optax import OptState, Params, Updates

from ..math.choice import where
from ..math.dtypes import common_dtype
from ..math.global_norm import Facts
from ..math.once import flag_once
from ..math.varying import named, varying_along, varying_axes
from .description import Act, Part, Told, found_slots, told
from .leaves import in_full, parameters
from .refusals import called, foreign_state, no_parameters, no_value
from .transformation import gated

S = TypeVar("S", bound=tuple)


class Beginning(NamedTuple):
    """What the state of a wrapper begins with.

    The parameters, as they are and as `arrays` in the type of the arithmetic, of which `as_tree`
    makes a tree; the type `real` of numbers; the state `inner` of what is inside.
    """

    params: Params
    arrays: list[Array]
    as_tree: Callable[[list[Array]], Params]
    real: np.dtype
    inner: OptState


@dataclass(frozen=True)
class Inside:
    """What is inside of a wrapper, and what came for it with one update.

    `facts` are of the gradients that came: they go on only where these do, by `run(facts=)`.
    """

    tx: optax.GradientTransformation
    params: Params | None
    gate: Bool[Array, ""] | None
    facts: Facts | None
    extra_args: Mapping[str, Any]

    @property
    def value(self) -> ArrayLike | None:
        return self.extra_args.get("value")

    def counts(self, flag: Bool[Array, ""]) -> Bool[Array, ""]:
        """`flag`, false where a gate around is closed."""
        return flag if self.gate is None else flag & self.gate

    def open(self) -> "Inside":
        """The same without the gate that came: for what is tried, and not taken."""
        return replace(self, gate=None)

    def run(
        self,
        updates: Updates,
        state: OptState,
        *,
        gate: Bool[Array, ""] | None = None,
        **other: Any,
    ) -> tuple[Updates, OptState]:
        """Its update, whose step counts where `gate` and the gate around are open.

        `other` arguments take the place of those that came; None leaves one out.
        """
        if gate is None:
            gate = self.gate
        elif len(jax.tree.leaves(updates)) == 1:
            gate = self.counts(gate)  # which is read once
        else:
            gate = flag_once(self.counts(gate))
        given = {**self.extra_args, **other, "gate": gate}
        given = {
            name: x for name, x in given.items() if x is not None or name not in ("gate", *other)
        }
        update: Callable[..., tuple[Updates, OptState]] = self.tx.update
        return update(updates, state, self.params, **given)


@dataclass(frozen=True)
class Wrapper(Generic[S]):
    """A transformation around another one, whose state is of the class `state`.

    `keeps` names the fields of it that `step` sees to itself, such as a tree of arrays: their
    types, and that they stay as they are where the gate is closed.
    """

    inner: optax.GradientTransformation

    state: ClassVar[type]
    keeps: ClassVar[tuple[str, ...]] = ()
    needs_params: ClassVar[bool] = False
    needs_value: ClassVar[bool] = False
    takes: ClassVar[frozenset[str]] = frozenset({"facts"})

    def __post_init__(self):
        object.__setattr__(self, "inner", gated(self.inner))  # what knows no gate, too

    @property
    def name(self) -> str:
        """As users call it: the class in small letters, `loss_scale`."""
        return called(type(self))

    def first(self, start: Beginning) -> S:
        """The state before the first update."""
        raise NotImplementedError

    def step(self, updates: Updates, state: S, inside: Inside) -> tuple[Updates, S]:
        """One update: what `inside.run` makes of it, and the state after it."""
        raise NotImplementedError

    def init(self, params: Params) -> S:
        arrays, structure = parameters(params)
        real = jnp.finfo(common_dtype(jnp.float32, *arrays)).dtype
        inner = self.inner.init(self.shown(params))
        state = self.first(Beginning(params, arrays, structure.unflatten, real, inner))
        # What every device decides for its own parameters differs between devices.
        axes = varying_axes(*arrays) - set(named(getattr(self, "axis_name", None)))
        return self.varying(state, axes) if axes else state

    def shown(self, params: Params) -> Params:
        """The parameters that `init` of what is inside is given: as they are."""
        return params

    def tells(self, params: Params, state: S, name: str) -> list[Told]:
        """What is inside, and what the state keeps of each leaf beside it."""
        own = {field: getattr(state, field) for field in state._fields if field != "inner"}  # type: ignore[attr-defined]
        inside = told(self.inner, self.shown(params), state.inner)  # type: ignore[attr-defined]
        return [
            each + Told((Act(self.name, keeps=bool(slots)),), (Part(name or self.name),), slots)
            for each, slots in zip(inside, found_slots(own, params), strict=True)
        ]

    def varying(self, state: S, axes: frozenset[str]) -> S:
        """A first state of the types that it has after a step, which differs along `axes`."""
        return jax.tree.map(lambda x: varying_along(x, axes), state)

    def update(
        self,
        updates: Updates,
        state: S,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        metric: ArrayLike | None = None,
        gate: Bool[Array, ""] | None = None,
        facts: Facts | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, S]:
        if not isinstance(state, self.state):
            raise foreign_state(self.name, type(state).__name__, self.state.__name__)
        if params is None and self.needs_params:
            raise no_parameters(self.name)
        if value is None and self.needs_value:
            raise no_value(self.name)
        given = {"value": value, "metric": metric}
        extra_args |= {name: x for name, x in given.items() if x is not None}
        own = [name for name in self.state._fields if name not in ("inner", *self.keeps)]
        old = in_full({name: getattr(state, name) for name in own})
        inside = Inside(self.inner, params, gate, facts, extra_args)
        new_updates, new = self.step(updates, self._with(state, old), inside)
        if gate is None:
            return new_updates, new
        renewed = {name: getattr(new, name) for name in own}
        kept = jax.tree.map(lambda a, b: where(gate, a, b), renewed, old)
        return new_updates, self._with(new, kept)

    def _with(self, state: S, fields: dict[str, Any]) -> S:
        return self.state(**{**dict(zip(self.state._fields, state, strict=True)), **fields})
