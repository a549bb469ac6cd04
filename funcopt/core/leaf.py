"""What is known of one parameter before training: where its layers are stacked, which axes make a
matrix.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from optax import Params

from .paths import path_names, reason, selected, some
from .record import Static

Axes = int | tuple[int, ...]


@dataclass(frozen=True)
class Leaf:
    """One parameter.

    Args:
        path: its name, `layers/0/kernel`.
        shape, dtype: those of the array.
        stacked: the axes along which layers, heads or experts are stacked, each of which is an
            array of its own to what looks at whole arrays.
        matrix: the axes of the inputs and those of the outputs, None where it is no matrix.
    """

    path: str
    shape: tuple[int, ...]
    dtype: Any
    stacked: tuple[int, ...] = ()
    matrix: tuple[tuple[int, ...], tuple[int, ...]] | None = None


def _is_axes(x: Any) -> bool:
    numbers = x if isinstance(x, tuple | list) else [x]
    return bool(numbers) and all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)


def _check_patterns(where: str, patterns: Mapping) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern.removeprefix("!"))
        except (re.error, TypeError, AttributeError) as error:
            raise ValueError(
                f"{where}: {pattern!r} is not a regular expression: {error}."
            ) from error


def _layer_axis(where: str, x: Any) -> Any:
    if x is not None and not isinstance(x, Mapping) and not _is_axes(x):
        raise TypeError(
            f"{where} must be None, an integer, or a dict of integers by pattern, got {x!r}."
        )
    if not isinstance(x, Mapping):
        return tuple(x) if isinstance(x, list) else x
    _check_patterns(where, x)
    for pattern, axes in x.items():
        if axes is not None and not _is_axes(axes):
            raise TypeError(f"{where}[{pattern!r}] must be an axis, an integer, got {axes!r}.")
    return dict(x)


LayerAxis = Annotated[Axes | Mapping[str, Axes | None] | None, _layer_axis, Static]
"""Where layers are stacked in one leaf: None for nowhere, the axis (or axes) in every leaf of two
axes or more, or a dict of axes by regular expressions that are searched in the path, of which the
first that is found counts: `{"blocks/": 0}`."""


def _matrices(where: str, x: Any) -> Any:
    if x is None:
        return None
    if not isinstance(x, Mapping):
        raise TypeError(
            f"{where} must be None or a dict from patterns to pairs (axes of the inputs, axes of "
            f"the outputs), got {x!r}."
        )
    _check_patterns(where, x)
    for pattern, pair in x.items():
        fine = isinstance(pair, tuple | list) and len(pair) == 2 and all(map(_is_axes, pair))
        if pair is not None and not fine:
            raise TypeError(
                f"{where}[{pattern!r}] must be a pair (axes of the inputs, axes of the outputs), "
                f"or None for what is no matrix, got {pair!r}."
            )
    return dict(x)


Matrices = Annotated[Mapping[str, tuple[Axes, Axes] | None] | None, _matrices, Static]
"""Which axes make a matrix: a dict from regular expressions that are searched in the path to pairs
(axes of the inputs, axes of the outputs), of which the first that is found counts; None means that
it is no matrix. Axes that are in neither are stacked: `{"query/kernel": (0, 2), "conv": ((0, 1, 2),
3)}`. A leaf that no pattern is found in is a matrix where it has two axes that are not stacked."""


def described(
    params: Params, layer_axis: Any = None, matrices: Any = None, hidden: Any = None
) -> list[Leaf]:
    """What is known of each leaf of `params`, in order.

    Args:
        params: a tree of arrays, or of what has their shapes.
        layer_axis: where layers are stacked, see `LayerAxis`.
        matrices: which axes make a matrix, see `Matrices`.
        hidden: a mask of leaves that may be matrices, None for all.

    Raises:
        ValueError: a pattern is found in no path, or a leaf has no such axis.
    """
    names, arrays = path_names(params), jax.tree.leaves(params)
    return by_name(names, arrays, layer_axis, matrices, selected(hidden, params))


def by_name(
    names: Sequence[str],
    arrays: Sequence[Any],
    layer_axis: Any = None,
    matrices: Any = None,
    hidden: Sequence[bool] | None = None,
) -> list[Leaf]:
    """What is known of some arrays, of which these are the paths; arguments as in `described`."""
    flags = [True] * len(names) if hidden is None else hidden
    layers = _by_pattern("layer_axis", layer_axis, names)
    pairs = _by_pattern("matrices", matrices, names)
    return [
        _leaf(name, jnp.shape(x), jnp.result_type(x), layer, pair, flag, layer_axis)
        for name, x, layer, pair, flag in zip(names, arrays, layers, pairs, flags, strict=True)
    ]


_UNTOLD = "untold"


def _by_pattern(what: str, told: Any, names: Sequence[str]) -> list[Any]:
    """What is told of each name by the first pattern that is found in it."""
    if not isinstance(told, Mapping):
        return [_UNTOLD if told is None else told] * len(names)

    for pattern in told:
        if names and not any(_found(pattern, name) for name in names):
            raise ValueError(
                f"{what}: the pattern {pattern!r} matches no parameter. The parameters are: "
                f"{some(list(names), 20)}."
            )
    return [next((x for p, x in told.items() if _found(p, name)), _UNTOLD) for name in names]


def _found(pattern: str, name: str) -> bool:
    return (re.search(pattern.removeprefix("!"), name) is None) == pattern.startswith("!")


def _leaf(
    name: str, shape: tuple, dtype: Any, layer: Any, pair: Any, hidden: bool, layer_axis: Any
) -> Leaf:
    ndim = len(shape)

    def places(what: str, axes: Any) -> tuple[int, ...]:
        numbers = axes if isinstance(axes, tuple | list) else (axes,)
        for axis in numbers:
            if not -ndim <= axis < ndim:
                raise ValueError(
                    f"{what}: {name!r} has {ndim} axes (its shape is {shape}), and no axis {axis}."
                )
        return tuple(axis % ndim for axis in numbers)

    everywhere = not isinstance(layer_axis, Mapping)
    stacked: tuple[int, ...] = ()
    if layer not in (_UNTOLD, None) and not (everywhere and ndim < 2):
        stacked = places("layer_axis", layer)
    if pair is None or not hidden:
        return Leaf(name, shape, dtype, stacked)
    rest = tuple(axis for axis in range(ndim) if axis not in stacked)
    if pair == _UNTOLD:
        matrix = ((rest[0],), (rest[1],)) if len(rest) == 2 else None
        return Leaf(name, shape, dtype, stacked, matrix)
    inputs, outputs = (places("matrices", axes) for axes in pair)
    both = {*inputs, *outputs}
    if len(both) != len(inputs) + len(outputs) or both & set(stacked):
        raise ValueError(
            f"matrices: {name!r} has the axes {inputs} for inputs, {outputs} for outputs and "
            f"{stacked} for layers: no axis may be two of these."
        )
    others = tuple(axis for axis in range(ndim) if axis not in both)
    return Leaf(name, shape, dtype, others, (inputs, outputs))


def no_matrix(leaf: Leaf, matrices: Any, hidden: Any, may_be: bool) -> str:
    """Why a leaf is no matrix to rules for matrices, in words.

    `matrices` and `hidden` are as in `described`; `may_be` is what `hidden` says of this leaf.
    """
    if not may_be:
        return f"not hidden: {reason(hidden, leaf.path)}"
    found = [p for p in matrices or () if _found(p, leaf.path)]
    if found and matrices[found[0]] is None:
        return f"no matrix: matches {found[0]!r}"
    count = len(leaf.shape) - len(leaf.stacked)
    what = ("a scalar", "a vector")[count] if count < 2 else f"{count} axes, of which none is told"
    return f"{what}{' in each layer' * bool(leaf.stacked)}, no matrix"


@dataclass(frozen=True)
class View:
    """An array as a rule sees it: stacked axes first, then what one application looks at.

    Args:
        order: the axes of the array in that order.
        stacked: how many of them are stacked.
        unit: the shape of what is looked at, whose axes of inputs and of outputs are one each.
    """

    order: tuple[int, ...]
    stacked: int
    unit: tuple[int, ...]

    def of(self, x: Any) -> Any:
        moved = jnp.transpose(x, self.order)
        return moved.reshape(*moved.shape[: self.stacked], *self.unit)

    def back(self, x: Any, shape: tuple[int, ...]) -> Any:
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return x.reshape([shape[axis] for axis in self.order]).transpose(inverse)


def view_of(leaf: Leaf, acts_on: str) -> View | None:
    """How a rule sees a leaf; None for as it is."""
    if acts_on == "element" or (acts_on == "array" and not leaf.stacked):
        return None
    sizes = leaf.shape
    if acts_on == "array":
        rest = tuple(axis for axis in range(len(sizes)) if axis not in leaf.stacked)
        unit = tuple(sizes[axis] for axis in rest)
        return View((*leaf.stacked, *rest), len(leaf.stacked), unit)
    assert leaf.matrix is not None
    inputs, outputs = leaf.matrix
    unit = tuple(math.prod(sizes[axis] for axis in axes) for axes in leaf.matrix)
    order = (*leaf.stacked, *inputs, *outputs)
    if order == tuple(range(len(sizes))) and not leaf.stacked and unit == sizes:
        return None
    return View(order, len(leaf.stacked), unit)
