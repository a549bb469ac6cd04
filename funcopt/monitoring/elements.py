"""The step of those elements alone that are looked at, where each element has a step of its own.

Where all rules act on elements, and of all other elements only the norm matters, which is known,
the elements that are looked at can be gathered first. Those of leaves that are treated alike make
one matrix, and the algorithm is applied to it once: else it is a program of its own for each leaf,
most of what there is to compile.
"""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array
from optax import OptState, Updates

from ..clips.clip_by_global_norm import ClipByGlobalNorm
from ..core.chain import in_turn
from ..core.lift import Lifted, LiftedState
from ..core.masked import MaskedRule
from ..core.paths import path_names, patterns_of
from ..core.transformation import GradientTransformation
from ..core.tree_lift import LiftedTree
from ..core.wrapper import Inside
from ..math.global_norm import SMALL, Facts
from ..math.varying import varying_axes
from ..safety.guard import Guard
from .layers import Rows
from .placement import is_explicit
from .sample import gathered_rows, strides


class Gathered(NamedTuple):
    """The elements of some leaves that are looked at, a row for each layer, in trees for `update`.

    `places` has those of the leaves for each name; of each row so many were `seen`, behind which
    are zeros.
    """

    grads: dict[str, Array]
    params: dict[str, Array]
    state: OptState
    places: dict[str, list[int]]
    seen: dict[str, list[int]]

    def run(self, inside: Inside, facts: Facts) -> tuple[Updates, OptState]:
        """The updates of these elements, and the state after it."""
        return replace(inside, params=self.params).run(self.grads, self.state, facts=facts)


def gathered_elements(
    tx: Any, rows: Rows, grads: list[Array], state: OptState, limit: int, lengths: list[int]
) -> Gathered | None:
    """What `tx` makes a step of those elements from that are looked at; None where it needs more.

    Args:
        tx: the transformation, which knows the norm of all gradients.
        rows: the parameters.
        grads: one for each of them.
        state: that of `tx`.
        limit: how many elements of a layer are looked at.
        lengths: how long the row of a layer of each leaf is.
    """
    bodies = _by_element(tx, knows_norm=True)
    arrays = [*grads, *rows.leaves, *jax.tree.leaves(state)]
    if bodies is None or any(map(is_explicit, arrays)):
        return None
    slots = _slots(state, rows.names, [jnp.shape(x) for x in rows.leaves])
    if slots is None or len(slots) != len(bodies):
        return None
    treated = zip(*(_treated(body, rows) for body in bodies), strict=True)
    groups: dict[Any, list[int]] = {}
    for i, (how, layers) in enumerate(zip(treated, rows.layers, strict=True)):
        if layers:
            beside = grads[i], rows.leaves[i], *(x[i] for columns in slots for x in columns)
            kinds = tuple((x.dtype, varying_axes(x)) for x in beside)
            groups.setdefault((lengths[i], how, kinds), []).append(i)
    places = {rows.names[group[0]]: _alike_first(group, rows) for group in groups.values()}

    columns = [grads, [jnp.asarray(x) for x in rows.leaves], *(x for each in slots for x in each)]
    beside = list(zip(*columns, strict=True))
    found = {
        name: _gathered(rows, beside, here, limit, lengths[here[0]])
        for name, here in places.items()
    }
    fill = ({name: each[i] for name, each in found.items()} for i in itertools.count())
    gathered_grads, gathered_params = next(fill), next(fill)

    def of_state(x: Any) -> Any:
        if not isinstance(x, LiftedState):
            return x
        return x._replace(slots=tuple(type(s)(*(next(fill) for _ in s)) for s in x.slots))

    seen = {
        name: [_seen(rows, i, limit) for i in here for _ in range(rows.layers[i])]
        for name, here in places.items()
    }
    state = jax.tree.map(of_state, state, is_leaf=lambda x: isinstance(x, LiftedState))
    return Gathered(gathered_grads, gathered_params, state, places, seen)


