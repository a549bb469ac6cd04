"""What one update of a lifted tree rule works with.

Gradients, parameters and slots come as columns in the type of the arithmetic, and slots and numbers
go back as they are kept, the gate applied.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from optax import Params, Updates

from ..math.columns import Column, Scaled
from ..math.dtypes import cast, common_dtype, dtype_of
from ..math.global_norm import Facts, global_norm
from ..math.varying import AxisNames, varying_along, varying_axes
from ..storage.kept import Coded, decoded
from .again import in_few_bits
from .again import kept as slot_again
from .leaves import Beside, is_kept
from .paths import path_codes, selected
from .refusals import called
from .rule import Clock, NoSlots, Rule
from .tree_rule import TreeRule


@dataclass(frozen=True)
class TreeStep:
    """What one update of a lifted tree rule works with."""

    rule: TreeRule
    axis_name: AxisNames
    leaves: list[Beside]
    structure: Any
    clock: Clock
    state: Any
    goes_on: bool
    renewed: list[Array] = field(default_factory=list)
    in_codes: dict[int, tuple[Array, Any]] = field(default_factory=dict)

    @cached_property
    def real(self) -> Any:
        shown = [leaf.grad if leaf.param is None else leaf.param for leaf in self.leaves]
        return jnp.finfo(common_dtype(jnp.float32, *shown)).dtype

    def wide(self, x: Any) -> Array:
        if self._is_wide(x):
            return x
        x = jnp.asarray(x)
        return cast(x, common_dtype(self.real, x))

    def _is_wide(self, x: Any) -> bool:
        """Whether it is as arithmetic has it: what most leaves are is not asked of JAX again."""
        return isinstance(x, jax.Array) and x.dtype == self.real

    @property
    def grads(self) -> Column:
        """The gradients: complex only beside a complex parameter."""

        def beside(leaf: Beside) -> Array:
            like = leaf.grad if leaf.param is None else leaf.param
            if self._is_wide(leaf.grad) and self._is_wide(like):
                return leaf.grad
            return cast(self.wide(leaf.grad), common_dtype(self.real, like))

        return list(map(beside, self.leaves))

    @cached_property
    def params(self) -> Column:
        return [self.wide(leaf.param) for leaf in self.leaves]

    @property
    def slots(self) -> Any:
        kept = self.state.slots

        def column(tree: Any) -> Column | None:
            return None if tree is None else list(map(self._decoded, _kept_leaves(tree)))

        return type(kept)(*map(column, kept))

    def _decoded(self, kept: Any) -> Array:
        return self.wide(decoded(kept, self.real) if isinstance(kept, Coded) else kept)

    def grad_norm(self, facts: Facts | None) -> Float[Array, ""]:
        if facts is not None and self.axis_name is None:
            return facts.norm.astype(self.real)
        return global_norm([leaf.grad for leaf in self.leaves], self.axis_name).astype(self.real)

    def selected(self, mask: Any) -> list[bool]:
        """Whether `mask` means a parameter, for each leaf."""
        return selected(mask, self.structure.unflatten([leaf.param for leaf in self.leaves]))

    def decay(self, weight_decay: Any, mask: Any) -> Column:
        """`weight_decay` times the parameters that `mask` means, zeros for the others."""
        flags = self.selected(mask)  # a mask that fits nothing is a mistake without decay, too
        if weight_decay is None:
            return [jnp.zeros_like(x) for x in self.params]
        return [
            weight_decay * x if flag else jnp.zeros_like(x)
            for x, flag in zip(self.params, flags, strict=True)
        ]

    def renew(self, slots: Any, **new: Column) -> Any:
        """The slots with `new` columns as they are kept, or as they were when the gate is closed.

        Compute updates, and sums over leaves, from the columns that this returns, so that XLA
        writes slots in place. Numbers are renewed once more at the end, but for those that were
        renewed here.
        """
        if isinstance(slots, self.rule.numbers):
            chosen = {name: self._number(x, getattr(slots, name)) for name, x in new.items()}
            self.renewed.extend(chosen.values())
            return type(slots)(**{**slots._asdict(), **chosen})
        renewed = {name: list(self._renewed(name, x)) for name, x in new.items()}
        return type(slots)(**{**slots._asdict(), **renewed})

    def _renewed(self, name: str, column: Column) -> Iterator[Array]:
        """What will be read of a slot at the next update; its codes are remembered."""
        old = _kept_leaves(getattr(self.state.slots, name))
        for x, o, path in zip(column, old, self.path_codes, strict=True):
            chosen = jax.tree.map(self.clock.choose, self._kept(name, x, o, path), o)
            wide = self._decoded(chosen)
            if isinstance(o, Coded):
                self.in_codes[id(wide)] = wide, chosen
            yield wide

    def _kept(self, name: str, x: Array, old: Any, path: Any) -> Any:
        """A slot as `old` was kept."""
        in_codes = isinstance(old, Coded)
        if not self._is_wide(x) and jnp.iscomplexobj(x) and (in_codes or not jnp.iscomplexobj(old)):
            raise TypeError(
                f"{called(type(self.rule))}: {name} of a complex parameter is kept as a real one: "
                "the state was made for real parameters. Make one for these with `tx.init(params)`."
            )
        least = None if in_codes else old.dtype
        return slot_again(self.rule, name, x, old, least, replace(self.clock, path=path))

    @cached_property
    def path_codes(self) -> list[Any]:
        """A number for the path of each leaf, by which codes are rounded; None without codes."""
        shown = self.structure.unflatten([leaf.grad for leaf in self.leaves])
        coded = any(in_few_bits(x) for leaf in self.leaves for x in leaf.slots)
        return list(path_codes(shown)) if coded else [None] * len(self.leaves)

    def kept_as_trees(self, slots: Any) -> Any:
        """The slots that the rule returns, which it has renewed, as trees of the kept types."""
        trees = []
        for name, column, tree in zip(slots._fields, slots, self.state.slots, strict=True):
            if column is None:
                trees.append(None)
                continue
            old, structure = jax.tree.flatten(tree, is_leaf=is_kept)
            rows = zip(column, old, self.path_codes, strict=True)
            trees.append(structure.unflatten([self._as_kept(name, *row) for row in rows]))
        return type(slots)(*trees)

    def _as_kept(self, name: str, x: Array, old: Any, path: Any) -> Any:
        """A slot as it is kept: the codes of which it was read, where it has been renewed."""
        found = self.in_codes.get(id(x))
        return self._kept(name, x, old, path) if found is None else found[1]

    def numbers(self, new: Any) -> Any:
        """The numbers as they are kept, those from before where the gate is closed."""

        pairs = zip(new, self.state.numbers, strict=True)
        return type(new)(*(self._number(x, old) for x, old in pairs))

    def _number(self, x: Any, old: Array) -> Array:
        if any(x is each for each in self.renewed):
            return x
        x = varying_along(jnp.asarray(x).astype(old.dtype), varying_axes(old))
        return self.clock.choose(x, old)

    def as_tree(self, column: Column) -> Any:
        return self.structure.unflatten(column)

    @property
    def dtypes(self) -> list[Any]:
        """The types of parameters."""
        return [dtype_of(leaf.grad if leaf.param is None else leaf.param) for leaf in self.leaves]

    def decayed_first(self, decay: Rule) -> Column:
        """The gradients, with a decay in them that stands before all else."""
        flags = self.selected(self.rule.mask)  # type: ignore[attr-defined]
        if decay.place != "first":
            return self.grads
        return [
            decay.update(g, NoSlots(), x, self.clock)[0] if flag else g
            for g, x, flag in zip(self.grads, self.params, flags, strict=True)
        ]

    def are_left(self, steps: Column | Scaled, dtypes: list[Any]) -> TypeGuard[Scaled]:
        """Whether the next member of a chain can multiply, as no type and no gate is in between."""
        if not isinstance(steps, Scaled) or not (self.goes_on or self.clock.gate is None):
            return False
        return all(x.dtype == dtype for x, dtype in zip(steps.arrays, dtypes, strict=True))

    def as_updates(
        self, steps: Column | Scaled, dtypes: list[Any], decay: tuple[Rule, Array] | None
    ) -> Updates:
        """Updates in the types `dtypes`, decayed at a rate; with the gate closed, what changes no
        bit.
        """
        numbers, arrays = steps if isinstance(steps, Scaled) else ([None] * len(steps), steps)
        rows = zip(arrays, numbers, dtypes, strict=True)
        clock = replace(self.clock, gate=None) if self.goes_on else self.clock
        if decay is None and clock.gate is None:
            return self.as_tree([_times(x, number).astype(dtype) for x, number, dtype in rows])
        if decay is None:
            return self.as_tree([_left(x, number, clock, dtype) for x, number, dtype in rows])
        rule, clock = decay[0], replace(clock, lr=decay[1])
        flags = self.selected(self.rule.mask)  # type: ignore[attr-defined]
        return self.as_tree(
            [
                _left(*row[:2], clock, row[2], *((rule, x) if flag else ()))
                for row, x, flag in zip(rows, self.params, flags, strict=True)
            ]
        )


# Leaves of the same shape share a trace, as in `lift`.
@partial(jax.jit, static_argnames="dtype")
def _left(
    step: Array,
    number: Array | None,
    clock: Clock,
    dtype: Any,
    decay: Rule | None = None,
    param: Array | None = None,
) -> Array:
    step = _times(step, number)
    if decay is not None:
        step, _ = decay.update(step, NoSlots(), param, clock)
    return clock.choose_step(step).astype(dtype)


def _times(step: Array, number: Array | None) -> Array:
    return step if number is None else step * number.astype(jnp.finfo(step.dtype).dtype)


def _kept_leaves(tree: Params) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=is_kept)
