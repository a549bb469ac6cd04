"""optax's namespace with funcopt's algorithms in it: `import funcopt.optax as optax`.

Every public name of the installed optax is here, its submodules too. Where funcopt has the
algorithm, it does the arithmetic: called as optax's, over optax's states, so that programs which
look into `state[0].mu`, and checkpoints, go on. Types are optax's own. What funcopt does not have,
or means something else by, is optax's.

The states tell no metrics; `funcopt.adam` and its like have those. Where a pattern can stand for a
mask in funcopt, it can here: `optax.adamw(1e-3, mask="kernel$")`.

>>> import funcopt.optax as optax, jax.numpy as jnp
>>> tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(0.1, 0, 9)))
>>> state = tx.init({"w": jnp.ones(2)})
>>> updates, state = tx.update({"w": jnp.ones(2)}, state, {"w": jnp.ones(2)})
>>> int(state[1][0].count), isinstance(state[1][0], optax.ScaleByAdamState)
(1, True)
"""

import sys
from typing import TYPE_CHECKING, Any

import optax as _optax

from . import algorithms as _algorithms
from . import contrib as contrib
from . import schedules as schedules
from . import transforms as transforms
from .accumulation import MultiSteps as MultiSteps
from .accumulation import zero_nans as zero_nans
from .masking import masked as masked

if TYPE_CHECKING:
    from optax import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

for _name in (
    "assignment",
    "experimental",
    "losses",
    "microbatching",
    "perturbations",
    "projections",
    "second_order",
    "tree",
    "tree_utils",
):
    sys.modules[f"{__name__}.{_name}"] = getattr(_optax, _name)

globals().update(_algorithms.BY_NAME)
globals().update({name: vars(schedules)[name] for name in schedules.NAMES})
__all__ = [name for name in dir(_optax) if not name.startswith("_")]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    return getattr(_optax, name)


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__version__"]
