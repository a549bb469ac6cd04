"""`optax.transforms`, with what funcopt has of it."""

from typing import TYPE_CHECKING, Any

import optax.transforms

from .accumulation import MultiSteps as MultiSteps
from .accumulation import zero_nans as zero_nans
from .algorithms import BY_NAME
from .masking import masked as masked

if TYPE_CHECKING:
    from optax.transforms import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

globals().update({name: x for name, x in BY_NAME.items() if hasattr(optax.transforms, name)})


def __getattr__(name: str) -> Any:
    return getattr(optax.transforms, name)


def __dir__() -> list[str]:
    return dir(optax.transforms)
