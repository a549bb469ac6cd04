"""Where each array of an optimizer's state lives, given where the parameters do."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import PyTree
from optax import Params

from ..core.leaves import Absent, is_kept
from ..core.paths import path_name, path_names, some
from ..storage.kept import Coded


def state_shardings(tx: optax.GradientTransformation, params: Any, param_shardings: PyTree) -> Any:
    """The shardings of `tx.init(params)`: each slot as its parameter, all else on every device.

    The result has the structure of the state, with a sharding in place of each array. It is what
    `jax.jit(tx.init, out_shardings=...)`, the `out_shardings` of a step and the target of a
    checkpoint want. Nothing is computed, and no memory is used.

    Args:
        tx: a transformation of funcopt or of optax, in any nesting.
        params: the parameters, or their shapes as `jax.eval_shape` gives them.
        param_shardings: a `NamedSharding` for each parameter, in a tree like `params`. One that
            stands for a whole subtree, or for all parameters, is enough.

    Codes of a slot lie as it would, and the scales of their blocks beside them. A slot whose shape
    is not that of its parameter is on every device as well.

    Raises:
        TypeError: a leaf of `param_shardings` is no sharding, such as a bare `PartitionSpec`.
        ValueError: `param_shardings` is no tree like `params`, or has no leaf.

    >>> import jax, jax.numpy as jnp, funcopt
    >>> from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    >>> tx, params = funcopt.adam(1e-3), {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)}
    >>> places = {"kernel": NamedSharding(mesh, P("data")), "bias": NamedSharding(mesh, P())}
    >>> found = funcopt.state_shardings(tx, params, places)
    >>> optax.tree.get(found, "mu") == places, found.count == NamedSharding(mesh, P())
    (True, True)
    >>> state = jax.jit(tx.init, out_shardings=found)(params)
    """
    places = _beside(params, param_shardings)
    everywhere = _everywhere(jax.tree.leaves(places)[0])

    def place(slot: Any, place: Any, param: Any) -> Any:
        if isinstance(slot, optax.MaskedNode | Absent):
            return slot
        if isinstance(slot, Coded):
            whole = slot.shape == jnp.shape(param)
            return jax.tree.map(
                lambda x: _along(x.shape, slot.shape, place) if whole else everywhere, slot
            )
        return place if slot.shape == jnp.shape(param) else everywhere

    traced, state = jax.make_jaxpr(tx.init, return_shape=True)(params)
    found = optax.tree_map_params(
        tx,
        place,
        state,
        places,
        params,
        transform_non_params=lambda _: everywhere,
        is_leaf=lambda x: isinstance(x, optax.MaskedNode) or is_kept(x),
    )
    arrays = jax.tree.leaves(found, is_leaf=lambda x: isinstance(x, Sharding))
    if len(arrays) != len(traced.out_avals):
        return found
    memories = [x.memory_space for x in traced.out_avals]
    in_memory = [
        x.with_memory_kind("pinned_host") if memory == jax.memory.Space.Host else x
        for x, memory in zip(arrays, memories, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(found), in_memory)


def _along(shape: tuple[int, ...], whole: tuple[int, ...], place: Any) -> Any:
    """Where codes and scales lie of a slot that has the shape `whole` and lies at `place`.

    Theirs differs in the last axis, which is in one piece where its parts would not be equal.
    """
    if shape == whole or not isinstance(place, NamedSharding):
        return place
    spec = (*place.spec, *[None] * (len(whole) - len(place.spec)))
    parts = math.prod(place.mesh.shape[axis] for axis in _axes(spec[-1]))
    last = spec[-1] if shape[-1] % parts == 0 and whole[-1] % parts == 0 else None
    return NamedSharding(place.mesh, PartitionSpec(*spec[:-1], last))


def _axes(places: Any) -> tuple[str, ...]:
    return () if places is None else places if isinstance(places, tuple) else (places,)


def _beside(params: Params, param_shardings: PyTree) -> PyTree:
    """A sharding for each parameter, matched by path."""
    given = {
        path_name(path): place
        for path, place in jax.tree_util.tree_leaves_with_path(param_shardings)
    }
    for name, place in given.items():
        if not isinstance(place, NamedSharding | SingleDeviceSharding):
            raise TypeError(
                f"param_shardings{f' of {name!r}' * bool(name)}: {place!r} given, expected a "
                "jax.sharding.NamedSharding, such as NamedSharding(mesh, PartitionSpec('data'))."
            )
    names = path_names(params)
    if not given or not names:
        raise ValueError(
            "state_shardings: there is no parameter with a sharding, so that the devices are not "
            "known. Give parameters, and a NamedSharding for each of them."
        )
    above = [next((each for each in _upwards(name) if each in given), None) for name in names]
    missing = [name for name, each in zip(names, above, strict=True) if each is None]
    extra = [each for each in given if each not in above]
    if missing or extra:
        raise ValueError(
            "param_shardings and the parameters are different trees. Parameters without a "
            f"sharding: {some(missing)}. Shardings without a parameter: {some(extra)}. Give one "
            "for each parameter, such as jax.tree.map(lambda x: ..., params), or one for all."
        )
    return jax.tree.unflatten(jax.tree.structure(params), [given[str(each)] for each in above])


def _upwards(name: str) -> list[str]:
    """A path, and all that it lies below: `a/b`, `a`, and the root."""
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(len(parts), -1, -1)]


def _everywhere(place: Any) -> Any:
    return NamedSharding(place.mesh, PartitionSpec()) if isinstance(place, NamedSharding) else place
