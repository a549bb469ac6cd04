"""What the command line does with its parsed arguments: print, write files, return a status."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from .catalogue import catalogue
from .compare import demo_plan, execute, plan
from .comparison import Comparison, Plan, finite, plural
from .find_lr import find_lr
from .rescue import prepared
from .rescued import Rescue
from .schedule_curves import schedule_curves
from .show import show
from .tasks import get_task
from .watch import machine, watching

DONE, USAGE, INTERRUPTED = 0, 2, 130


class Output(Protocol):
    """Where the result of an experiment goes."""

    @property
    def out(self) -> Path: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def json(self) -> bool: ...


def run_demo(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    return experiment(
        options, lambda: demo_plan(seeds=seeds(), steps=options.steps, quick=options.quick)
    )


def run_compare(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    return experiment(
        options,
        lambda: plan(
            options.optimizers,
            task=options.task,
            lrs=options.lrs,
            seeds=seeds(),
            steps=options.steps,
            schedule=options.schedule,
        ),
    )


def run_health(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    screen = console(stderr=options.json)

    def report(line: str) -> None:
        if not options.quiet:
            screen.print(line, markup=False, highlight=False, soft_wrap=True)

    try:
        start = prepared(
            options.task,
            options.opt,
            seeds=seeds(),
            steps=options.steps,
            lrs=options.lrs,
            quick=options.quick,
        )
    except (ValueError, TypeError) as error:
        return refuse(str(error))
    try:
        probe(options.out)
    except OSError as error:
        return refuse(f"--out: cannot write to {options.out}: {error.strerror or error}.")
    report(f"{start.description()} on {machine()}")
    found = start(report)
    files = found.save(options.out) if found.runs else []
    tell_rescue(found, files, screen, options)
    return INTERRUPTED if found.interrupted else DONE


def tell_rescue(found: Rescue, files: list[Path], screen: Console, options: Output) -> None:
    """Print the answer, the table and where the picture is, as the options ask for it."""
    if options.json:
        print_json(found.summary() | {"files": [str(file) for file in files]})
    if options.quiet:
        if not options.json:
            screen.print(found.headline(), markup=False, highlight=False, soft_wrap=True)
    else:
        screen.print()
        screen.print(found.table())
        screen.print()
    if files:
        picture, *others = files
        lines = [f"picture: {picture}"]
        if not options.quiet:
            lines.append(f"beside it: {', '.join(file.name for file in others)}")
        screen.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def run_list(options: Any) -> int:
    found = catalogue()
    if options.json:
        print_json([asdict(entry) for entry in found.entries])
    else:
        console().print(found.table())
    return DONE


def run_show(options: Any) -> int:
    try:
        found = show(options.name)
    except ValueError as error:
        return refuse(str(error))
    if options.json:
        print_json(asdict(found))
    else:
        console().print(found.table())
    return DONE


def run_lr(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)

    def find():
        task = get_task(options.task)
        return find_lr(
            task.loss,
            task.init,
            task.sample,
            options.optimizer,
            lr_min=options.lr_min,
            lr_max=options.lr_max,
            steps=options.steps,
            seeds=seeds(),
            convention=options.convention,
        )

    def facts(found):
        return finite({
            "optimizer": options.optimizer,
            "task": options.task,
            "suggestion": found.suggestion,
            "constant": found.constant,
            "reason": found.reason,
            "suggestions": found.by_convention,
            "disagreement_decades": found.disagreement,
        })  # fmt: skip

    return picture(options, "lr", find, facts)


def run_schedule(options: Any) -> int:
    def draw():
        return schedule_curves(options.schedules, steps=options.steps, peak=options.peak)

    def facts(found):
        shares = (0.0, 0.25, 0.5, 0.75, 1.0)
        rates = np.stack([found.at(share) for share in shares], axis=1).tolist()
        return {
            "steps": found.steps,
            "shares": shares,
            "rates": dict(zip(found.labels, rates, strict=True)),
        }

    return picture(options, "schedule", draw, facts)


def picture(
    options: Output, name: str, make: Callable[[], Any], facts: Callable[[Any], dict[str, Any]]
) -> int:
    """Make a record, print it, and write its picture and its numbers."""
    try:
        found = make()
    except (ValueError, TypeError) as error:
        return refuse(str(error))
    try:
        probe(options.out)
    except OSError as error:
        return refuse(f"--out: cannot write to {options.out}: {error.strerror or error}.")
    from . import plots

    files = [options.out / f"{name}.png", found.to_csv(options.out / f"{name}.csv")]
    plots.write(found.plot().figure, files[0])
    if options.json:
        print_json(facts(found) | {"files": [str(file) for file in files]})
        return DONE
    screen = console()
    if not options.quiet:
        screen.print(found.table())
        screen.print()
    elif hasattr(found, "headline"):
        screen.print(found.headline(), markup=False, highlight=False, soft_wrap=True)
    screen.print(f"picture: {files[0]}", markup=False, highlight=False, soft_wrap=True)
    return DONE


def experiment(options: Output, make_plan: Callable[[], Plan]) -> int:
    """Check, train, print the ranking, write the files."""
    try:
        chosen = make_plan()
    except (ValueError, TypeError) as error:
        return refuse(str(error))
    try:
        probe(options.out)
    except OSError as error:
        return refuse(f"--out: cannot write to {options.out}: {error.strerror or error}.")
    screen = console(stderr=options.json)
    if not options.quiet:
        screen.print(f"{chosen.description()} on {machine()}", markup=False, highlight=False)
    with watching(screen, quiet=options.quiet) as watcher:
        found = execute(chosen, progress=watcher)
    files = found.save(options.out) if found.sweeps else []
    tell(found, files, screen, options)
    return INTERRUPTED if found.interrupted else DONE


def tell(found: Comparison, files: list[Path], screen: Console, options: Output) -> None:
    """Print the outcome as the options ask for it."""
    if options.json:
        print_json(finite(found.summary()) | {"files": [str(file) for file in files]})
    if found.interrupted:
        done = sum(not found.partial(sweep) for sweep in found.sweeps)
        of = plural(len(found.plan.labels), "optimizer")
        screen.print(f"Interrupted: {done} of {of} finished.", style="bold yellow")
    if options.quiet:
        if not options.json:
            screen.print(found.headline(), markup=False, highlight=False, soft_wrap=True)
    elif found.sweeps:
        screen.print()
        screen.print(found.table(screen.width))
        screen.print()
    if files:
        report, *others = files
        lines = [f"report: {report}"]
        if not options.quiet:
            lines.append(f"beside it: {', '.join(file.name for file in others)}")
        screen.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def counted(first: int, count: int) -> Callable[[], range]:
    """The seeds `first`, `first + 1`, ...; checked when called."""

    def seeds() -> range:
        if first < 0 or count < 1:
            raise ValueError(
                f"--seed {first} --seeds {count}: expected a first seed of at least 0 and at "
                "least one seed."
            )
        return range(first, first + count)

    return seeds


def probe(folder: Path) -> None:
    """Make the folder and write to it, so that a long run does not end in an error."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def console(*, stderr: bool = False) -> Console:
    """A console that prints on any encoding, and wide where nothing says how wide it is."""
    stream = sys.stderr if stderr else sys.stdout
    with contextlib.suppress(AttributeError):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    wide = None if stream.isatty() or "COLUMNS" in os.environ else 130
    return Console(file=stream, width=wide)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def refuse(why: str) -> int:
    print(f"funcopt: {why}", file=sys.stderr)
    return USAGE
