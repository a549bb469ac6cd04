"""One optimizer at a glance: signature, mathematics, defaults, memory, citation."""

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

from .candidates import optimizers
from .catalogue import first_line, schedules, slot_bytes, slots
from .names import look_up
from .papers import PAPERS, Paper

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


@dataclass(frozen=True)
class Shown:
    """What `show` tells of an optimizer; a schedule has no slots and no paper."""

    name: str
    summary: str
    signature: str
    mathematics: str
    defaults: tuple[Default, ...]
    pytorch: str | None
    memory: dict[str, float]
    slots: dict[str, str]
    paper: Paper | None

    def table(self):
        """Everything as one thing that rich can print."""
        from .tables import shown

        return shown(self)

    def plot(self, ax=None):
        """The optimizer's answer to a gradient that turns from 1 to -1; returns the axes.

        Raises `ValueError` for a schedule, which answers no gradient.
        """
        from . import plots

        if self.name not in optimizers():
            raise ValueError(f"{self.name} is a schedule; only optimizers answer a gradient.")
        return plots.on(ax, plots.response, self.name)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of defaults."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Default.__dataclass_fields__)
            writer.writerows(vars(default).values() for default in self.defaults)
        return path


def show(name: str) -> Shown:
    """The optimizer (or schedule) called `name` at a glance.

    >>> show("adamw").memory["float32"]
    8.0
    >>> [row.pytorch for row in show("adamw").defaults if row.argument == "weight_decay"]
    ['0.01']
    """
    found = optimizers()
    factory = look_up("optimizer or schedule", name, found | schedules())
    optimizer = name in found
    tx = factory(1e-3) if optimizer else None
    return Shown(
        name=name,
        summary=first_line(factory),
        signature=signature(name, factory),
        mathematics=body(sys.modules[factory.__module__] if optimizer else factory),
        defaults=defaults(name, factory),
        pytorch=f"torch.optim.{PYTORCH_CLASSES[name]}" if name in PYTORCH_CLASSES else None,
        memory={kind: slot_bytes(tx, kind) for kind in ("float32", "bfloat16")} if tx else {},
        slots={key: leaf.dtype.name for key, leaf in slots(tx).items()} if tx else {},
        paper=PAPERS.get(name),
    )


def signature(name: str, factory: Any) -> str:
    """The call of `factory` with its defaults, without types.

    >>> signature("f", lambda x, *, y=1: None)
    'f(x, *, y=1)'
    """
    plain = inspect.Signature(
        [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in inspect.signature(factory).parameters.values()
        ]
    )
    return f"{name}{plain}"


def body(thing: Any) -> str:
    """What a docstring says after its first line."""
    return (inspect.getdoc(thing) or "").partition("\n")[2].strip("\n")


def defaults(name: str, factory: Any) -> tuple[Default, ...]:
    """Each argument's default in funcopt, PyTorch and optax."""
    theirs = inspect.signature(getattr(optax, name)).parameters if hasattr(optax, name) else {}
    torch = pytorch_defaults().get(PYTORCH_CLASSES.get(name, ""), {})
    return tuple(
        Default(
            argument=key,
            funcopt=value(parameter),
            pytorch=pytorch_value(torch, key),
            optax=value(theirs[key]) if key in theirs else None,
        )
        for key, parameter in inspect.signature(factory).parameters.items()
    )


def value(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is parameter.empty else repr(parameter.default)


def pytorch_value(torch: dict[str, Any], key: str) -> str | None:
    """The default of the argument that PyTorch has for `key`."""
    found = torch.get(PYTORCH_ARGUMENTS.get(key, key))
    if isinstance(found, list):
        found = found[int(key[1:]) - 1]
    return None if found is None else repr(found)


@functools.cache
def pytorch_defaults() -> dict[str, Any]:
    """The defaults of torch.optim, as `tests/make_pytorch_defaults.py` wrote them."""
    packed = importlib.resources.files("funcopt.lab") / "data" / "pytorch_defaults.json"
    return json.loads(packed.read_text("utf-8"))
