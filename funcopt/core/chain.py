"""Transformations one after the other, as one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import optax
from optax import Params, Updates

from . import one_pass
from .description import Told, told_in_turn
from .rule import Rule
from .transformation import Unscaled, gated, taken, transformation, where_open


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


def in_turn(body: Any) -> tuple | None:
    """The members of a chain; None where it is something else."""
    return body.members if isinstance(body, _Chain) else None


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
