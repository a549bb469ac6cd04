"""What is compared: a label and a function from a learning rate to a transformation."""

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import funcopt

from .names import look_up, unknown

Factory = Callable[..., Any]


@dataclass(frozen=True)
class Candidate:
    """One optimizer to train with: `make(learning_rate)` gives the transformation.

    Where it is `named`, its label is a name or a call that the command line takes.
    """

    label: str
    make: Callable[[Any], Any]
    named: bool = False


def optimizers() -> dict[str, Factory]:
    """Every optimizer that funcopt exports: what takes `learning_rate` first, and a `storage`.

    >>> "adamw" in optimizers()
    True
    """
    found = {}
    for name in dir(funcopt):
        thing = getattr(funcopt, name)
        if name.startswith("_") or not inspect.isfunction(thing):
            continue
        arguments = list(inspect.signature(thing).parameters)
        if arguments[:1] == ["learning_rate"] and "storage" in arguments:
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
    """
    if call.isidentifier():
        return call, {}
    try:
        tree = ast.parse(call.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.args:
            raise SyntaxError
        settings = {word.arg: ast.literal_eval(word.value) for word in tree.keywords if word.arg}
        if len(settings) != len(tree.keywords):
            raise SyntaxError
    except (SyntaxError, ValueError):
        raise ValueError(
            f"cannot read the optimizer {call!r}: expected a name or a call with keyword "
            "arguments, such as adam or sgd(momentum=0.9); the learning rate comes from --lrs."
        ) from None
    return tree.func.id, settings


def candidates(given: Iterable[str] | Mapping[str, Callable[[Any], Any]]) -> list[Candidate]:
    """Candidates from names and calls, or from a mapping of labels to functions of the rate."""
    if isinstance(given, Mapping):
        found = [Candidate(label, make) for label, make in given.items()]
    else:
        found = [parse(call) for call in ([given] if isinstance(given, str) else given)]
    labels = [candidate.label for candidate in found]
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        raise ValueError(f"optimizers: {', '.join(repeated)} given more than once; name each once.")
    if not found:
        raise ValueError("optimizers: none given; name at least one, such as adam.")
    return found


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
