"""What is compared: a label and a function from a learning rate to a transformation."""

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optax

import funcopt

from ..names import look_up, unknown

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Candidate:
    """One optimizer to train with: `make(learning_rate)` gives the transformation.

    Where it is `named`, its label is a name or a call that the command line takes.
    """

    label: str
    make: Callable[[Any], Any]
    named: bool = False


PARTS = ("descend", "scale_by_learning_rate")
"""Of a chain, and no optimizers by themselves."""


def optimizers() -> dict[str, Factory]:
    """Every optimizer that funcopt exports: what takes `learning_rate` first, and is no part.

    >>> "adamw" in optimizers()
    True
    """
    found = {}
    for name in dir(funcopt):
        thing = getattr(funcopt, name)
        if name.startswith("_") or not inspect.isfunction(thing):
            continue
        arguments = list(inspect.signature(thing).parameters)
        if arguments[:1] == ["learning_rate"] and name not in PARTS:
            found[name] = thing
    return found


def parse(call: str) -> Candidate:
    """The candidate that a call without its rate describes: `adam`, `sgd(momentum=0.9)`.

    Raises `UnknownName` for an optimizer or an argument that does not exist, and `ValueError`
    for what does not read as a call with literal keyword arguments.

    >>> parse("sgd(momentum=0.9)").make(0.1)
    sgd(learning_rate=0.1, momentum=0.9)
    """
    name, settings = split_call(call)
    factory = look_up("optimizer", name, optimizers())
    allowed = list(inspect.signature(factory).parameters)[1:]
    for argument in settings:
        if argument not in allowed:
            raise unknown(f"{name} argument", argument, allowed)
    factory(1e-3, **settings)
    return Candidate(call.replace(" ", ""), lambda rate: factory(rate, **settings), named=True)


def split_call(call: str) -> tuple[str, dict[str, Any]]:
    """A name and its literal keyword arguments.

    >>> split_call("adam(b1=0.8, nesterov=True)")
    ('adam', {'b1': 0.8, 'nesterov': True})
    >>> split_call("schedules.clipped")
    ('schedules.clipped', {})
    """
    if all(part.isidentifier() for part in call.split(".")):
        return call, {}
    try:
        tree = ast.parse(call.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or tree.args:
            raise SyntaxError
        settings = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
        if len(settings) != len(tree.keywords):
            raise SyntaxError
    except (SyntaxError, ValueError):
        raise ValueError(
            f"cannot read the optimizer {call!r}: expected a name or a call with keyword "
            "arguments, such as adam or sgd(momentum=0.9); the learning rate comes from --lrs."
        ) from None
    return ast.unparse(tree.func), settings


Optimizer = str | Factory | optax.GradientTransformation
Given = Optimizer | Iterable[Optimizer] | Mapping[str, Optimizer]


def candidates(given: Given) -> list[Candidate]:
    """Candidates from names, calls, functions of the rate and transformations, or a mapping of
    labels to them; each is made once, to see that it can be.
    """
    if isinstance(given, Mapping):
        found = [labelled(str(label), each) for label, each in given.items()]
    else:
        alone = isinstance(given, str | optax.GradientTransformation) or callable(given)
        if not alone and not isinstance(given, Iterable):
            raise TypeError(f"optimizers: {given!r} given, expected {EXPECTED}.")
        several: Any = [given] if alone else given
        each_one = list(several)
        found = [labelled(label, x) for label, x in zip(names(each_one), each_one, strict=True)]
    labels = [candidate.label for candidate in found]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(
            f"optimizers: {', '.join(repeated)} given more than once; name each once, or give a "
            "dict with a label of its own for each."
        )
    if not found:
        raise ValueError("optimizers: none given; name at least one, such as adam.")
    return found


EXPECTED = (
    "a name or a call such as 'sgd(momentum=0.9)', a function of the learning rate such as "
    "optax.adam, or a transformation of funcopt"
)


def labelled(label: str, given: Any) -> Candidate:
    """A candidate from one of what may be given, tried out."""
    if isinstance(given, str):
        found = parse(given)
        return Candidate(label, found.make, named=found.label == label)
    where = f"optimizers: {label!r}"
    return Candidate(label, tried(where, factory(where, given)))


def tried(where: str, make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`make`, once it has made a transformation."""
    try:
        made = make(1e-3)
    except Exception as error:
        error.add_note(f"This came from {where}, called with a rate of 0.001.")
        raise
    if not isinstance(made, optax.GradientTransformation):
        raise TypeError(
            f"{where} returned {made!r} for a learning rate, expected a gradient transformation."
        )
    return make


def factory(where: str, given: Any) -> Callable[[Any], Any]:
    """A function of the learning rate, from one or from a transformation whose rate is replaced."""
    if isinstance(given, funcopt.GradientTransformation):
        funcopt.with_rate(given, 1e-3, keep_ratios=True)
        return lambda rate: funcopt.with_rate(given, rate, keep_ratios=True)
    if isinstance(given, optax.GradientTransformation) or not callable(given):
        raise TypeError(
            f"{where}: {given!r} given, whose learning rate cannot be replaced; expected a "
            "transformation of funcopt, or a function of the rate such as lambda rate: "
            "optax.adam(rate)."
        )
    return given


def names(given: Sequence[Any]) -> list[str]:
    """The labels of a list: calls without their rate, functions by their name.

    Where two have the same name, the package of one that is not funcopt's stands before it.

    >>> names([optax.adam, "adam", funcopt.sgd(0.1, momentum=0.9)])
    ['optax.adam', 'adam', 'sgd(momentum=0.9)']
    """
    short = [name(each) for each in given]
    found = []
    for each, own in zip(given, short, strict=True):
        package = str(getattr(each, "__module__", "")).split(".")[0]
        foreign = callable(each) and package not in ("funcopt", "__main__", "")
        found.append(f"{package}.{own}" if foreign and short.count(own) > 1 else own)
    return found


SENTINEL = 0.123456789


def name(given: Any) -> str:
    """What one optimizer is called."""
    if isinstance(given, str):
        return given.replace(" ", "")
    if isinstance(given, funcopt.GradientTransformation):
        told = repr(funcopt.with_rate(given, SENTINEL, keep_ratios=True))
        return re.sub(rf"learning_rate={SENTINEL}(, )?", "", told).replace("()", "")
    return str(getattr(given, "__name__", type(given).__name__))


def constant(rate, steps: int):
    return rate


def linear(rate, steps: int):
    return funcopt.linear_schedule(rate, 0.0, steps)


def cosine(rate, steps: int):
    return funcopt.cosine_decay_schedule(rate, steps)


def warmup_cosine(rate, steps: int):
    """A tenth of the steps to warm up from zero, then a cosine to zero."""
    warmup = max(1, steps // 10)
    return funcopt.warmup_cosine_decay_schedule(0.0, rate, warmup, max(steps, warmup + 1))


SCHEDULES = {shape.__name__: shape for shape in (constant, linear, cosine, warmup_cosine)}
