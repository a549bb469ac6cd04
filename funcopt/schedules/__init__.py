"""Schedules: values that map a step to a number. Step 0 is the first update."""

from .arithmetic import clipped as clipped
from .arithmetic import product as product
from .arithmetic import shifted as shifted
from .arithmetic import total as total
from .compose import join_schedules as join_schedules
from .compose import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from .feedback import cooldown_on_plateau as cooldown_on_plateau
from .feedback import on_abel as on_abel
from .feedback import on_bold_driver as on_bold_driver
from .feedback import on_greedy as on_greedy
from .feedback import on_newbob as on_newbob
from .feedback import on_plateau as on_plateau
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
