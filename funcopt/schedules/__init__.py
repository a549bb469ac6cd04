"""Schedules: values that map a step to a number. Step 0 is the first update.

Numbers of steps may be of any size and may be computed: what a rounding error separates from an
integer is that integer, and what lies between two steps (a tenth of 1,005) is kept as it is.
"""

from typing import TYPE_CHECKING

from ..core.lazy import lazy as _lazy

if TYPE_CHECKING or not _lazy(__name__):
    from ..core.schedule import Schedule as Schedule
    from ..core.schedule import clipped as clipped
    from ..core.schedule import product as product
    from ..core.schedule import schedule as schedule
    from ..core.schedule import shifted as shifted
    from ..core.schedule import total as total
    from .performance.cooldown_on_plateau import cooldown_on_plateau as cooldown_on_plateau
    from .performance.on_abel import on_abel as on_abel
    from .performance.on_autodrop import on_autodrop as on_autodrop
    from .performance.on_bold_driver import on_bold_driver as on_bold_driver
    from .performance.on_greedy import on_greedy as on_greedy
    from .performance.on_newbob import on_newbob as on_newbob
    from .performance.on_plateau import on_plateau as on_plateau
    from .progress.compose import join_schedules as join_schedules
    from .progress.compose import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
    from .progress.cycles import cosine_wave as cosine_wave
    from .progress.cycles import cyclic_schedule as cyclic_schedule
    from .progress.onecycle import cosine_onecycle_schedule as cosine_onecycle_schedule
    from .progress.onecycle import linear_onecycle_schedule as linear_onecycle_schedule
    from .progress.onecycle import onecycle_schedule as onecycle_schedule
    from .progress.points import multistep_decay as multistep_decay
    from .progress.points import piecewise_interpolate_schedule as piecewise_interpolate_schedule
    from .progress.points import schedule_from_points as schedule_from_points
    from .progress.points import step_decay as step_decay
    from .progress.progress import constant_schedule as constant_schedule
    from .progress.progress import cosine_decay_schedule as cosine_decay_schedule
    from .progress.progress import exponential_decay as exponential_decay
    from .progress.progress import inverse_time_decay as inverse_time_decay
    from .progress.progress import linear_schedule as linear_schedule
    from .progress.progress import linear_warmup as linear_warmup
    from .progress.progress import piecewise_constant_schedule as piecewise_constant_schedule
    from .progress.progress import polynomial_schedule as polynomial_schedule
    from .progress.restarts import cosine_restarts as cosine_restarts
    from .progress.restarts import sgdr_schedule as sgdr_schedule
    from .progress.shapes import chebyshev_schedule as chebyshev_schedule
    from .progress.shapes import linear_to_zero as linear_to_zero
    from .progress.shapes import rex_schedule as rex_schedule
    from .progress.shapes import tanh_schedule as tanh_schedule
    from .progress.stable import inverse_sqrt_schedule as inverse_sqrt_schedule
    from .progress.stable import knee_schedule as knee_schedule
    from .progress.stable import noam_schedule as noam_schedule
    from .progress.stable import power_schedule as power_schedule
    from .progress.stable import warmup_stable_decay as warmup_stable_decay
    from .progress.warmup import warmup as warmup
    from .progress.warmup import warmup_constant_schedule as warmup_constant_schedule
    from .progress.warmup import (
        warmup_exponential_decay_schedule as warmup_exponential_decay_schedule,
    )

__all__ = [
    "Schedule",
    "chebyshev_schedule",
    "clipped",
    "constant_schedule",
    "cooldown_on_plateau",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts",
    "cosine_wave",
    "cyclic_schedule",
    "exponential_decay",
    "inverse_sqrt_schedule",
    "inverse_time_decay",
    "join_schedules",
    "knee_schedule",
    "linear_onecycle_schedule",
    "linear_schedule",
    "linear_to_zero",
    "linear_warmup",
    "multistep_decay",
    "noam_schedule",
    "on_abel",
    "on_autodrop",
    "on_bold_driver",
    "on_greedy",
    "on_newbob",
    "on_plateau",
    "onecycle_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "power_schedule",
    "product",
    "rex_schedule",
    "schedule",
    "schedule_from_points",
    "sgdr_schedule",
    "shifted",
    "step_decay",
    "tanh_schedule",
    "total",
    "warmup",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_stable_decay",
]
