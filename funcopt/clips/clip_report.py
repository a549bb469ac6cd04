"""What every clip reports, under the same names."""

from typing import NamedTuple

from ..core.report import Mean, Norm, Smallest


class ClipReport(NamedTuple):
    """`grad_norm` is the norm of all updates before the clip.

    `clip_ratio` is what they were multiplied by; of a clip that looks at leaves or units one by
    one, the smallest such number. `clipped` is 1 if it acted and 0 if not, or the fraction of the
    leaves, units or elements that it acted on.
    """

    grad_norm: Norm = 0.0
    clip_ratio: Smallest = 1.0
    clipped: Mean = 0.0
