"""Parameters, gradients and slots, leaf by leaf, checked."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array
from optax import Params, Updates

from ..math.dtypes import at_least, cast, common_dtype, dtype_of, is_narrow
from ..storage.by_kind import CODECS
from ..storage.kept import Coded
from .paths import path_name, path_names, some

T = TypeVar("T")


class Beside(NamedTuple):
    """A gradient, and what is beside it."""

    grad: Array
    param: Array | None
    slots: tuple[Any, ...]


class Absent(NamedTuple):
    """Stands in a slot where a parameter has none."""


def is_kept(x: Any) -> bool:
    """Whether `x` is what a slot keeps of one parameter, which need not be an array."""
    return isinstance(x, Absent | Coded)


def parameters(params: Params) -> tuple[list[Array], Any]:
    """The parameters in the type of the arithmetic, and their structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    return [_parameter(path, leaf) for path, leaf in leaves], structure


def _parameter(path: tuple, leaf: Any) -> Array:
    if not isinstance(leaf, float | complex) and not is_array(leaf):
        raise TypeError(
            f"The parameter {path_name(path)!r} is {leaf!r}, which is not an array. If this is an "
            "Equinox module, give `init` its arrays only: "
            "`tx.init(eqx.filter(model, eqx.is_inexact_array))`."
        )
    if isinstance(leaf, jax.ShapeDtypeStruct):
        raise TypeError(
            f"The parameter {path_name(path)!r} is {leaf!r}, which has no elements. For the shapes "
            "and types of the state alone, call `jax.eval_shape(tx.init, params)`."
        )
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise TypeError(
            f"The parameter {path_name(path)!r} has dtype {dtype.name}; only floating-point and "
            "complex parameters can be optimized. Take it out of the tree, or convert it."
        )
    if is_narrow(dtype):
        raise TypeError(
            f"The parameter {path_name(path)!r} has dtype {dtype.name}, to which a step would "
            "round away. Train it in bfloat16 or float32, and convert it where it is used."
        )
    return jnp.asarray(leaf).astype(common_dtype(jnp.float32, dtype))


def is_array(x: Any) -> bool:
    return hasattr(x, "dtype") and hasattr(x, "shape")


def in_full(tree: T, least: Any = jnp.float32) -> T:
    """The arrays of a state at least as wide as `least`.

    A state that was cast, as half-precision checkpoints are, would go on in the type that it has:
    a running mean of squares in bfloat16 stops at a quarter of its value. Codes stay as they are.
    """

    def widened(x: Any) -> Any:
        return cast(x, at_least(x.dtype, least)) if is_array(x) else x

    return jax.tree.map(widened, tree, is_leaf=is_kept)


def gradients_beside(
    updates: Updates,
    params: Params | None,
    slots: Sequence[Params],
    *,
    names: Sequence[str] = (),
    shape_of: Callable[[int, int, Array], tuple[int, ...] | None] | None = None,
) -> tuple[list[Beside], Any]:
    """Each gradient with its parameter and its slots, and the structure of the gradients.

    Containers may differ between `init` and `update` (Flax NNX wraps leaves in the one only), and
    parameters may hold anything where there is no gradient (an Equinox model), so leaves are
    matched by their paths and not by the structure.

    Args:
        updates: a tree of arrays.
        params: a tree like it, or None.
        slots: trees like it, from the state.
        names: what the slots are called, for messages.
        shape_of: the shape of slot j beside the i-th gradient, where it may be another than that of
            the gradient; None for no slot.

    Raises:
        ValueError: paths differ, or their order, or shapes.
        TypeError: a gradient is no array of floats, or complex beside a real parameter; so is a
            slot.
    """
    grads, structure = jax.tree.flatten(updates)
    columns = [_column(tree, updates, structure) for tree in slots]
    beside = [None] * len(grads) if params is None else _matching(updates, params, bool(columns))
    rows = zip(*columns, strict=True) if columns else [()] * len(grads)
    leaves = [Beside(g, p, row) for g, p, row in zip(grads, beside, rows, strict=True)]
    for i, leaf in enumerate(leaves):
        if _is_plain(leaf):
            continue
        problem = _problem(leaf, _of_parameter(leaf, i, shape_of))
        if problem:
            raise problem[0](f"The gradient of {path_names(updates)[i]!r} {problem[1]}")
        for j, slot in enumerate(leaf.slots):
            problem = _kind_problem(slot, leaf, alike=shape_of is None)
            shape = jnp.shape(leaf.grad)
            if not problem and _shape(slot) == shape:
                continue
            expected = shape_of(j, i, jnp.asarray(leaf.grad)) if shape_of else shape
            if not problem and _shape(slot) != expected:
                problem = (
                    ValueError,
                    (
                        f"has shape {_shape(slot)}, expected {expected}: the state was made for a "
                        "parameter of another shape. Make one for these with `tx.init(params)`."
                    ),
                )
            if problem:
                name = names[j] if j < len(names) else "slot"
                said = f"The state's {name} of {path_names(updates)[i]!r} {problem[1]}"
                raise problem[0](said)
    return leaves, structure


