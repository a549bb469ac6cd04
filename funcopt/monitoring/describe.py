"""What an optimizer does with each parameter, before training: rule, rate, decay, memory, and why.

A row is what the transformations themselves tell of a leaf, in one trace of `init`: no array is
made.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core.arguments import is_tracer
from ..core.description import Act, Part, Slot, Told, is_nothing, sized, told
from ..core.given import trained
from ..core.paths import path_names
from ..core.value import Configured

if TYPE_CHECKING:
    from rich.console import RenderableType

AT_RUN_TIME = "traced"


@dataclass(frozen=True)
class LeafDescription:
    """What happens to one parameter.

    Args:
        path, shape, dtype: its name, and what it is.
        rule: the algorithm; `"frozen"` where it stays as it is, `"none"` where nothing sees it.
        rules: every rule that it goes through, in order.
        group: the label of its `partition`, those of nested ones joined by a slash.
        matrix: the axes of the inputs and those of the outputs where it is a matrix to its rule.
        stacked: the axes of its layers, each of which its rule looks at by itself.
        learning_rate: a number, or a schedule as it is written; None where there is none.
        rate_factor: what the learning rate is multiplied by for this parameter: a number, one for
            each layer, or a schedule as it is written.
        scale: what the rule multiplies a matrix of this shape by.
        decay: how it decays, in the words of `funcopt.decays`; `""` where it does not.
        weight_decay: by how much, a number or a schedule as it is written; None where it does not.
        slots: what is kept of it.
        bytes: how much memory that takes.
        why: reasons, where something is not as it is elsewhere.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    rules: tuple[str, ...]
    group: str
    matrix: tuple[tuple[int, ...], tuple[int, ...]] | None
    stacked: tuple[int, ...]
    learning_rate: float | str | None
    rate_factor: float | tuple[float, ...] | str
    scale: float
    decay: str
    weight_decay: float | str | None
    slots: tuple[Slot, ...]
    bytes: int
    why: tuple[str, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Total:
    """Some parameters together: how many leaves and numbers, and the bytes of their slots."""

    name: str
    leaves: int
    parameters: int
    bytes: int

    @property
    def bytes_per_parameter(self) -> float:
        return self.bytes / max(self.parameters, 1)


@dataclass(frozen=True)
class Description:
    """What an optimizer does with each parameter. `print` it.

    `rows` has a record for each leaf, in order, and `other_bytes` is what the state has beside
    their slots: counts, rates, reports. `funcopt.describe(tx, params)` makes one.
    """

    optimizer: str
    rows: tuple[LeafDescription, ...]
    other_bytes: int

    @property
    def parameters(self) -> int:
        return sum(row.size for row in self.rows)

    @property
    def bytes(self) -> int:
        """Of the whole state."""
        return sum(row.bytes for row in self.rows) + self.other_bytes

    @property
    def bytes_per_parameter(self) -> float:
        return self.bytes / max(self.parameters, 1)

    @property
    def by_rule(self) -> tuple[Total, ...]:
        return _totals(self.rows, lambda row: row.rule)

    @property
    def by_group(self) -> tuple[Total, ...]:
        return _totals(self.rows, lambda row: row.group)

    def to_dict(self) -> dict[str, Any]:
        """Everything as what JSON knows: `pandas.DataFrame(found.to_dict()["rows"])`."""
        rows = [{**asdict(row), "size": row.size} for row in self.rows]
        for row in rows:
            row["slots"] = [slot._asdict() for slot in row["slots"]]
        totals = {
            name: [
                {**vars(each), "bytes_per_parameter": each.bytes_per_parameter} for each in totals
            ]
            for name, totals in (("by_rule", self.by_rule), ("by_group", self.by_group))
        }
        return {
            "optimizer": self.optimizer,
            "parameters": self.parameters,
            "bytes": self.bytes,
            "other_bytes": self.other_bytes,
            "bytes_per_parameter": self.bytes_per_parameter,
            **totals,
            "rows": rows,
        }

    def headline(self) -> str:
        """How many parameters, and how much is kept of them."""
        return (
            f"{_many(self.parameters, 'parameter')} in {_many(len(self.rows), 'array')}; "
            f"state {sized(self.bytes)}, {self.bytes_per_parameter:.3g} bytes per parameter"
        )

    def table(self) -> "RenderableType":
        """Everything as one thing that rich can print; equal layers are one line."""
        from .listing import Listing

        return Listing(self)

    def __str__(self) -> str:
        try:
            from .listing import written
        except ModuleNotFoundError:  # rich comes with the extra `lab`
            rows = [f"{x.path} {x.shape}: {x.rule}, {x.bytes:,} bytes" for x in self.rows]
            return "\n".join([self.headline(), *rows])
        return written(self)

    def __repr__(self) -> str:
        return f"<Description: {self.headline()}>"

    def _repr_html_(self) -> str:
        import html

        return f'<pre style="overflow-x: auto; line-height: 1.25">{html.escape(str(self))}</pre>'


def describe(tx: optax.GradientTransformation, params: Any) -> Description:
    """What an optimizer does with each parameter: its rule, rate, decay, slots, bytes, and why.

    It says what runs: the same code that makes the state tells it, in a trace of `init`, so that
    no array is made, however large the model is.

    Args:
        tx: a transformation of funcopt, in any nesting of funcopt's and optax's. Of what is optax's
            own, slots and bytes are told, but no rate and no decay.
        params: the parameters, or their shapes as `jax.eval_shape` gives them; a whole Equinox
            model, too.

    Returns:
        A `Description`: `print` it, or read its `rows` and `to_dict()`.

    Raises:
        TypeError: `tx` is no transformation.
        ValueError: what `tx.init(params)` raises: a pattern that matches nothing, a parameter in no
            group or in two, a vector that a rule for matrices meets.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)}
    >>> tx = funcopt.muon(0.02, weight_decay=0.1, mask="!bias")
    >>> found = funcopt.describe(tx, jax.eval_shape(lambda: params))
    >>> found
    <Description: 72 parameters in 2 arrays; state 328 B, 4.56 bytes per parameter>
    >>> for row in found.rows:
    ...     print(row.path, row.rule, row.decay, row.bytes, row.why)
    bias adam  64 ('a vector, no matrix', "no decay: matches 'bias'")
    kernel muon decoupled 256 ()
    """
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            f"describe takes a transformation and the parameters, got {tx!r} as the former."
        )
    params, _ = trained(params)
    found: list[Told] = []

    def init(params: Any) -> Any:
        state = tx.init(params)
        found.extend(told(tx, params, state))
        return state

    state = jax.eval_shape(init, params)
    moving = [each for each in found if not each.frozen]
    common = {
        group: set.intersection(*(set(each.parts) for each in moving if each.group == group))
        for group in {each.group for each in moving}
    }
    rows = tuple(
        _row(name, x, each, common.get(each.group, set()) if len(found) > 1 else set())
        for name, x, each in zip(path_names(params), jax.tree.leaves(params), found, strict=True)
    )
    whole = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    return Description(_written(tx), rows, whole - sum(row.bytes for row in rows))


