"""All leaves of a step, measured. Rows that are alike are measured as one table."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..math.choice import where
from ..math.varying import axes_of, max_across, norm_across, parts
from .elements import Gathered
from .layers import Rows
from .placement import gathered
from .sample import Sample, SecondMoment, cut, sample
from .statistics import measure, no_rows, row_norms

Measured = tuple[Float[Array, "rows columns"], Float[Array, "rows edges"]]

COARSE = 16
"""Rows are filled up with zeros to the sample's limit, to a 16th of it, or to a 256th and so on."""
FEW = 4
"""So many rows are worth a table of their own."""


class Look(NamedTuple):
    """What is looked at of the leaves that stand in `places`, their rows one under another.

    With how many bits of exponent and mantissa their parameters have, and the axes over which they
    are split.
    """

    places: list[int]
    sample: Sample
    precision: tuple[int, int]
    axes: tuple[str, ...]


def looks_at(
    rows: Rows,
    grads: list[Array],
    updates: list[Array],
    moments: list[SecondMoment | None],
    dtype: Any,
    limit: int,
    axis_name: Any,
) -> list[Look]:
    """Each leaf by itself.

    Args:
        rows: the parameters.
        grads, updates, moments: one for each of them.
        dtype: that of the table.
        limit: how many elements of a layer are looked at.
        axis_name: mapped axes over which parameters may be split.
    """
    found = []
    leaves = zip(grads, updates, rows.leaves, moments, rows.axes, rows.layers, strict=True)
    for i, ((grad, update, param, moment, axis, layers), length) in enumerate(
        zip(leaves, lengths_of(rows, limit), strict=True)
    ):
        if layers:
            look = partial(sample, axis=axis, limit=limit, length=length, dtype=dtype)
            looked_at = gathered(look, grad, update, jnp.asarray(param), moment)
            found.append(Look([i], looked_at, precision_of(param), axes_of(grad, axis_name)))
    return found


def looks_together(
    gathered: Gathered,
    updates: Any,
    moments: list[SecondMoment | None],
    dtype: Any,
    axis_name: Any,
) -> list[Look]:
    """Leaves that are treated alike together, `updates` and `moments` those of `gathered`."""
    found = []
    for (name, places), moment in zip(gathered.places.items(), moments, strict=True):
        grad, param = gathered.grads[name], gathered.params[name]
        length = grad.shape[1]
        beside = grad, updates[name], param, moment
        looked_at = sample(*beside, axis=0, limit=length, length=length, dtype=dtype)
        seen = jnp.asarray(gathered.seen[name], dtype)
        axes = axes_of(grad, axis_name)
        found.append(Look(places, cut(looked_at, seen), precision_of(param), axes))
    return found


def precision_of(param: Any) -> tuple[int, int]:
    """The bits of the exponents and of the mantissas of a parameter."""
    limits = jnp.finfo(jnp.result_type(param))
    return limits.nexp, limits.nmant


def measured(
    rows: Rows,
    looks: list[Look],
    norms: Float[Array, " rows"],
    latest: Float[Array, "rows columns"],
    unscale: Float[Array, ""],
) -> Measured:
    """The table of all rows, and the shares of their gradients at or above each edge.

    Args:
        rows: the parameters.
        looks: what is looked at of them.
        norms: of the gradient of each row.
        latest: the table before.
        unscale: by which gradients are multiplied.
    """
    starts, sizes = rows.starts, np.array(rows.sizes, latest.dtype)
    alike: dict[Any, list[Look]] = {}
    for look in looks:
        shape = jax.tree.structure(look.sample), look.sample.grad.shape[1]
        alike.setdefault((shape, look.precision, look.axes), []).append(look)

    tables, order = [no_rows(latest.dtype)], []
    for (_, precision, axes), members in alike.items():
        places = [i for look in members for i in look.places]
        here = [row for i in places for row in range(starts[i], starts[i + 1])]
        table = jax.tree.map(lambda *xs: jnp.concatenate(xs), *(x.sample for x in members))
        last, whole = _rows(latest, here), _rows(norms, here)
        size = sizes[here] * parts(table.grad, axes or None)
        tables.append(measure(table, whole, last, unscale, jnp.asarray(size), precision, axes))
        order += here
    found = [jnp.concatenate(column) for column in zip(*tables, strict=True)]
    if order != sorted(order):
        found = [x[np.argsort(order)] for x in found]
    return found[0], found[1]


def _rows(table: Array, here: list[int]) -> Array:
    first, many = here[0], len(here)
    together = here == list(range(first, first + many))
    return table[first : first + many] if together else table[np.array(here)]


def norms_across(
    norms: Float[Array, " leaves"], grads: list[Array], axis_name: Any
) -> Float[Array, " leaves"]:
    """The norms of whole gradients, of which `norms` are those of the parts that are here.

    What every device has as a whole is summed over none.
    """
    found = jnp.zeros(norms.shape, norms.dtype)
    split = [axes_of(x, axis_name) for x in grads]
    for axes in sorted(set(split)):
        ours = np.array([each == axes for each in split])
        whole = norm_across(norms, axes) if axes else norms
        found = where(ours, max_across(whole, axis_name), found)
    return found


def norms_of_rows(
    rows: Rows,
    grads: list[Array],
    norms: Float[Array, " leaves"],
    last: Float[Array, " rows"],
    axis_name: Any,
) -> Float[Array, " rows"]:
    """The norms of gradients, which those of whole leaves tell but where layers are stacked.

    Not finite is only what has an element that is not, or a norm that no float is as large as.

    Args:
        rows, grads, norms: the leaves, their gradients, and the norms of those.
        last: the norms of the rows before, from which the scale of stacked ones is taken.
        axis_name: mapped axes over which gradients may be split.
    """
    if not any(axis is not None for axis in rows.axes):
        return norms.astype(last.dtype)
    found = [jnp.zeros(0, last.dtype)]
    for i, axis in enumerate(rows.axes):
        here = slice(rows.starts[i], rows.starts[i + 1])
        whole = norms[i : i + 1].astype(last.dtype)
        if axis is not None:
            layers = gathered(partial(row_norms, axis=axis), grads[i], last[here])
            axes = axes_of(grads[i], axis_name)
            layers = norm_across(layers, axes) if axes else layers
            whole = where(jnp.isfinite(layers), layers, whole)
        found.append(whole)
    return jnp.concatenate(found)


def lengths_of(rows: Rows, limit: int) -> list[int]:
    """How long the rows of each leaf are in their table.

    Few rows are filled up to the next longer ones: a table costs more than they do.
    """
    sizes = [jnp.size(x) // max(n, 1) for x, n in zip(rows.leaves, rows.layers, strict=True)]
    lengths = [_length(size, limit) for size in sizes]
    for length in sorted(set(lengths)):
        few = sum(n for n, x in zip(rows.layers, lengths, strict=True) if x == length) < FEW
        longer = [x for x in lengths if x > length]
        if few and longer:
            lengths = [min(longer) if x == length else x for x in lengths]
    return lengths


def _length(size: int, limit: int) -> int:
    """How long a row of so many elements is in its table."""
    length = limit
    while math.ceil(length / COARSE) >= size and length > 1:
        length = math.ceil(length / COARSE)
    return length
