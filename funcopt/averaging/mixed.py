"""What averages of the parameters have in common: mixing them with the parameters of the moment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from optax import Params

from ..core.paths import path_names, some
from ..math.dtypes import common_dtype


def mixed(params: Params, kept: Params, mix: Callable[..., Array], *numbers: Array) -> Params:
    """`mix(param, kept, *numbers)` for each parameter, in its dtype.

    Parameters that `optax.masked` or a partition has hidden from the transformation stay, and so
    does what is beside the parameters in a whole model.
    """

    def leaf(slot: Any, param: Any) -> Any:
        if _is_absent(slot):
            return param
        real = jnp.finfo(slot.dtype).dtype
        wide = jnp.asarray(param).astype(common_dtype(real, param))
        return mix(wide, slot, *(x.astype(real) for x in numbers)).astype(jnp.result_type(param))

    slots, structure = jax.tree.flatten(kept, is_leaf=_is_absent)
    try:
        parts = structure.flatten_up_to(params)
    except ValueError:
        # Flax NNX wraps leaves before `init` only, and an OrderedDict has an order: paths agree.
        named = dict(zip(path_names(kept), jax.tree.leaves(kept), strict=True))
        names = path_names(params)
        if set(named) != set(names):
            raise _different(list(named), names) from None
        slots = [named[name] for name in names]
        parts, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, list(map(leaf, slots, parts)))


def _is_absent(x: Any) -> bool:
    return x is None or isinstance(x, optax.MaskedNode)


def _different(kept: list[str], params: list[str]) -> ValueError:
    return ValueError(
        "eval_params: these are not the parameters that the state was made for. Parameters without "
        f"an average: {some([x for x in params if x not in kept])}. Averages without a parameter: "
        f"{some([x for x in kept if x not in params])}."
    )
