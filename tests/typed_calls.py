"""A program for a type checker of one call a line, made from the signatures of all public factories
and rules: what each argument takes, and after `# error` what it does not.

`tests/test_types.py` runs pyright on it. Nothing runs it.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import funcopt
from funcopt import rules, schedules
from funcopt.core.arguments import NumberOfSteps, Within
from funcopt.core.record import annotations, parts
from funcopt.safety.accumulate import Every
from funcopt.transforms.decay_rules import DecayAmong

HEAD = """
import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt

tx = funcopt.sgd(0.1)
plain = optax.linear_schedule(1.0, 0.5, 10)
schedule = funcopt.linear_schedule(1.0, 0.5, 10)
feedback = schedule * funcopt.on_plateau()
array = jnp.array(0.5)
"""
NUMBERS = ("1", "0.5", "array", "np.array(0.5)", "np.float32(0.5)", "np.int64(1)")
FUNCTIONS = ("plain", "schedule", "feedback", "lambda step: 0.1", "jnp.sqrt")
GIVEN = {  # where an argument without default is no number, in one call after the name of that
    "base_optimizer": "tx",
    "boundaries": "[10]",
    "cosine_kwargs": "[{}]",
    "direction": "tx",
    "factors": '{"": 0.5}',
    "inner": "tx",
    "interpolate_type": '"linear"',
    "milestones": "[10]",
    "points": "{0: 1.0}",
    "projection": "jnp.abs",
    "schedule": "plain",
    "schedules": "[plain, schedule]",
    "transforms": '{"": tx}',
    "funcopt.rules.InBasis(basis": "funcopt.rules.Eigenbasis()",
    "funcopt.rules.InBasis(inner": "funcopt.rules.Adam()",
}

ANYTHING = {"funcopt.partition": "param_labels"}  # a tree, whose containers may be anyone's


class Argument(NamedTuple):
    """Whether an argument is a number, may be a schedule, may be None, and has to be given."""

    number: bool
    schedule: bool
    optional: bool
    needed: bool


def argument(annotation: Any, needed: bool) -> Argument:
    if annotation == Every:
        return Argument(True, True, False, needed)
    decay = next((x for x in parts(annotation)[1] if isinstance(x, DecayAmong)), None)
    if decay is not None:
        return Argument(True, True, decay.optional, needed)
    check = next((x for x in parts(annotation)[1] if isinstance(x, Within | NumberOfSteps)), None)
    if check is None:
        return Argument(False, False, False, needed)
    return Argument(True, check.schedule, check.optional, needed)


def factories() -> dict[str, Callable]:
    """Those that make values, by what they are called after `import funcopt`."""
    public = {f"funcopt.{name}": getattr(funcopt, name) for name in funcopt.__all__}
    public |= {f"funcopt.schedules.{name}": getattr(schedules, name) for name in schedules.__all__}
    first = {thing: name for name, thing in reversed(public.items()) if inspect.isfunction(thing)}
    made = (funcopt.GradientTransformation, funcopt.Schedule)
    return {
        name: thing
        for thing, name in first.items()
        if getattr(inspect.signature(thing).return_annotation, "meaning", None) in made
        and thing is not funcopt.with_rate  # which returns another call's value
    }


def arguments_of(factory: Callable) -> dict[str, Argument]:
    function = inspect.unwrap(factory)
    told = annotations(function)
    return {
        name: argument(told.get(name), each.default is each.empty)
        for name, each in inspect.signature(function).parameters.items()
        if each.kind is not each.VAR_POSITIONAL
    }


def rule_classes() -> dict[str, type]:
    named = {f"funcopt.rules.{name}": getattr(rules, name) for name in rules.__all__}
    kinds = (rules.Rule, rules.TreeRule)
    return {
        name: each
        for name, each in named.items()
        if inspect.isclass(each) and issubclass(each, kinds) and is_dataclass(each)
    }


def fields_of(kind: type) -> dict[str, Argument]:
    told, needed = annotations(kind), inspect.signature(kind).parameters
    return {
        each.name: argument(told[each.name], needed[each.name].default is inspect.Parameter.empty)
        for each in fields(kind)
    }


def calls(name: str, known: dict[str, Argument]) -> Iterator[str]:
    numbers = {key: "0.5" for key, each in known.items() if each.number}
    needed = {
        key: GIVEN.get(f"{name}({key}", GIVEN.get(key, "0.5"))
        for key, each in known.items()
        if each.needed
    }

    def call(given: dict[str, str], wrong: bool = False) -> str:
        words = ", ".join(f"{key}={word}" for key, word in {**needed, **given}.items())
        return f"{name}({words})" + ("  # error" if wrong else "")

    schedules_too = [key for key in numbers if known[key].schedule]
    none_too = [key for key in numbers if known[key].optional]
    yield from (call(dict.fromkeys(numbers, word)) for word in NUMBERS if numbers)
    yield from (call(dict.fromkeys(schedules_too, word)) for word in FUNCTIONS if schedules_too)
    yield call(dict.fromkeys(none_too, "None"))
    for key, each in known.items():
        if ANYTHING.get(name) == key:
            continue
        yield call({key: '"x"' if each.number else "object()"}, wrong=True)
        if each.number and not each.schedule:
            yield call({key: "schedule"}, wrong=True)
        if each.number and not each.optional:
            yield call({key: "None"}, wrong=True)


def program() -> str:
    lines = [HEAD]
    for name, factory in factories().items():
        lines += calls(name, arguments_of(factory))
    for name, kind in rule_classes().items():
        lines += calls(name, fields_of(kind))
    return "\n".join(lines) + "\n"