def _gathered(
    rows: Rows, beside: list[tuple[Array, ...]], here: list[int], limit: int, length: int
) -> list[Array]:
    """The elements that are looked at of each array that is `beside` leaves that are treated alike.

    Those of one type are gathered as one, of which there is less to compile.
    """
    types = [(x.dtype, varying_axes(x)) for x in beside[here[0]]]
    alike: dict[Any, list[int]] = {}
    for column, kind in enumerate(types):
        alike.setdefault(kind, []).append(column)
    found: dict[int, Array] = {}
    for columns in alike.values():
        parts = []
        for run in (list(run) for _, run in itertools.groupby(here, partial(_kind, rows))):
            xs = [[beside[i][column] for i in run] for column in columns]
            axis = rows.axes[run[0]]
            parts.append(gathered_rows(xs, axis=axis, limit=limit, length=length))
        whole = jnp.concatenate(parts, axis=1)
        found |= {column: whole[i] for i, column in enumerate(columns)}
    return [found[column] for column in range(len(types))]


def _kind(rows: Rows, i: int) -> Any:
    """What small leaves have in common that are gathered together; another number for each other
    leaf.
    """
    leaf = rows.leaves[i]
    together = rows.axes[i] is None and jnp.size(leaf) <= SMALL
    return str(jnp.shape(leaf)) if together else i


def _alike_first(places: list[int], rows: Rows) -> list[int]:
    """The places, those of a kind one after the other."""
    kinds: dict[Any, list[int]] = {}
    for i in places:
        kinds.setdefault(_kind(rows, i), []).append(i)
    return [i for alike in kinds.values() for i in alike]


def _by_element(tx: Any, knows_norm: bool) -> list[Lifted] | None:
    """The chains of rules of `tx` in turn, if it is nothing but such as act on elements, and what
    needs no more than the norm.
    """
    body = tx.body() if isinstance(tx, GradientTransformation) else tx
    if isinstance(body, GradientTransformation):
        return _by_element(body, knows_norm)
    if isinstance(body, Guard):
        ours = knows_norm and body.axis_name is None and not body.check_updates
        return _by_element(body.inner, knows_norm) if ours else None
    if isinstance(body, LiftedTree):
        known = knows_norm and isinstance(body.rule, ClipByGlobalNorm) and body.axis_name is None
        return [] if known else None
    if isinstance(body, Lifted):
        return [body] if _acts_on_elements(body) else None
    members = in_turn(body)
    if members is None:
        return None
    found = [_by_element(x, knows_norm and i == 0) for i, x in enumerate(members)]
    return None if None in found else [body for bodies in found for body in bodies or ()]


def _acts_on_elements(body: Lifted) -> bool:
    """Whether the rules look at nothing but one element, and not at where it is or how it lies."""
    plain = body.storage is None and not body.looks_at_axes
    masks = [each.mask for each in body.members if isinstance(each, MaskedRule)]
    return (
        plain
        and all(mask is None or patterns_of(mask) is not None for mask in masks)
        and all(
            each.acts_on == "element"
            and not (each.report._fields or each.needs_path or each.needs_hessian)
            for each in body.rules
        )
    )


def _treated(body: Lifted, rows: Rows) -> Iterator[Any]:
    """For each leaf by which of the masks' patterns its name is found."""
    masks = [each.mask for each in body.members if isinstance(each, MaskedRule)]
    patterns = [p.removeprefix("!") for mask in masks for p in patterns_of(mask) or ()]
    for name in rows.names:
        yield tuple(re.search(pattern, name) is not None for pattern in patterns)


def _slots(
    state: OptState, names: list[str], shapes: list[tuple[int, ...]]
) -> list[list[list[Array]]] | None:
    """The slots of each chain of rules, each leaf by leaf; None where one is not as its leaf is."""
    found = []
    for node in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, LiftedState)):
        if isinstance(node, LiftedState):
            columns = []
            for tree in (tree for slots in node.slots for tree in slots):
                by_name = dict(zip(path_names(tree), jax.tree.leaves(tree), strict=True))
                if not set(names) <= set(by_name):
                    return None
                columns.append([by_name[name] for name in names])
                if [jnp.shape(x) for x in columns[-1]] != shapes:
                    return None
            found.append(columns)
    return found


def _seen(rows: Rows, i: int, limit: int) -> int:
    """How many elements of each layer of a leaf are looked at."""
    shape, axis = jnp.shape(rows.leaves[i]), rows.axes[i]
    rest = shape if axis is None else (*shape[:axis], *shape[axis + 1 :])
    kept = (math.ceil(n / step) for n, step in zip(rest, strides(rest, limit), strict=True))
    return math.prod(kept)
