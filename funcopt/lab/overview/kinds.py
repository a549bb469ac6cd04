"""Groups of public names, by what each takes and gives."""

import inspect
from typing import Any

import funcopt

from ..training.candidates import PARTS

GROUPS = {
    "optimizer": "its learning rate is yours to give",
    "optimizer with a rate": "its rate has a default; most choose it as they go",
    "clip": "bounds gradients or updates",
    "wrapper": "goes around another transformation",
    "building block": "a part of a chain",
    "schedule": "a number for each step",
    "feedback schedule": "listens to a metric as well",
    "function": "steps, reads a state, looks at gradients",
    "experiment": "in funcopt.lab; what the commands do",
    "rule": "an algorithm for one array",
    "own algorithm": "what a new rule, schedule or wrapper is made with",
}
WRITING = {
    "rule",
    "schedule",
    "transformation",
    "masked",
    "lift",
    "optimizer",
    "arguments",
    "wrappers",
}
WRAPPERS = ("funcopt.averaging.", "funcopt.safety.", "funcopt.core.partition")


def kind(name: str, thing: Any) -> str:
    """The group of a public name, by what it takes and gives.

    >>> kind("adam", funcopt.adam), kind("guard", funcopt.guard), kind("clip", funcopt.clip)
    ('optimizer', 'wrapper', 'clip')
    """
    if name.startswith("lab."):
        return "experiment"
    if inspect.isclass(thing) and issubclass(thing, funcopt.Rule) and thing is not funcopt.Rule:
        return "rule"
    if not inspect.isfunction(thing) or name in WRITING:
        return "own algorithm"
    if not hasattr(thing, "__wrapped__"):
        return "function"
    shown = inspect.signature(thing)
    first, *_ = [*shown.parameters.values(), None]
    if str(shown.return_annotation) == "Schedule":
        return "feedback schedule" if f"_{name}".find("_on_") >= 0 else "schedule"
    if "clip" in name:
        return "clip"
    if first is None:
        return "building block"
    if thing.__module__.startswith(WRAPPERS) and first.name != "learning_rate":
        return "wrapper"
    if any(str(parameter.annotation) == "Base" for parameter in shown.parameters.values()):
        return "wrapper"
    if first.name != "learning_rate" or name in PARTS:
        return "building block"
    return "optimizer" if first.default is first.empty else "optimizer with a rate"
