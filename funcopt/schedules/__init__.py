"""Schedules: values that map a step to a number. Step 0 is the first update.

Numbers of steps may be of any size and may be computed: what a rounding error separates from an
integer is that integer, and what lies between two steps (a tenth of 1,005) is kept as it is.
"""

from .arithmetic import clipped as clipped
from .arithmetic import product as product
from .arithmetic import shifted as shifted
from .arithmetic import total as total
from .compose import join_schedules as join_schedules
from .compose import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .cooldown_on_plateau import cooldown_on_plateau as cooldown_on_plateau
from .cycles import cosine_onecycle_schedule as cosine_onecycle_schedule
from .cycles import cosine_restarts as cosine_restarts
from .cycles import cosine_wave as cosine_wave
from .cycles import cyclic_schedule as cyclic_schedule
from .cycles import linear_onecycle_schedule as linear_onecycle_schedule
from .cycles import onecycle_schedule as onecycle_schedule
from .cycles import sgdr_schedule as sgdr_schedule
from .on_abel import on_abel as on_abel
from .on_autodrop import on_autodrop as on_autodrop
from .on_bold_driver import on_bold_driver as on_bold_driver
from .on_greedy import on_greedy as on_greedy
from .on_newbob import on_newbob as on_newbob
from .on_plateau import on_plateau as on_plateau
from .points import multistep_decay as multistep_decay
from .points import piecewise_interpolate_schedule as piecewise_interpolate_schedule
from .points import schedule_from_points as schedule_from_points
from .points import step_decay as step_decay
from .progress import constant_schedule as constant_schedule
from .progress import cosine_decay_schedule as cosine_decay_schedule
from .progress import exponential_decay as exponential_decay
from .progress import inverse_time_decay as inverse_time_decay
from .progress import linear_schedule as linear_schedule
from .progress import linear_warmup as linear_warmup
from .progress import piecewise_constant_schedule as piecewise_constant_schedule
from .progress import polynomial_schedule as polynomial_schedule
from .schedule import Schedule as Schedule
from .schedule import schedule as schedule
from .shapes import chebyshev_schedule as chebyshev_schedule
from .shapes import linear_to_zero as linear_to_zero
from .shapes import rex_schedule as rex_schedule
from .shapes import tanh_schedule as tanh_schedule
from .stable import inverse_sqrt_schedule as inverse_sqrt_schedule
from .stable import knee_schedule as knee_schedule
from .stable import noam_schedule as noam_schedule
from .stable import power_schedule as power_schedule
from .stable import warmup_stable_decay as warmup_stable_decay
from .warmup import warmup as warmup
from .warmup import warmup_constant_schedule as warmup_constant_schedule
from .warmup import warmup_exponential_decay_schedule as warmup_exponential_decay_schedule

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
