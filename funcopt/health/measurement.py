"""All leaves of a step, measured. Leaves that are alike share one program."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float16

from .layers import Rows
from .second_moment import Divisor
from .statistics import EDGES, Sample, measure, row_norms, sample

Measured = tuple[Float[Array, "rows columns"], Float16[Array, "rows edges"]]


def measured(
    rows: Rows,
    grads: list[Array],
    updates: list[Array],
    divisors: list[Divisor | None],
    latest: Float[Array, "rows columns"],
    unscale: Float[Array, ""],
    limit: int,
) -> Measured:
    """The table of all rows, and the shares of their gradients at or above each edge.

    Args:
        rows: the parameters.
        grads, updates, divisors: one for each of them.
        latest: the table before.
        unscale: by which gradients are multiplied.
        limit: how many elements of a layer are looked at.
    """
    alike: dict[Any, list[int]] = {}
    leaves, first = [], 0
    for i, (grad, update, param, axis, layers, divisor) in enumerate(
        zip(grads, updates, rows.leaves, rows.axes, rows.layers, divisors, strict=True)
    ):
        last = latest[first : first + layers]
        first += layers
        moment = None if divisor is None else divisor.moment
        looked_at = Sample(
            *(sample(x, axis, limit) for x in (grad, update, jnp.asarray(param), moment))
        )
        norms = row_norms(grad, last[:, 0] / unscale, axis)
        leaves.append((looked_at, norms, last))
        size = max(jnp.size(param) // max(layers, 1), 1)
        corrected = divisor is None or divisor.corrected
        shapes = tuple((x.shape, x.dtype.name) for x in jax.tree.leaves(leaves[-1]))
        alike.setdefault((shapes, moment is None, size, corrected), []).append(i)

    found: dict[int, Measured] = {}
    for (*_, size, corrected), members in alike.items():
        tables = _measured_alike([leaves[i] for i in members], unscale, size, corrected)
        found |= dict(zip(members, tables, strict=True))
    none = (latest[:0], jnp.zeros((0, len(EDGES)), jnp.float16))
    table, above = zip(none, *(found[i] for i in range(len(leaves))), strict=True)
    return jnp.concatenate(table), jnp.concatenate(above)


def _measured_alike(leaves: list, unscale: Array, size: int, corrected: bool) -> list[Measured]:
    """One after the other in a loop: a program for each leaf would take long to compile."""

    def one(leaf: Any) -> Measured:
        return measure(*leaf, unscale, size=size, corrected=corrected)

    if len(leaves) == 1:
        return [one(leaves[0])]
    tables, above = jax.lax.map(one, jax.tree.map(lambda *xs: jnp.stack(xs), *leaves))
    return [(tables[i], above[i]) for i in range(len(leaves))]
