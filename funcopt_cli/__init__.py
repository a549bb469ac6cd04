"""The command `funcopt`: reads its arguments, and imports jax only once they are understood."""

import difflib
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from . import interrupts

USAGE = 2
UNREAD = 141  # as of a program that SIGPIPE ends


def main() -> NoReturn:
    """Run the command line and exit with its status."""
    interrupts.end_at_once()
    # Matrices of the lab are small: LAPACK's threads wait for each other longer than they work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        command = understood(sys.argv[1:])
        interrupts.raise_always()
        status = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(interrupts.MESSAGE, file=sys.stderr)
        status = interrupts.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has. Nobody is left for what Python would still
        # flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = UNREAD
    if status == interrupts.INTERRUPTED:
        interrupts.leave(status)
    sys.exit(status)


def run(argv: list[str]) -> int:
    """Run one command and return its status: 0, 2 for bad input, 130 when interrupted."""
    return understood(argv)()


def understood(argv: list[str]) -> Callable[[], int]:
    """What to call for `argv`, with everything imported that it takes."""
    try:
        from . import arguments
    except ModuleNotFoundError as error:
        if error.name != "tyro":
            raise
        return partial(refuse, 'this needs the extra "lab": pip install "funcopt[lab]"')
    if argv in (["--version"], ["-V"]):
        return show_version
    if argv and not argv[0].startswith("-") and argv[0] not in arguments.COMMANDS:
        near = difflib.get_close_matches(argv[0], arguments.COMMANDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(arguments.COMMANDS)
        return partial(refuse, f"unknown command {argv[0]!r}.{hint} Available: {known}.")
    options = arguments.parse(argv)

    from funcopt.lab.terminal import commands

    runners = {
        arguments.Demo: commands.run_demo,
        arguments.Compare: commands.run_compare,
        arguments.Lr: commands.run_lr,
        arguments.Health: commands.run_health,
        arguments.Schedule: commands.run_schedule,
        arguments.List: commands.run_list,
        arguments.Show: commands.run_show,
        arguments.Describe: commands.run_describe,
    }
    return partial(runners[type(options)], options)


def show_version() -> int:
    print(f"funcopt {installed()}")
    return 0


def installed() -> str:
    try:
        return version("funcopt")
    except PackageNotFoundError:
        return "(not installed)"


def refuse(why: str) -> int:
    print(f"funcopt: {why}", file=sys.stderr)
    return USAGE
