"""What a sweep says about its optimizer, as numbers: best rate, spread, forgiveness, speed."""

import math
from dataclasses import dataclass

import numpy as np

from ..drawing.told import told
from ..training.train import Sweep


@dataclass(frozen=True)
class Spread:
    """A median over seeds with the smallest and the largest value."""

    median: float
    low: float
    high: float


@told
@dataclass(frozen=True)
class Verdict:
    """One row of a ranking; `best_rate` is None when every learning rate diverged.

    `decades` is how far the learning rate may be off, see `decades_within`. `steps_to_target` is
    None when the median run never got there. `on_edge` says that the best rate is the first or
    the last of the grid, so that a better one may lie outside.
    """

    label: str
    best_rate: float | None
    on_edge: bool
    loss: Spread
    accuracy: Spread
    decades: float
    steps_to_target: float | None
    diverged: int
    runs: int
    steps: int
    state_bytes: float
    compile_seconds: float
    run_seconds: float

    def headline(self) -> str:
        """Its row of the ranking in a few words."""
        if self.best_rate is None:
            return f"{self.label}: every run diverged"
        loss = self.loss
        spread = f"{loss.median:.3g} ({loss.low:.3g} to {loss.high:.3g})"
        return f"{self.label}: loss {spread} at {self.best_rate:.2g}"


def final_losses(sweep: Sweep) -> np.ndarray:
    """The final loss of each run as `[seed, rate]`, infinite where it diverged."""
    return np.where(sweep.diverged, np.inf, sweep.loss.astype(np.float64))


def valley(sweep: Sweep) -> np.ndarray:
    """The final loss at each learning rate: the median over seeds."""
    return middle(final_losses(sweep))


def middle(values: np.ndarray) -> np.ndarray:
    """The median over the first axis; half-way to infinity is infinity."""
    ordered = np.sort(values, axis=0)
    count = len(ordered)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def best_index(sweep: Sweep) -> int | None:
    """Where in `sweep.rates` the median loss is smallest; None when all of them are infinite."""
    losses = valley(sweep)
    return int(np.argmin(losses)) if np.isfinite(losses).any() else None


def decades_within(rates: np.ndarray, losses: np.ndarray, chance: float | None = None) -> float:
    """How many decades of learning rate have at most twice the best loss.

    They must also be a tenth better than guessing, whose loss is `chance` where it is known: an
    optimizer that does not train is not forgiving. Between two rates of the grid the logarithm of
    the loss is a straight line over the logarithm of the rate; next to a diverged rate nothing is
    counted, and nothing where the best loss is no positive number.

    >>> round(decades_within(np.array([0.01, 0.1, 1.0]), np.array([4.0, 1.0, 4.0])), 3)
    1.0
    """
    limit = min(2 * losses.min(), 0.9 * (math.inf if chance is None else chance))
    if not np.isfinite(limit) or losses.min() <= 0:
        return 0.0
    x, y = np.log10(rates), np.log(np.maximum(losses, np.finfo(np.float64).tiny))
    limit = np.log(limit)
    total = 0.0
    for left, right, width in zip(y[:-1], y[1:], np.diff(x), strict=True):
        low, high = min(left, right), max(left, right)
        if high <= limit:
            total += width
        elif low <= limit and np.isfinite(high):
            total += width * (limit - low) / (high - low)
    return float(total)


def cap(chance: float | None, losses: np.ndarray) -> float:
    """Above what losses are drawn as if they were there: guessing; unknown, the worst that ended.

    >>> cap(None, np.array([1.0, 3.0, np.inf])), cap(2.0, np.array([1.0, 3.0]))
    (3.0, 2.0)
    """
    if chance is not None:
        return chance
    finite = losses[np.isfinite(losses)]
    return float(finite.max()) if finite.size else 1.0


def steps_to(target: float | None, at: np.ndarray, curves: np.ndarray) -> float | None:
    """The step at which the median seed's training loss (`curves[seed, point]`) meets `target`.

    None where it never does, or where there is no target.

    >>> steps_to(0.5, np.array([10, 20, 30]), np.array([[0.9, 0.4, 0.1], [0.9, 0.8, 0.5]]))
    25.0
    """
    if target is None:
        return None
    met = curves <= target
    first = np.where(met.any(axis=1), at[np.argmax(met, axis=1)], np.inf)
    step = float(middle(first))
    return step if np.isfinite(step) else None


def spread(values: np.ndarray) -> Spread:
    return Spread(float(middle(values)), float(values.min()), float(values.max()))


def judge(sweep: Sweep, target: float | None = None, chance: float | None = None) -> Verdict:
    """The verdict on one sweep of a task with this `target` and this loss for guessing."""
    losses, best = final_losses(sweep), best_index(sweep)
    column = 0 if best is None else best
    curves = np.where(sweep.diverged[..., None], np.inf, sweep.curves)
    return Verdict(
        label=sweep.label,
        best_rate=None if best is None else float(sweep.rates[best]),
        on_edge=best is not None and len(sweep.rates) > 1 and best in (0, len(sweep.rates) - 1),
        loss=spread(losses[:, column]),
        accuracy=spread(np.where(sweep.diverged, np.nan, sweep.accuracy)[:, column]),
        decades=decades_within(sweep.rates, valley(sweep), chance),
        steps_to_target=steps_to(target, sweep.at, curves[:, column]),
        diverged=int(sweep.diverged.sum()),
        runs=sweep.diverged.size,
        steps=sweep.steps,
        state_bytes=sweep.state_bytes,
        compile_seconds=sweep.compile_seconds,
        run_seconds=sweep.run_seconds,
    )
