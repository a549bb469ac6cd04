"""What the command line does with its parsed arguments: print, write files, return a status."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from rich.console import Console

from ...monitoring.describe import describe
from ..comparison.compare import demo_plan, execute, plan
from ..comparison.comparison import Comparison, ComparisonPlan
from ..drawing.words import finite, plural
from ..overview.catalogue import catalogue
from ..overview.show import show
from ..problems.tasks import get_task
from ..range_test.find_lr import find_lr
from ..rescues.rescue import prepared
from ..rescues.rescued import Rescue
from ..schedules.schedule_curves import schedule_curves
from ..training.candidates import parse
from .folder import HOME, Folder, folder
from .watch import machine, say, telling, waiting, watching

DONE, USAGE, INTERRUPTED = 0, 2, 130


class Output(Protocol):
    """Where the result of an experiment goes."""

    @property
    def out(self) -> Path | None: ...
    @property
    def quiet(self) -> bool: ...
    @property
    def json(self) -> bool: ...


def run_demo(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    return experiment(
        options,
        "demo",
        lambda: demo_plan(seeds=seeds(), steps=options.steps, quick=options.quick),
    )


def run_compare(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    return experiment(
        options,
        f"compare-{options.task}",
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

    def train(place: Folder) -> int:
        begin(screen, options, start.description())
        with telling(screen, quiet=options.quiet) as report:
            found = start(report)
        files = found.save(place.path) if found.runs else []
        tell_rescue(found, files, place, screen, options)
        return INTERRUPTED if found.interrupted else DONE

    return written(options, f"health-{options.task}", train)


def tell_rescue(
    found: Rescue, files: list[Path], place: Folder, screen: Console, options: Output
) -> None:
    """Print the answer, the table and where the picture is, as the options ask for it."""
    if options.json:
        print_json(found.summary() | {"files": [str(file) for file in files]})
    if options.quiet:
        if not options.json:
            say(screen, found.headline())
    else:
        screen.print()
        screen.print(found.table())
        screen.print()
    if files:
        where(screen, "picture", files, place, quiet=options.quiet)


def run_list(options: Any) -> int:
    try:
        found = catalogue().matching(tag=options.tag, needs=options.needs, search=options.search)
    except ValueError as error:
        return refuse(str(error))
    if options.json:
        print_json([asdict(entry) for entry in found.entries])
    elif found.entries:
        console().print(found.table())
    else:
        console().print(
            f"Nothing has all of it. `funcopt list` shows {len(catalogue().entries)} names."
        )
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


def run_describe(options: Any) -> int:
    try:
        tx = parse(options.optimizer).make(options.lr)
        params = jax.eval_shape(get_task(options.task).init, jax.random.key(0))
        found = describe(tx, params)
    except (ValueError, TypeError) as error:
        return refuse(str(error))
    if options.json:
        print_json(found.to_dict())
    else:
        console().print(found.table())
    return DONE


def run_lr(options: Any) -> int:
    seeds = counted(options.seed, options.seeds)
    what = f"{options.optimizer} on {options.task}"

    def find():
        task, runs = get_task(options.task), seeds()
        screen = console(stderr=options.json)
        many = f"{plural(options.steps, 'step')} x {plural(len(runs), 'seed')}"
        with waiting(screen, f"{what}: {many}", quiet=options.quiet):
            found = find_lr(
                task.loss,
                task.init,
                task.sample,
                options.optimizer,
                lr_min=options.lr_min,
                lr_max=options.lr_max,
                steps=options.steps,
                seeds=runs,
                convention=options.convention,
            )
        return replace(found, what=what)

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

    return picture(options, "lr", find, facts, name=f"lr-{options.task}")


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
    options: Output,
    stem: str,
    make: Callable[[], Any],
    facts: Callable[[Any], dict[str, Any]],
    name: str = "",
) -> int:
    """Make a record, print it, and write its picture and its numbers as `stem` into a folder."""
    try:
        found = make()
    except (ValueError, TypeError) as error:
        return refuse(str(error))

    def draw(place: Folder) -> int:
        from ..drawing.figures import write

        files = [place.path / f"{stem}.png", found.to_csv(place.path / f"{stem}.csv")]
        write(found.plot().figure, files[0])
        if options.json:
            print_json(facts(found) | {"files": [str(file) for file in files]})
            return DONE
        screen = console()
        if options.quiet:
            say(screen, found.headline())
        else:
            screen.print(found.table())
            screen.print()
        where(screen, "picture", files, place, quiet=options.quiet)
        return DONE

    return written(options, name or stem, draw)


def experiment(options: Output, name: str, make_plan: Callable[[], ComparisonPlan]) -> int:
    """Check, train, print the ranking, write the files."""
    try:
        chosen = make_plan()
    except (ValueError, TypeError) as error:
        return refuse(str(error))
    screen = console(stderr=options.json)

    def train(place: Folder) -> int:
        begin(screen, options, chosen.description())
        with watching(screen, quiet=options.quiet) as watcher:
            found = execute(chosen, progress=watcher)
        files = found.save(place.path) if found.sweeps else []
        tell(found, files, place, screen, options)
        return INTERRUPTED if found.interrupted else DONE

    return written(options, name, train)


def written(options: Output, name: str, work: Callable[[Folder], int]) -> int:
    """Do `work` with a folder that can be written."""
    with contextlib.ExitStack() as stack:
        try:
            place = stack.enter_context(folder(options.out, name))
        except OSError as error:
            out = options.out or HOME
            return refuse(f"--out: cannot write to {out}: {error.strerror or error}.")
        return work(place)


def begin(screen: Console, options: Output, description: str) -> None:
    """Say what is done, before it is."""
    if not options.quiet:
        say(screen, f"{description} on {machine()}")


def tell(
    found: Comparison, files: list[Path], place: Folder, screen: Console, options: Output
) -> None:
    """Print the outcome as the options ask for it."""
    if options.json:
        print_json(finite(found.summary()) | {"files": [str(file) for file in files]})
    if found.interrupted:
        done = sum(not found.partial(sweep) for sweep in found.sweeps)
        of = plural(len(found.plan.labels), "optimizer")
        screen.print(f"Interrupted: {done} of {of} finished.", style="bold yellow")
    if options.quiet:
        if not options.json:
            say(screen, found.headline())
    elif found.sweeps:
        screen.print()
        screen.print(found.table())
        screen.print()
    if files:
        where(screen, "report", files, place, quiet=options.quiet)


def where(screen: Console, kind: str, files: list[Path], place: Folder, *, quiet: bool) -> None:
    """Say where the files are, the first of them by its path."""
    first, *others = files
    say(screen, f"{kind}: {first}", whole=True)
    if not quiet:
        say(screen, f"beside it: {', '.join(file.name for file in others)}")
    if place.note:
        say(screen, f"This {place.note}.")


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


def console(*, stderr: bool = False) -> Console:
    """A console that prints on any encoding, and wide where nothing says how wide it is."""
    stream = sys.stderr if stderr else sys.stdout
    with contextlib.suppress(AttributeError):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    wide = None if stream.isatty() or "COLUMNS" in os.environ else 130
    return Persistent(file=stream, width=wide)


class Persistent(Console):
    """A console whose reader may leave, as `head` does: what is done goes on to its files."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Nobody is left for what Python would still flush at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def refuse(why: str) -> int:
    print(f"funcopt: {why}", file=sys.stderr)
    return USAGE
