"""What goes wrong in training, and what is done about it: the cases of `funcopt health`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import funcopt

from ..names import look_up
from ..problems.recurrent import rnn_adding, rnn_temporal_order
from ..problems.task import Task
from ..problems.tasks import stacked_tanh
from ..problems.traps import cliff, spike
from ..training import candidates

Make = Callable[[Any], Any]
AGC = 0.1


@dataclass(frozen=True)
class Treatment:
    """One way to train: `make(rate)` gives the transformation, `task` what is trained.

    `rates` are those that it may choose from.
    """

    name: str
    make: Make
    task: Task
    rates: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """Of each run, whether it succeeded, and the step at which something happened, or infinity."""

    solved: np.ndarray
    step: np.ndarray


@dataclass(frozen=True)
class Case:
    """A task on which plain training fails, with all that its treatments have in common.

    - `make(depth=...)` gives the task, `optimizer` is what trains it if nothing else is asked for;
    - `rates` and `adaptive_rates` are tried for sgd and for anything else;
    - `judge(losses, steps_of_window) -> Outcome` says which runs succeeded, and `criterion` and
      `step_name` how it does, in words;
    - `extra(make)` are treatments that only this task has, `initialisation(depth=...)` the task
      with better initial weights;
    - at each of `depths` the treatments of `BY_DEPTH` are tried again; where `has_path`, the
      parameters are two numbers, whose way is drawn.
    """

    make: Callable[..., Task]
    optimizer: str
    steps: int
    rates: tuple[float, ...]
    adaptive_rates: tuple[float, ...]
    criterion: str
    step_name: str
    judge: Callable[[np.ndarray, int], Outcome]
    max_norm: float = 1.0
    extra: Callable[[Make], dict[str, Make]] = lambda base: {}
    initialisation: Callable[..., Task] | None = None
    layer_axis: dict[str, int] | None = None
    depths: tuple[int, ...] = ()
    has_path: bool = False

    def where(self) -> str:
        """What the short names of treatments stand for."""
        text = f"clip is clip_by_global_norm({self.max_norm:g}), AGC adaptive_grad_clip({AGC:g})"
        if self.initialisation is not None:
            text += ", initialisation weights of deviation 1/√inputs instead of 0.1"
        return text


def levels(losses: np.ndarray, window: int) -> np.ndarray:
    """The mean loss of the last `window` steps at each step, infinite from a loss that is not
    finite on.

    >>> levels(np.array([[4.0, 2.0, np.nan, 1.0]]), 2)
    array([[ 4.,  3., inf, inf]])
    """
    finite = np.isfinite(losses)
    sums = np.cumsum(np.where(finite, losses, 0.0).astype(np.float64), axis=1)
    before = np.pad(sums, ((0, 0), (window, 0)))[:, :-window]
    count = np.minimum(np.arange(1, losses.shape[1] + 1), window)
    lost = np.maximum.accumulate(~finite, axis=1)
    return np.where(lost, np.inf, (sums - before) / count)


def reaches(target: float) -> Callable[[np.ndarray, int], Outcome]:
    """Solved where the mean loss of the last window is at most `target`; the step of the first."""

    def judge(losses: np.ndarray, window: int) -> Outcome:
        level = levels(losses, window)
        met = (level <= target) & (np.arange(level.shape[1]) >= window - 1)
        first = np.where(met.any(axis=1), met.argmax(axis=1) + 1.0, np.inf)
        return Outcome((level <= target)[:, -1], first)

    return judge


SPIKE = 1e3


def never_spikes(losses: np.ndarray, window: int) -> Outcome:
    """Solved where no loss is 1000 times where it had settled; the step of the first that is.

    It has settled at the smallest mean over a window so far. The first tenth of the run is not
    looked at. A loss that is not finite is a spike.
    """
    skip = losses.shape[1] // 10
    settled = np.minimum.accumulate(levels(losses, window), axis=1)
    above = ~(np.where(np.isfinite(losses), losses, np.inf) <= SPIKE * settled)[:, skip:]
    first = np.where(above.any(axis=1), skip + above.argmax(axis=1) + 1.0, np.inf)
    return Outcome(np.asarray(above.sum(axis=1) == 0), first)


def adam_remedies(base: Make) -> dict[str, Make]:
    """What is said to keep Adam from spiking."""
    del base  # each of them replaces it
    return {
        "adam(b2=0.9)": lambda rate: funcopt.adam(rate, b2=0.9),
        "stable_adamw(b2=0.999)": lambda rate: funcopt.stable_adamw(
            rate, b2=0.999, weight_decay=0.0
        ),
        "amsgrad": funcopt.amsgrad,
        "adam(eps=0.01)": lambda rate: funcopt.adam(rate, eps=0.01),
    }


HALF = "the mean training loss of the last 5% of steps is at most {target:.3g}, {of}"
CASES = {
    "deep_tanh": Case(
        make=stacked_tanh,
        optimizer="sgd",
        steps=300,
        rates=(0.01, 0.03, 0.1, 0.3),
        adaptive_rates=(0.0003, 0.001, 0.003, 0.01),
        criterion=HALF.format(target=np.log(10) / 2, of="half of what guessing gives"),
        step_name="steps to 1.15",
        judge=reaches(np.log(10) / 2),
        initialisation=lambda depth=20: stacked_tanh(depth, scale=None),
        layer_axis={"hidden": 0},
        depths=(5, 10, 20, 30),
    ),
    "rnn_adding": Case(
        make=rnn_adding,
        optimizer="sgd",
        steps=1500,
        rates=(0.01, 0.03, 0.1, 0.3),
        adaptive_rates=(0.0003, 0.001, 0.003, 0.01),
        criterion=HALF.format(target=1 / 12, of="half of what guessing gives"),
        step_name="steps to 0.083",
        judge=reaches(1 / 12),
    ),
    "rnn_temporal_order": Case(
        make=rnn_temporal_order,
        optimizer="sgd",
        steps=1500,
        rates=(0.01, 0.03, 0.1, 0.3),
        adaptive_rates=(0.0003, 0.001, 0.003, 0.01),
        criterion=HALF.format(target=np.log(4) / 2, of="half of what guessing gives"),
        step_name="steps to 0.69",
        judge=reaches(np.log(4) / 2),
    ),
    "cliff": Case(
        make=cliff,
        optimizer="sgd",
        steps=300,
        rates=(0.1, 0.3, 1.0, 3.0),
        adaptive_rates=(0.01, 0.03, 0.1, 0.3),
        criterion=HALF.format(target=0.01, of="where the plateau has 0.09"),
        step_name="steps to 0.01",
        judge=reaches(0.01),
        max_norm=0.1,
        has_path=True,
    ),
    "spike": Case(
        make=spike,
        optimizer="adam",
        steps=10_000,
        rates=(0.1,),
        adaptive_rates=(0.1,),
        criterion="after a tenth of the steps, no loss is 1000 times where it had settled",
        step_name="first spike",
        judge=never_spikes,
        extra=adam_remedies,
    ),
}
NONE, CLIP, INITIALISATION = "no treatment", "clip", "initialisation"
BY_DEPTH = (NONE, "clip + adam", INITIALISATION)


def treatments(
    case: Case, optimizer: str, rates: np.ndarray | None = None, **shape: int
) -> list[Treatment]:
    """All treatments of a case, the untreated one first; `shape` is its `depth`, if it has one.

    Raises `UnknownName` or `ValueError` for an optimizer that cannot be read.
    """
    base = candidates.parse(optimizer).make
    plain = candidates.split_call(optimizer)[0] == "sgd"
    own = np.asarray(case.rates if plain else case.adaptive_rates) if rates is None else rates
    task = case.make(**shape)
    clip = funcopt.clip_by_global_norm(case.max_norm)
    agc = funcopt.adaptive_grad_clip(AGC, layer_axis=case.layer_axis)
    makes: dict[str, Make] = {
        NONE: base,
        CLIP: lambda rate: funcopt.chain(clip, base(rate)),
        "AGC": lambda rate: funcopt.chain(agc, base(rate)),
        "guard": lambda rate: funcopt.guard(base(rate)),
        **case.extra(base),
    }
    found = [Treatment(name, make, task, own) for name, make in makes.items()]
    if plain:
        fitting = np.asarray(case.adaptive_rates)
        found[3:3] = [
            Treatment("adam", funcopt.adam, task, fitting),
            Treatment(
                "clip + adam", lambda rate: funcopt.chain(clip, funcopt.adam(rate)), task, fitting
            ),
        ]
    if case.initialisation is not None:
        found.append(Treatment(INITIALISATION, base, case.initialisation(**shape), own))
    return found


def get_case(name: str) -> Case:
    """The case called `name`; raises `UnknownName` where there is none.

    >>> get_case("spike").optimizer
    'adam'
    """
    if not isinstance(name, str):
        raise TypeError(
            f"rescue: task {name!r} given, expected the name of one of its cases, which have their "
            f"own criteria and treatments: {', '.join(CASES)}. For a task of your own there are "
            "funcopt.diagnose_init, funcopt.monitor and funcopt.lab.compare."
        )
    return look_up("task", name, CASES)