def beside_gradients(what: str, tree: Any, updates: Updates) -> list[Array]:
    """The leaf of another tree beside each gradient, or the number that it is for all.

    Leaves are matched by their paths, and there may be others, for parameters of another group.

    Raises:
        ValueError: there is none beside a gradient, or it is of another shape.
        TypeError: it is complex.
    """
    named = jax.tree_util.tree_leaves_with_path(updates)
    if (is_array(tree) or isinstance(tree, float | int)) and jnp.ndim(tree) == 0:
        return [jnp.full(jnp.shape(grad), tree) for _, grad in named]
    found = {path_name(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}
    missing = [path_name(path) for path, _ in named if path_name(path) not in found]
    if missing:
        raise ValueError(
            f"{what} has no leaf for the parameters {some(missing)}, but {some(list(found))}. Give "
            "a tree like the parameters, or one number for all."
        )
    beside = [(path_name(path), grad, found[path_name(path)]) for path, grad in named]
    for name, grad, x in beside:
        if jnp.shape(x) != jnp.shape(grad):
            raise ValueError(
                f"{what} of {name!r} has shape {jnp.shape(x)}, but the gradient has shape "
                f"{jnp.shape(grad)}: give one number for each element of the parameter."
            )
        if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
            raise TypeError(f"{what} of {name!r} is complex ({x.dtype}), and must be real.")
    return [jnp.asarray(x) for _, _, x in beside]


def _column(tree: Params, updates: Updates, structure: Any) -> list[Any]:
    """The leaves of a slot, whose paths must be those of the gradients."""
    leaves, own = jax.tree.flatten(tree, is_leaf=is_kept)
    if own != structure:
        names = [path_name(path) for path, _ in jax.tree.leaves_with_path(tree, is_leaf=is_kept)]
        if names != path_names(updates):
            grads = path_names(updates)
            raise of_codes(names, grads) or _different("the state was made for", names, grads)
    return leaves


def of_codes(names: list[str], expected: list[str]) -> ValueError | None:
    """What to do where slots have what codecs keep in the place of arrays, as Flax restores it."""
    own = set(expected)
    holders = {name: next((x for x in _prefixes(name) if x in own), "") for name in names}
    found = {name.removeprefix(x).strip("/").split("/")[0] for name, x in holders.items()} - {""}
    if not found or not found <= CODECS.keys():
        return None
    return ValueError(
        f"The state has dicts of codes, of {' and '.join(sorted(found))}, where arrays are "
        "expected: it was restored from a checkpoint that was made with another storage=. Restore "
        "it with a state of that one as its target, of which funcopt.convert_state makes one of "
        "this."
    )


def _prefixes(name: str) -> list[str]:
    """The path, and those that it is below."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _shape(slot: Any) -> tuple[int, ...] | None:
    """None where there is no slot."""
    if isinstance(slot, Absent):
        return None
    return slot.shape if isinstance(slot, Coded) else jnp.shape(slot)


def _different(what: str, params: list[str], grads: list[str]) -> ValueError:
    missing = [name for name in params if name not in set(grads)]
    extra = [name for name in grads if name not in set(params)]
    if not missing and not extra:
        return ValueError(
            f"The gradients have the names of the parameters that {what}, but in another order: "
            f"{some(grads)} where those are {some(params)}. Leaves go to each other by order as "
            "well as by name, so use the same kind of container for both: a dict, whose order is "
            "that of its keys, or an OrderedDict filled in the same order."
        )
    return ValueError(
        f"The {len(grads)} gradients do not match the {len(params)} parameters that {what}. "
        f"Parameters without a gradient: {some(missing)}. Gradients without a parameter: "
        f"{some(extra)}. Give one gradient for each; zeros leave a parameter where it is. Where "
        "parameters were renamed, rename them in the state too."
    )


def _of_parameter(leaf: Beside, i: int, shape_of: Any) -> list[Any]:
    """What has the shape of the parameter: itself, or a slot that is as large as a parameter is."""
    if leaf.param is not None:
        return [leaf.param]
    kept = [x for x in leaf.slots[:1] if not is_kept(x)]
    if not kept or shape_of is None or not is_array(leaf.grad):
        return kept
    shape = jnp.shape(leaf.grad)
    own = jnp.shape(kept[0]) == shape or shape_of(0, i, jnp.asarray(leaf.grad)) == shape
    return kept if own else []


def _is_plain(leaf: Beside) -> bool:
    """Whether all is float32 of one shape, as most leaves are: nothing else is asked of those."""
    grad = leaf.grad
    if leaf.param is None or not isinstance(grad, jax.Array):
        return False
    dtype, shape = grad.dtype, grad.shape
    beside = leaf.param, *leaf.slots
    return dtype == jnp.float32 and all(
        isinstance(x, jax.Array) and x.dtype == dtype and x.shape == shape for x in beside
    )


def _problem(leaf: Beside, beside: list[Any]) -> tuple[type[Exception], str] | None:
    if not isinstance(leaf.grad, float | complex) and not is_array(leaf.grad):
        return TypeError, f"is {leaf.grad!r}, which is not an array."
    if getattr(leaf.grad, "dtype", None) == jax.dtypes.float0:
        return TypeError, (
            "has dtype float0, which is JAX's gradient of an integer parameter. Take the parameter "
            "out of the tree, or convert it."
        )
    dtype = dtype_of(leaf.grad)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return TypeError, (
            f"has dtype {dtype.name}; only floating-point and complex parameters can be "
            "optimized. Take the parameter out of the tree, or convert it."
        )
    for x in beside:
        if jnp.shape(leaf.grad) != jnp.shape(x):
            return ValueError, (
                f"has shape {jnp.shape(leaf.grad)}, but the parameter has shape {jnp.shape(x)}. "
                "Shapes are not broadcast: check the loss function, or a missing sum or mean."
            )
    if leaf.param is None:
        return None
    kept = dtype_of(leaf.param)
    if not jnp.issubdtype(kept, jnp.inexact):
        return TypeError, f"has dtype {dtype.name}, but the parameter has dtype {kept.name}."
    if jnp.issubdtype(dtype, jnp.complexfloating) and jnp.issubdtype(kept, jnp.floating):
        return TypeError, (
            f"is complex ({dtype.name}), but the parameter is real ({kept.name}). Take the real "
            "part, or make the parameter complex."
        )
    return None


def _kind_problem(slot: Any, leaf: Beside, alike: bool) -> tuple[type[Exception], str] | None:
    """A complex slot of what is real, or where all slots are `alike` a real one of what is not:
    the imaginary part would be dropped.
    """
    if not is_array(slot) or isinstance(slot, Coded):
        return None
    kept, own = slot.dtype, dtype_of(leaf.grad if leaf.param is None else leaf.param)
    both = [jnp.issubdtype(dtype, jnp.complexfloating) for dtype in (kept, own)]
    if both[0] == both[1] or not (both[0] or alike):
        return None
    return TypeError, (
        f"is {kept.name}, but the parameter is {own.name}: the state was made for "
        f"{'complex' if both[0] else 'real'} parameters. Make one for these with "
        "`tx.init(params)`."
    )


def _matching(updates: Updates, params: Params, state_agrees: bool) -> list[Any]:
    """The parameter of each gradient. Where a gradient is None there may be anything."""

    def is_none(x):
        return x is None

    if jax.tree.structure(updates) == jax.tree.structure(params):
        return jax.tree.leaves(params)
    names = path_names(updates)
    if path_names(params) == names:
        return jax.tree.leaves(params)
    paths, structure = jax.tree_util.tree_flatten_with_path(updates, is_leaf=is_none)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError:
        raise _different("were given", path_names(params), names) from None
    for (path, grad), part in zip(paths, parts, strict=True):
        if grad is not None and not jax.tree_util.all_leaves([part]):
            raise _different("were given", path_names(params), names)
        if grad is None and not state_agrees and any(map(_wants_gradient, jax.tree.leaves(part))):
            raise ValueError(
                f"The parameter {path_name(path)!r} has no gradient (None). Give zeros to leave "
                "it where it is, or take it out of the parameters as well."
            )
    return [part for (_, grad), part in zip(paths, parts, strict=True) if grad is not None]


def _wants_gradient(x: Any) -> bool:
    return is_array(x) and jnp.issubdtype(jnp.result_type(x), jnp.inexact)
