"""What an author of wrappers needs: transformations that decide about the steps of another one."""

from typing import TYPE_CHECKING

from .core.lazy import lazy as _lazy

if TYPE_CHECKING or not _lazy(__name__):
    from .core.answers import Accumulates as Accumulates
    from .core.answers import Holds as Holds
    from .core.answers import Scales as Scales
    from .core.answers import Skipped as Skipped
    from .core.answers import Skips as Skips
    from .core.answers import Waits as Waits
    from .core.answers import Writes as Writes
    from .core.wrapper import Beginning as Beginning
    from .core.wrapper import Inside as Inside
    from .core.wrapper import Wrapper as Wrapper
    from .safety.baseline import Baseline as Baseline
    from .safety.baseline import Judges as Judges
    from .safety.baseline import SpikeLimits as SpikeLimits

__all__ = [
    "Accumulates",
    "Baseline",
    "Beginning",
    "Holds",
    "Inside",
    "Judges",
    "Scales",
    "Skipped",
    "Skips",
    "SpikeLimits",
    "Waits",
    "Wrapper",
    "Writes",
]
