"""`optax.contrib`, with what funcopt has of it.

Where slots have optax's names, states are optax's; those of whole-tree algorithms and of
`schedule_free` are funcopt's, which `schedule_free_eval_params(state, params)` reads. `muon` and
`sophia` are optax's own: docs/moving_from_optax.md says why.
"""

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import optax.contrib
from optax import OptState, Params

import funcopt

from ..core.tree_lift import TreeState
from .algorithms import in_optax_state

if TYPE_CHECKING:
    from optax.contrib import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

NAMES = (
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "madgrad",
    "mechanize",
    "momo",
    "momo_adam",
    "prodigy",
    "schedule_free_adamw",
    "schedule_free_sgd",
)
globals().update({name: getattr(funcopt, name) for name in NAMES})


def _adopt(name: str) -> Any:
    clip = inspect.signature(getattr(optax.contrib, name)).parameters["clip_value_fn"].default
    return in_optax_state(
        name,
        getattr(funcopt, name),
        left=("clip_value_fn",),
        only=lambda given: given["clip_value_fn"] is clip,
        module=optax.contrib,
    )


ademamix = in_optax_state("ademamix", funcopt.ademamix, module=optax.contrib)
adopt = _adopt("adopt")
scale_by_ademamix = in_optax_state(
    "scale_by_ademamix", funcopt.scale_by_ademamix, module=optax.contrib
)
scale_by_adopt = _adopt("scale_by_adopt")
scale_by_simplified_ademamix = in_optax_state(
    "scale_by_simplified_ademamix", funcopt.scale_by_simplified_ademamix, module=optax.contrib
)
simplified_ademamix = in_optax_state(
    "simplified_ademamix", funcopt.simplified_ademamix, module=optax.contrib
)


def _schedule_free(*args: Any, **kwargs: Any) -> optax.GradientTransformationExtraArgs:
    given = inspect.signature(optax.contrib.schedule_free).bind(*args, **kwargs).arguments
    dtype = given.get("state_dtype")
    if dtype is not None and jnp.issubdtype(dtype, jnp.complexfloating):
        return optax.contrib.schedule_free(*args, **kwargs)
    return funcopt.schedule_free(*args, **kwargs)


globals()["schedule_free"] = wraps(funcopt.schedule_free)(_schedule_free)


def schedule_free_eval_params(state: OptState, params: Params) -> Params:
    """The average of a schedule-free optimizer, of its own state.

    `funcopt.eval_params(tx, state, params)` finds it in any nesting.
    """
    if isinstance(state, TreeState):
        return state.slots.eval_params(params, state.numbers)
    return optax.contrib.schedule_free_eval_params(state, params)


def __getattr__(name: str) -> Any:
    return getattr(optax.contrib, name)


def __dir__() -> list[str]:
    return dir(optax.contrib)
