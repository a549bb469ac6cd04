"""What an experiment reports while it runs."""

from collections.abc import Callable
from dataclasses import dataclass

from .train import Sweep


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
    target: float | None = None

    @property
    def fraction(self) -> float:
        """The share of the whole comparison that is done."""
        here = 1.0 if self.sweep is not None else (self.step or 0) / self.steps
        return (self.index + here) / self.total


Watcher = Callable[[Event], None]


@dataclass(frozen=True)
class Stage:
    """What a rescue reports: it is `doing` something, this `share` of all is done; `done` is a
    line on what has just been finished.
    """

    share: float
    doing: str
    done: str = ""