def _row(name: str, x: Any, each: Told, common: set[Part]) -> LeafDescription:
    leaf = each.leaf
    decays = _decays(each.acts)
    scales = [act.scale for act in each.acts if act.scale is not None]
    numbers = {repr(rate): rate for rate in map(_number, each.learning_rate)}
    rates = list(numbers.values())
    return LeafDescription(
        path=name,
        shape=tuple(jnp.shape(x)),
        dtype=jnp.result_type(x).name,
        rule=_rule(each, common),
        rules=tuple(act.name for act in each.acts),
        group="/".join(label or "otherwise" for label in each.group),
        matrix=None if leaf is None else leaf.matrix,
        stacked=() if leaf is None else leaf.stacked,
        learning_rate=rates[0] if len(rates) == 1 else ", ".join(map(str, rates)) or None,
        rate_factor=_product([act.factor for act in each.acts if act.factor is not None]),
        scale=math.prod(scales),
        decay=" + ".join(how for how, _ in decays),
        weight_decay=None
        if not decays
        else _number(decays[0][1])
        if len(decays) == 1
        else " + ".join(str(_number(x)) for _, x in decays),
        slots=each.slots,
        bytes=sum(slot.bytes for slot in each.slots),
        why=each.why,
    )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"


def _rule(each: Told, common: set[Part]) -> str:
    """The algorithm by its name; what its whole group goes through is told by `optimizer`."""
    if each.frozen:
        return "frozen"
    heavy = [p for p in each.parts if p.weight > 1 or (p.weight and p not in common)]
    shown = heavy or [p for p in each.parts if p.weight] or each.parts
    return " > ".join(part.name for part in shown) or "none"


def _decays(acts: Iterable[Act]) -> list[tuple[str, Any]]:
    """How a parameter decays, and by how much, as if no rate were multiplied before.

    What depends on where it stands is L2 before a rule that remembers, and independent after the
    descent.
    """
    stepped, before, found = False, 1.0, []
    for act in acts:
        if act.keeps and not stepped:
            found = [("l2" if how == "here" else how, x) for how, x in found]
        if isinstance(act.factor, int | float):
            before *= act.factor
        if act.decay is not None and not is_nothing(act.decay.number):
            how, x, power = act.decay
            if how == "here" and stepped and not callable(x):
                how, x = "independent", -x
            if power and before and isinstance(x, int | float):
                x = x / before**power
            found.append((how, x))
        stepped = stepped or act.descends
    return [("decoupled" if how == "here" else how, x) for how, x in found]


def _number(x: Any) -> float | str:
    """A number as one of Python, anything else as it is written."""
    if is_tracer(x):
        return AT_RUN_TIME
    if callable(x):
        return repr(x)
    return float(x) if np.ndim(x) == 0 else f"{np.shape(x)} numbers"


def _product(factors: list[Any]) -> float | tuple[float, ...] | str:
    if any(callable(x) or is_tracer(x) for x in factors):
        return " * ".join(str(_number(x)) for x in factors)
    product = reduce(np.multiply, [np.asarray(x, float) for x in factors], 1.0)
    numbers = tuple(float(x) for x in np.reshape(product, -1))
    return numbers[0] if len(numbers) == 1 else numbers


def _written(tx: Any) -> str:
    """A transformation as it is written; one that is not funcopt's by its name alone."""
    if not isinstance(tx, Configured):
        return f"optax's {getattr(tx.init, '__qualname__', 'transformation').partition('.')[0]}"
    foreign = r"GradientTransformation\w*\(init=<\w+ (?:\w+ )?(\w+)[^)]*\)"
    return re.sub(r" at 0x\w+", "", re.sub(foreign, r"\1(...)", repr(tx)))


def _totals(
    rows: Iterable[LeafDescription], name: Callable[[LeafDescription], str]
) -> tuple[Total, ...]:
    names = list(dict.fromkeys(map(name, rows)))
    own = {each: [row for row in rows if name(row) == each] for each in names}
    return tuple(
        Total(each, len(mine), sum(row.size for row in mine), sum(row.bytes for row in mine))
        for each, mine in own.items()
    )
