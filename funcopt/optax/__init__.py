"""optax's namespace with funcopt's algorithms in it: `import funcopt.optax as optax`.

Every public name of the installed optax is here, its submodules too. Where funcopt has the
algorithm, it does the arithmetic: called as optax's, over optax's states, so that programs which
look into `state[0].mu`, and checkpoints, go on. Types are optax's own. What funcopt does not have,
or means something else by, is optax's. The import itself loads optax; each algorithm is loaded when
it is used.

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

from ..core.lazy import imports as _imports
from ..core.lazy import lazy as _lazy

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

if TYPE_CHECKING or not _lazy(__name__):
    from . import contrib as contrib
    from . import schedules as schedules
    from . import transforms as transforms
    from .accumulation import MultiSteps as MultiSteps
    from .accumulation import zero_nans as zero_nans
    from .algorithms import adabelief as adabelief
    from .algorithms import adadelta as adadelta
    from .algorithms import adafactor as adafactor
    from .algorithms import adagrad as adagrad
    from .algorithms import adam as adam
    from .algorithms import adamax as adamax
    from .algorithms import adamaxw as adamaxw
    from .algorithms import adamw as adamw
    from .algorithms import adan as adan
    from .algorithms import adaptive_grad_clip as adaptive_grad_clip
    from .algorithms import add_decayed_weights as add_decayed_weights
    from .algorithms import amsgrad as amsgrad
    from .algorithms import chain as chain
    from .algorithms import clip as clip
    from .algorithms import clip_by_block_rms as clip_by_block_rms
    from .algorithms import clip_by_global_norm as clip_by_global_norm
    from .algorithms import fromage as fromage
    from .algorithms import global_norm as global_norm
    from .algorithms import keep_params_nonnegative as keep_params_nonnegative
    from .algorithms import lamb as lamb
    from .algorithms import lars as lars
    from .algorithms import lion as lion
    from .algorithms import nadam as nadam
    from .algorithms import nadamw as nadamw
    from .algorithms import normalize_by_update_norm as normalize_by_update_norm
    from .algorithms import novograd as novograd
    from .algorithms import optimistic_adam_v2 as optimistic_adam_v2
    from .algorithms import optimistic_gradient_descent as optimistic_gradient_descent
    from .algorithms import polyak_sgd as polyak_sgd
    from .algorithms import radam as radam
    from .algorithms import rmsprop as rmsprop
    from .algorithms import scale as scale
    from .algorithms import scale_by_adadelta as scale_by_adadelta
    from .algorithms import scale_by_adam as scale_by_adam
    from .algorithms import scale_by_adamax as scale_by_adamax
    from .algorithms import scale_by_adan as scale_by_adan
    from .algorithms import scale_by_amsgrad as scale_by_amsgrad
    from .algorithms import scale_by_belief as scale_by_belief
    from .algorithms import scale_by_factored_rms as scale_by_factored_rms
    from .algorithms import scale_by_learning_rate as scale_by_learning_rate
    from .algorithms import scale_by_lion as scale_by_lion
    from .algorithms import scale_by_optimistic_gradient as scale_by_optimistic_gradient
    from .algorithms import scale_by_radam as scale_by_radam
    from .algorithms import scale_by_rms as scale_by_rms
    from .algorithms import scale_by_rss as scale_by_rss
    from .algorithms import scale_by_schedule as scale_by_schedule
    from .algorithms import scale_by_sign as scale_by_sign
    from .algorithms import scale_by_stddev as scale_by_stddev
    from .algorithms import scale_by_trust_ratio as scale_by_trust_ratio
    from .algorithms import sgd as sgd
    from .algorithms import sign_sgd as sign_sgd
    from .algorithms import signum as signum
    from .algorithms import trace as trace
    from .algorithms import yogi as yogi
    from .masking import masked as masked
    from .schedules import constant_schedule as constant_schedule
    from .schedules import cosine_decay_schedule as cosine_decay_schedule
    from .schedules import cosine_onecycle_schedule as cosine_onecycle_schedule
    from .schedules import exponential_decay as exponential_decay
    from .schedules import join_schedules as join_schedules
    from .schedules import linear_onecycle_schedule as linear_onecycle_schedule
    from .schedules import linear_schedule as linear_schedule
    from .schedules import piecewise_constant_schedule as piecewise_constant_schedule
    from .schedules import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from .schedules import polynomial_schedule as polynomial_schedule
    from .schedules import sgdr_schedule as sgdr_schedule
    from .schedules import warmup_constant_schedule as warmup_constant_schedule
    from .schedules import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from .schedules import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule

__all__ = [name for name in dir(_optax) if not name.startswith("_")]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _imports(__name__):
        raise AttributeError(name)  # it is lazy
    return getattr(_optax, name)


_missing = __getattr__  # optax says what has been removed


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__version__"]
