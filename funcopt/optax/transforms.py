"""`optax.transforms`, with what funcopt has of it."""

from typing import TYPE_CHECKING, Any

import optax.transforms

from ..core.lazy import imports, lazy

if TYPE_CHECKING:
    from optax.transforms import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

if TYPE_CHECKING or not lazy(__name__):
    from .accumulation import MultiSteps as MultiSteps
    from .accumulation import zero_nans as zero_nans
    from .algorithms import adaptive_grad_clip as adaptive_grad_clip
    from .algorithms import add_decayed_weights as add_decayed_weights
    from .algorithms import chain as chain
    from .algorithms import clip as clip
    from .algorithms import clip_by_block_rms as clip_by_block_rms
    from .algorithms import clip_by_global_norm as clip_by_global_norm
    from .algorithms import keep_params_nonnegative as keep_params_nonnegative
    from .algorithms import trace as trace
    from .masking import masked as masked


def __getattr__(name: str) -> Any:
    if name in imports(__name__):
        raise AttributeError(name)  # it is lazy
    return getattr(optax.transforms, name)


def __dir__() -> list[str]:
    return dir(optax.transforms)
