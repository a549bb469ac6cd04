"""`optax.contrib`, with what funcopt has of it.

Their states are funcopt's. `muon` is optax's own, whose Nesterov step differs from its author's:
that one is `funcopt.muon`. So is `schedule_free`, since `schedule_free_eval_params(state, params)`
reads its state: `funcopt.eval_params` finds the average in any nesting.
"""

from typing import TYPE_CHECKING, Any

import optax.contrib

import funcopt

if TYPE_CHECKING:
    from optax.contrib import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

NAMES = (
    "ademamix",
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "madgrad",
    "mechanize",
    "momo",
    "momo_adam",
    "prodigy",
    "scale_by_ademamix",
    "scale_by_simplified_ademamix",
    "simplified_ademamix",
)
globals().update({name: getattr(funcopt, name) for name in NAMES})


def __getattr__(name: str) -> Any:
    return getattr(optax.contrib, name)


def __dir__() -> list[str]:
    return dir(optax.contrib)
