"""Experiments: which optimizer, which learning rate, how sure.

Everything that the command `funcopt` does is a function here that returns a record with
`.table()`, `.plot(ax=)` and `.to_csv(path)`. What `funcopt health` does is `rescue`, whose picture
is a whole figure.

>>> found = compare(["adam"], task="linear_regression", lrs="0.1,0.2", seeds=1, steps=20)
>>> found.verdicts[0].best_rate
0.2
"""

from ..core.signatures import readable_functions
from .catalogue import Catalogue as Catalogue
from .catalogue import catalogue as catalogue
from .compare import compare as compare
from .compare import demo as demo
from .comparison import Comparison as Comparison
from .find_lr import find_lr as find_lr
from .lr_range import RangeTest as RangeTest
from .progress import Event as Event
from .progress import Stage as Stage
from .rescue import rescue as rescue
from .rescued import Rescue as Rescue
from .schedule_curves import ScheduleCurves as ScheduleCurves
from .schedule_curves import schedule_curves as schedule_curves
from .search import Swept as Swept
from .search import sweep as sweep
from .show import Shown as Shown
from .show import show as show
from .sweep import Sweep as Sweep
from .task import Task as Task
from .tasks import TASKS as TASKS
from .tasks import get_task as get_task
from .tasks import load_digits as load_digits
from .verdict import Verdict as Verdict

__all__ = [
    "TASKS",
    "Catalogue",
    "Comparison",
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
