"""Experiments: which optimizer, which learning rate, how sure.

Everything that the command `funcopt` does is a function here that returns a record with
`.table()`, `.plot(ax=)` and `.to_csv(path)`.

>>> found = compare(["adam"], task="linear_regression", lrs="0.1,0.2", seeds=1, steps=20)
>>> found.steps
20
"""

from funcopt.lab.compare import compare as compare
from funcopt.lab.compare import demo as demo
from funcopt.lab.comparison import Comparison as Comparison
from funcopt.lab.sweep import Sweep as Sweep
from funcopt.lab.tasks import TASKS as TASKS
from funcopt.lab.tasks import Task as Task
from funcopt.lab.tasks import get_task as get_task
from funcopt.lab.tasks import load_digits as load_digits
from funcopt.lab.verdict import Verdict as Verdict
from funcopt.lab.watch import Event as Event
