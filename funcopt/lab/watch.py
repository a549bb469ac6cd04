"""Watch a comparison on the terminal: a live bar, or plain lines where there is none."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .comparison import digits
from .sweep import Sweep
from .tables import rate
from .verdict import judge


@dataclass(frozen=True)
class Event:
    """What a comparison reports: optimizer `index` of `total` is at `step` of `steps`.

    The first event of an optimizer comes before it is compiled and has `step` None; the last has
    the finished `sweep`.
    """

    label: str
    index: int
    total: int
    step: int | None
    steps: int
    sweep: Sweep | None = None
    target: float = 0.0

    @property
    def fraction(self) -> float:
        """The share of the whole comparison that is done."""
        here = 1.0 if self.sweep is not None else (self.step or 0) / self.steps
        return (self.index + here) / self.total


Watcher = Callable[[Event], None]


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
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def bar(console: Console) -> Iterator[Watcher]:
    """One live bar for the whole comparison, finished optimizers scroll by above it."""
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        expand=True,
    )
    with progress:
        task = progress.add_task("starting", total=1.0)

        def watcher(event: Event) -> None:
            doing = "compiling" if event.step is None else f"step {event.step}/{event.steps}"
            where = f"[{event.index + 1}/{event.total}] {event.label}: {doing}"
            progress.update(task, completed=event.fraction, description=where)
            if event.sweep is not None:
                progress.console.print(finished(event), markup=False, highlight=False)

        yield watcher


def machine() -> str:
    """What the comparison runs on, in words."""
    import jax

    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} CPU cores" if device.platform == "cpu" else device.device_kind
