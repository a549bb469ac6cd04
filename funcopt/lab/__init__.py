"""Experiments: which optimizer, which learning rate, how sure.

Everything that the command `funcopt` does is a function here that returns a record with
`.table()`, `.plot(ax=)` and `.to_csv(path)`. What `funcopt health` does is `rescue`, whose picture
is a whole figure.

>>> found = compare(["adam"], task="linear_regression", lrs="0.1,0.2", seeds=1, steps=20)
>>> found.verdicts[0].best_rate
0.2
"""

from ..core.signatures import readable_functions
from .comparison.compare import compare as compare
from .comparison.compare import demo as demo
from .comparison.comparison import Comparison as Comparison
from .comparison.verdict import Verdict as Verdict
from .coordinates.coordinate_check import CoordinateCheck as CoordinateCheck
from .coordinates.coordinate_check import coordinate_check as coordinate_check
from .overview.catalogue import Catalogue as Catalogue
from .overview.catalogue import catalogue as catalogue
from .overview.show import Shown as Shown
from .overview.show import show as show
from .problems.task import Task as Task
from .problems.tasks import TASKS as TASKS
from .problems.tasks import get_task as get_task
from .problems.tasks import load_digits as load_digits
from .range_test.find_lr import find_lr as find_lr
from .range_test.range_test import RangeTest as RangeTest
from .rescues.rescue import rescue as rescue
from .rescues.rescued import Rescue as Rescue
from .schedules.schedule_curves import ScheduleCurves as ScheduleCurves
from .schedules.schedule_curves import schedule_curves as schedule_curves
from .search.sweep import Swept as Swept
from .search.sweep import sweep as sweep
from .training.progress import Event as Event
from .training.progress import Stage as Stage
from .training.train import Sweep as Sweep

__all__ = [
    "TASKS",
    "Catalogue",
    "Comparison",
    "CoordinateCheck",
    "Event",
    "RangeTest",
    "Rescue",
    "ScheduleCurves",
    "Shown",
    "Stage",
    "Sweep",
    "Swept",
    "Task",
    "Verdict",
    "catalogue",
    "compare",
    "coordinate_check",
    "demo",
    "find_lr",
    "get_task",
    "load_digits",
    "rescue",
    "schedule_curves",
    "show",
    "sweep",
]

readable_functions(globals())
