"""Averages of the parameters, kept beside them in float32 or wider."""

import math
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from optax import Params

from ..core.arguments import Within
from ..core.paths import path_names, some
from ..core.turn import Turn
from ..math.columns import axpy, minus
from ..math.dtypes import common_dtype

Gamma = Annotated[Any, Within(0, math.inf, "[)", schedule=False, optional=True)]


def mixed(params: Params, kept: Params, mix: Callable[[Array, Array, Any], Array]) -> Params:
    """`mix(param, kept, real)` for each parameter, in its dtype.

    Parameters that `optax.masked` or a partition has hidden from the transformation stay, and so
    does what is beside the parameters in a whole model.
    """

    def leaf(slot: Any, param: Any) -> Any:
        if _is_absent(slot):
            return param
        real = jnp.finfo(slot.dtype).dtype
        wide = jnp.asarray(param).astype(common_dtype(real, param))
        return mix(wide, slot, real).astype(jnp.result_type(param))

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


def polynomial_weight(gamma: Any, t: Array, real: Any) -> Float[Array, ""]:
    """The weight of the t-th point in the polynomial-decay average; 1 for the first.

    Shamir & Zhang, 2013 (https://arxiv.org/abs/1212.1824), section 4.
    """
    return (gamma + 1) / (gamma + jnp.maximum(t, 1).astype(real))


def averaged(params: Params, average: Params | None, weight: Array) -> Params:
    """The polynomial-decay average that takes in `params`; `params` where none is kept."""
    if average is None:
        return params
    return mixed(params, average, lambda x, mean, real: mean + weight.astype(real) * (x - mean))


def renewed_average(now: Turn, gamma: Any) -> dict[str, Any]:
    """The average takes in the current point, and the next one will enter with the next weight."""
    if now.state.average is None:
        return {}
    weight = now.state.average_weight.astype(now.real)
    mean = now.column(now.state.average)
    return {
        "average": axpy(weight, minus(now.params, mean), mean),
        "average_weight": polynomial_weight(gamma, now.clock.t, now.real),
    }
