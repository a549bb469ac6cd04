"""The commands and their arguments. What a name means is checked later, with jax."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand


@dataclass(frozen=True)
class Demo:
    """Train eight well-known optimizers on handwritten digits and write a report."""

    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write into, exactly this one; None is a new one in funcopt-out."""
    seeds: int = 3
    """How many seeds; medians and ranges are over them."""
    seed: int = 0
    """The first seed; the others count on from it."""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """Updates of each run; None is 300, or 100 with --quick."""
    quick: bool = False
    """Half as many learning rates for a third of the steps."""
    quiet: bool = False
    """Print the answer and where the report is, nothing else."""
    json: bool = False
    """Print the ranking as JSON on stdout, everything else on stderr."""


@dataclass(frozen=True)
class Compare:
    """Compare optimizers over learning rates and seeds on one task."""

    optimizers: Annotated[Positional[tuple[str, ...]], arg(metavar="OPTIMIZER ...")]
    """Names such as adam, or calls such as "sgd(momentum=0.9)"; `funcopt list` has them all."""
    task: str = "digits"
    """digits, linear_regression, deep_tanh, logistic_digits, rnn_adding, rnn_temporal_order,
    characters, cliff or spike."""
    lrs: str = "1e-4:1:17"
    """Learning rates: low:high:count (evenly spaced logarithms), or a list such as 0.01,0.1."""
    schedule: str = "constant"
    """constant, linear, cosine or warmup_cosine; the learning rates are its peaks."""
    seeds: int = 3
    """How many seeds; medians and ranges are over them."""
    seed: int = 0
    """The first seed; the others count on from it."""
    steps: int = 300
    """Updates of each run."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write into, exactly this one; None is a new one in funcopt-out."""
    quiet: bool = False
    """Print the answer and where the report is, nothing else."""
    json: bool = False
    """Print the ranking as JSON on stdout, everything else on stderr."""


@dataclass(frozen=True)
class Lr:
    """Find a learning rate for one optimizer: a short training while the rate rises."""

    optimizer: Annotated[Positional[str], arg(metavar="OPTIMIZER")]
    """A name such as adam, or a call such as "sgd(momentum=0.9)"; `funcopt list` has them all."""
    task: str = "digits"
    """digits, linear_regression, deep_tanh, logistic_digits, rnn_adding, rnn_temporal_order,
    characters, cliff or spike."""
    lr_min: float = 1e-7
    """The rate of the first step."""
    lr_max: float = 10.0
    """The rate of the last step."""
    steps: int = 100
    """How many steps it takes from the one to the other."""
    convention: str = "minimum/10"
    """Which suggestion is the answer: valley, steepest, minimum/10 or slide."""
    seeds: int = 8
    """How many seeds; the answer is the median over them."""
    seed: int = 0
    """The first seed; the others count on from it."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write into, exactly this one; None is a new one in funcopt-out."""
    quiet: bool = False
    """Print the answer and where the picture is, nothing else."""
    json: bool = False
    """Print the answer as JSON."""


@dataclass(frozen=True)
class Health:
    """Train where training breaks, untreated and treated: what rescues it, on how many seeds."""

    task: str = "deep_tanh"
    """deep_tanh, rnn_adding, rnn_temporal_order, cliff or spike."""
    opt: Annotated[str | None, arg(metavar="OPTIMIZER")] = None
    """A name or a call such as "sgd(momentum=0.9)"; None is what fails there, sgd or adam."""
    lrs: Annotated[str | None, arg(metavar="STR")] = None
    """Its learning rates, as in compare; None is the task's own four."""
    seeds: int = 12
    """How many seeds; success is counted over them."""
    seed: int = 0
    """The first seed; the others count on from it."""
    steps: Annotated[int | None, arg(metavar="INT")] = None
    """Updates of each run; None is the task's own number, or a tenth of it with --quick."""
    quick: bool = False
    """A tenth of the steps, half as many learning rates, no other depths."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write into, exactly this one; None is a new one in funcopt-out."""
    quiet: bool = False
    """Print the answer and where the picture is, nothing else."""
    json: bool = False
    """Print every number but the curves as JSON on stdout, everything else on stderr."""


@dataclass(frozen=True)
class Schedule:
    """Draw learning-rate schedules over a run, several in one picture, with a table."""

    schedules: Annotated[Positional[tuple[str, ...]], arg(metavar="SCHEDULE ...")]
    """Names such as cosine_decay_schedule or wsd, or calls such as "knee(explore_steps=500)";
    what is left out is chosen to fit the run. `funcopt list` has them all."""
    steps: int = 10_000
    """Updates of the run."""
    peak: float = 1.0
    """The highest rate, where a call does not say it."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """The folder to write into, exactly this one; None is a new one in funcopt-out."""
    quiet: bool = False
    """Print where the picture is, nothing else."""
    json: bool = False
    """Print the rates at 0, 25, 50, 75 and 100 % as JSON."""


@dataclass(frozen=True)
class List:
    """List every public name in groups: one line, and of optimizers memory and paper."""

    tag: Annotated[str, arg(metavar="TAG")] = ""
    """Only a group, such as clip, or what looks at an element, an array, a matrix or the tree."""
    needs: Annotated[str, arg(metavar="WHAT")] = ""
    """Only what needs params or value, arguments of `update`."""
    search: Annotated[str, arg(metavar="TEXT")] = ""
    """Only what has this text in its name, its line or its paper."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Describe:
    """Describe what an optimizer does with each parameter of a task: rule, decay, memory, why."""

    optimizer: Annotated[Positional[str], arg(metavar="OPTIMIZER")]
    """A name such as muon, or a call such as "adamw(mask='kernel')"; `funcopt list` has all."""
    task: str = "characters"
    """characters, digits, linear_regression, deep_tanh, logistic_digits, rnn_adding,
    rnn_temporal_order, cliff or spike."""
    lr: float = 1e-3
    """The learning rate."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Show:
    """Show one name: signature, mathematics, defaults, memory, citation."""

    name: Annotated[Positional[str], arg(metavar="NAME")]
    """A name in any case, or a call such as "sgd(momentum=0.9)"; `funcopt list` has all names."""
    json: bool = False
    """Print JSON."""


COMMANDS = {
    "demo": Demo,
    "compare": Compare,
    "lr": Lr,
    "health": Health,
    "schedule": Schedule,
    "list": List,
    "show": Show,
    "describe": Describe,
}


def parse(argv: list[str]) -> Any:
    """The command in `argv` as a record; prints help or an error and exits where there is none."""
    if argv and argv[0] in COMMANDS:  # so that a misspelt option is not looked for elsewhere
        name, *rest = argv
        chosen, prog = COMMANDS[name], f"funcopt {name}"
        return tyro.cli(chosen, args=rest, prog=prog, config=(FlagCreatePairsOff,))
    commands = (
        Annotated[Demo, subcommand("demo")]
        | Annotated[Compare, subcommand("compare")]
        | Annotated[Lr, subcommand("lr")]
        | Annotated[Health, subcommand("health")]
        | Annotated[Schedule, subcommand("schedule")]
        | Annotated[List, subcommand("list")]
        | Annotated[Show, subcommand("show")]
        | Annotated[Describe, subcommand("describe")]
    )
    return tyro.cli(
        commands,
        args=argv,
        prog="funcopt",
        description="Optimizers for JAX, and experiments that say which one and how fast.",
        config=(FlagCreatePairsOff,),
    )
