"""optax's schedules: funcopt's, which are exact and print as their call, where both have one."""

from typing import TYPE_CHECKING, Any

import optax.schedules

from ..core.lazy import imports, lazy

if TYPE_CHECKING:
    from optax.schedules import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

if TYPE_CHECKING or not lazy(__name__):
    from .exact_schedules import constant_schedule as constant_schedule
    from .exact_schedules import cosine_decay_schedule as cosine_decay_schedule
    from .exact_schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
    from .exact_schedules import exponential_decay as exponential_decay
    from .exact_schedules import join_schedules as join_schedules
    from .exact_schedules import linear_onecycle_schedule as linear_onecycle_schedule
    from .exact_schedules import linear_schedule as linear_schedule
    from .exact_schedules import piecewise_constant_schedule as piecewise_constant_schedule
    from .exact_schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from .exact_schedules import polynomial_schedule as polynomial_schedule
    from .exact_schedules import sgdr_schedule as sgdr_schedule
    from .exact_schedules import warmup_constant_schedule as warmup_constant_schedule
    from .exact_schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from .exact_schedules import (
        warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
    )


def __getattr__(name: str) -> Any:
    if name in imports(__name__):
        raise AttributeError(name)  # it is lazy
    return getattr(optax.schedules, name)


def __dir__() -> list[str]:
    return dir(optax.schedules)
