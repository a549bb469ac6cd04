"""One public name at a glance: signature, mathematics, defaults, memory, citation."""

import ast
import csv
import functools
import importlib.resources
import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optax

from ...core.paper import Paper
from ..drawing.told import told
from ..names import look_up, unknown
from ..training.candidates import optimizers, split_call
from .catalogue import first_line, public, slot_bytes, slots
from .kinds import kind

# What PyTorch calls an optimizer and its arguments.
PYTORCH_CLASSES = {
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSprop",
    "adadelta": "Adadelta",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "nadamw": "NAdam",
    "adamax": "Adamax",
    "amsgrad": "Adam",
}
PYTORCH_ARGUMENTS = {"learning_rate": "lr", "decay": "alpha", "b1": "betas", "b2": "betas"}


@dataclass(frozen=True)
class Default:
    """One argument and its default here, in PyTorch and in optax; None where it has none."""

    argument: str
    funcopt: str
    pytorch: str | None
    optax: str | None

    def differs(self, other: str | None) -> bool:
        """Whether `other` is a default that is not ours; None, False and 0 all mean off.

        >>> Default("momentum", "None", "0", None).differs("0")
        False
        """
        if other is None or "required" in (other, self.funcopt):
            return False
        if {other, self.funcopt} <= {"None", "False", "0", "0.0"}:
            return False
        return ast.literal_eval(other) != ast.literal_eval(self.funcopt)


@told
@dataclass(frozen=True)
class Shown:
    """The answer of `show`: what is known of a public name. Only optimizers have slots.

    `call` is what was asked for, a name or a call; memory and slots are those of the call.
    """

    name: str
    call: str
    summary: str
    signature: str
    mathematics: str
    defaults: tuple[Default, ...]
    pytorch: str | None
    memory: dict[str, float]
    slots: dict[str, str]
    paper: Paper | None

    def headline(self) -> str:
        """What it is, in one sentence."""
        return f"{self.call}: {self.summary}"

    def table(self):
        """Everything as one thing that rich can print."""
        from .table import shown

        return shown(self)

    def plot(self, ax=None):
        """The optimizer's answer to a gradient that turns from 1 to -1; returns the axes.

        Raises `ValueError` for anything else, such as a schedule, which answers no gradient.
        """
        from ..drawing.figures import on
        from .plot import response

        if self.name not in optimizers():
            what = kind(self.name, public()[self.name])
            raise ValueError(f"{self.name} is a {what}; only optimizers answer a gradient.")
        return on(ax, response, self.name)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of defaults."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Default.__dataclass_fields__)
            writer.writerows(vars(default).values() for default in self.defaults)
        return path


def show(name: str) -> Shown:
    """The public thing called `name`, in any case, at a glance; or the optimizer that a call such
    as `"sgd(momentum=0.9)"` describes.

    Raises `ValueError` for what does not exist.

    >>> show("AdamW").memory["float32"]
    8.0
    >>> show("sgd").memory["float32"], show("sgd(momentum=0.9)").memory["float32"]
    (0.0, 4.0)
    >>> [row.pytorch for row in show("adamw").defaults if row.argument == "weight_decay"]
    ['0.01']
    """
    there = public()
    whole = {each: each for each in there}
    short = {full.rpartition(".")[2]: full for full in there if "." in full}
    asked, settings = (name, {}) if "(" not in name else split_call(name)
    full = look_up("name", asked, whole | {n: full for n, full in short.items() if n not in whole})
    thing, optimizer = there[full], full in optimizers()
    parameters = arguments(thing)
    for argument in settings:
        if argument not in parameters:
            raise unknown(f"{full} argument", argument, parameters)
    tx = thing(**{"learning_rate": 1e-3, **settings}) if optimizer else None
    words = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return Shown(
        name=full,
        call=f"{full}({words})" if settings else full,
        summary=first_line(thing),
        signature=signature(full, thing),
        mathematics=body(sys.modules[thing.__module__] if optimizer else thing),
        defaults=defaults(full, thing),
        pytorch=f"torch.optim.{PYTORCH_CLASSES[full]}" if full in PYTORCH_CLASSES else None,
        memory={kind: slot_bytes(tx, kind) for kind in ("float32", "bfloat16")} if tx else {},
        slots={key: leaf.dtype.name for key, leaf in slots(tx).items()} if tx else {},
        paper=getattr(thing, "paper", None),
    )


def arguments(thing: Any) -> dict[str, inspect.Parameter]:
    """The parameters of what can be called; none of a module or an alias of a type."""
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        return {}
    return dict(inspect.signature(thing).parameters)


def signature(name: str, factory: Any) -> str:
    """The call of `factory` with its defaults, without types.

    >>> signature("f", lambda x, *, y=1: None)
    'f(x, *, y=1)'
    """
    if not callable(factory):
        return ""
    plain = inspect.Signature(
        [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in arguments(factory).values()
        ]
    )
    return f"{name}{plain}"


def body(thing: Any) -> str:
    """What a docstring says after its first line."""
    return (inspect.getdoc(thing) or "").partition("\n")[2].strip("\n")


def defaults(name: str, factory: Any) -> tuple[Default, ...]:
    """Each argument's default in funcopt, PyTorch and optax."""
    theirs = arguments(getattr(optax, name, None))
    torch = pytorch_defaults().get(PYTORCH_CLASSES.get(name, ""), {})
    return tuple(
        Default(
            argument=key,
            funcopt=value(parameter),
            pytorch=pytorch_value(torch, key),
            optax=value(theirs[key]) if key in theirs else None,
        )
        for key, parameter in arguments(factory).items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    )


def value(parameter: inspect.Parameter) -> str:
    default = parameter.default
    if default is parameter.empty:
        return "required"
    return repr(getattr(default, "__name__", default))  # a dtype by its name


def pytorch_value(torch: dict[str, Any], key: str) -> str | None:
    """The default of the argument that PyTorch has for `key`."""
    found = torch.get(PYTORCH_ARGUMENTS.get(key, key))
    if isinstance(found, list):
        found = found[int(key[1:]) - 1]
    return None if found is None else repr(found)


@functools.cache
def pytorch_defaults() -> dict[str, Any]:
    """The defaults of torch.optim, as `tests/make_pytorch_defaults.py` wrote them."""
    packed = importlib.resources.files("funcopt.lab.overview") / "data" / "pytorch_defaults.json"
    return json.loads(packed.read_text("utf-8"))
