"""The commands and their arguments. What a name means is checked later, with jax."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand


@dataclass(frozen=True)
class Demo:
    """Train eight well-known optimizers on handwritten digits and write a report."""

    out: Path = Path("funcopt-out")
    """Folder for the report, the pictures and the results."""
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
    """digits, linear_regression, deep_tanh or logistic_digits."""
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
    out: Path = Path("funcopt-out")
    """Folder for the report, the pictures and the results."""
    quiet: bool = False
    """Print the answer and where the report is, nothing else."""
    json: bool = False
    """Print the ranking as JSON on stdout, everything else on stderr."""


@dataclass(frozen=True)
class List:
    """List every optimizer and schedule: one line, memory, paper."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Show:
    """Show one optimizer: signature, mathematics, defaults, memory, citation."""

    name: Positional[str]
    """The optimizer or schedule; `funcopt list` has them all."""
    json: bool = False
    """Print JSON."""


COMMANDS = {"demo": Demo, "compare": Compare, "list": List, "show": Show}


def parse(argv: list[str]) -> Any:
    """The command in `argv` as a record; prints help or an error and exits where there is none."""
    commands = (
        Annotated[Demo, subcommand("demo")]
        | Annotated[Compare, subcommand("compare")]
        | Annotated[List, subcommand("list")]
        | Annotated[Show, subcommand("show")]
    )
    return tyro.cli(
        commands,
        args=argv,
        prog="funcopt",
        description="Optimizers for JAX, and experiments that say which one and how fast.",
        config=(FlagCreatePairsOff,),
    )
