"""Watch an experiment on the terminal: a live bar, or plain lines where there is none."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..comparison.table import rate
from ..comparison.verdict import judge
from ..drawing.words import digits
from ..training.progress import Event, Stage, Watcher

ROOM = 60  # columns from where on a bar has room for its times


@contextlib.contextmanager
def watching(console: Console, *, quiet: bool = False) -> Iterator[Watcher]:
    """The watcher that fits the console: silent, a live bar, or about a line every 10 %."""
    if quiet:
        yield lambda event: None
    elif console.is_terminal:
        with bar(console) as watcher:
            yield watcher
    else:
        yield Lines(console)


def finished(event: Event) -> str:
    """One line on an optimizer that is done."""
    assert event.sweep is not None
    verdict = judge(event.sweep, event.target)
    place = f"[{event.index + 1}/{event.total}] {event.label}"
    times = f"compiled in {verdict.compile_seconds:.1f} s, ran in {verdict.run_seconds:.1f} s"
    if verdict.best_rate is None:
        return f"{place}: every rate diverged ({times})"
    answer = f"best rate {rate(verdict)}, loss {digits(verdict.loss.median, 3)}"
    if verdict.accuracy.median == verdict.accuracy.median:
        answer += f", accuracy {verdict.accuracy.median:.1%}"
    return f"{place}: {answer} ({times})"


class Lines:
    """A line for each optimizer, and more of them where one optimizer is much of the work."""

    def __init__(self, console: Console):
        self.console = console
        self.printed = 0

    def __call__(self, event: Event) -> None:
        if event.sweep is not None:
            self.printed = 0
            self.say(finished(event))
            return
        lines = max(1, round(10 / event.total))
        due = (event.step or 0) * lines // event.steps
        if self.printed < due < lines:
            self.printed = due
            self.say(f"{event.fraction:4.0%} {event.label}: step {event.step} of {event.steps}")

    def say(self, line: str) -> None:
        say(self.console, line)


def say(console: Console, line: str, *, whole: bool = False) -> None:
    """Print a line as it is, on a terminal broken between words unless it is to be copied."""
    soft = whole or not console.is_terminal
    console.print(line, markup=False, highlight=False, soft_wrap=soft)


@dataclass(frozen=True)
class Short:
    """What leaves room for the ^C that a terminal echoes, which would begin another line."""

    part: Any

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator:
        yield from console.render(self.part, options.update_width(options.max_width - len("^C")))


class Bar(Progress):
    """A bar that is gone after an interrupt as well."""

    def get_renderables(self) -> Iterator[Short]:
        yield from map(Short, super().get_renderables())


def live(console: Console, *more: Any) -> Progress:
    """A bar that goes away when it is done."""
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        *more,
        *([] if console.width < ROOM else [TimeElapsedColumn()]),
        console=console,
        transient=True,
        expand=True,
    )


def with_share(console: Console) -> Progress:
    """A bar that knows how much is done."""
    share = TextColumn("{task.percentage:3.0f}%")
    left = () if console.width < ROOM else (TimeRemainingColumn(), TextColumn("left"))
    return live(console, share, *left)


@contextlib.contextmanager
def waiting(console: Console, what: str, *, quiet: bool = False) -> Iterator[None]:
    """A bar that only moves, for what is one program; nothing where there is no terminal."""
    if quiet or not console.is_terminal:
        yield
        return
    with live(console) as progress:
        progress.add_task(what, total=None)
        yield


@contextlib.contextmanager
def telling(console: Console, *, quiet: bool = False) -> Iterator[Callable[[Stage], None]]:
    """What takes the stages of a rescue: nothing, a line for each that is done, and a bar."""

    def finish(stage: Stage) -> None:
        if stage.done and not quiet:
            say(console, stage.done)

    if quiet or not console.is_terminal:
        yield finish
        return
    with with_share(console) as progress:
        task = progress.add_task("starting", total=1.0)

        def show(stage: Stage) -> None:
            progress.update(task, completed=stage.share, description=stage.doing)
            finish(stage)

        yield show


@contextlib.contextmanager
def bar(console: Console) -> Iterator[Watcher]:
    """One live bar for the whole comparison, finished optimizers scroll by above it."""
    with with_share(console) as progress:
        task = progress.add_task("starting", total=1.0)

        def watcher(event: Event) -> None:
            doing = "compiling" if event.step is None else f"step {event.step}/{event.steps}"
            where = f"[{event.index + 1}/{event.total}] {event.label}: {doing}"
            progress.update(task, completed=event.fraction, description=where)
            if event.sweep is not None:
                say(progress.console, finished(event))

        yield watcher


def machine() -> str:
    """What the comparison runs on, in words."""
    import jax

    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} CPU cores" if device.platform == "cpu" else device.device_kind
