"""What a learning-rate range test says: smoothing, divergence, and four ways to read the curve.

    level_t  = median(loss_{t-2}, loss_{t-1}, loss_t)       one outlier is not news
    a_t      = s a_{t-1} + (1 - s) level_t,  w_t = s w_{t-1} + (1 - s),  smoothed_t = a_t / w_t
    diverged   where level_t is not finite, or above best + (k - 1) max(|best|, (first - best)/10)

with `first` and `best` the first and the smallest smoothed loss. For positive losses the limit is
`k best`; the tenth of what was gained keeps it away from a loss that passes through zero.

Cyclical learning rates, arXiv:1506.01186, section 3.3.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..drawing.told import told
from ..names import look_up


class LossMemory(NamedTuple):
    """What is remembered of the losses so far."""

    before: jax.Array  # the loss two steps ago, and the one after it
    last: jax.Array
    seen: jax.Array  # how many losses came
    average: jax.Array
    weight: jax.Array
    first: jax.Array
    best: jax.Array
    stopped: jax.Array


def nothing() -> LossMemory:
    """The memory before the first loss."""
    zero, far = jnp.zeros((), jnp.float32), jnp.asarray(jnp.inf, jnp.float32)
    return LossMemory(far, far, jnp.int32(0), zero, zero, zero, far, jnp.asarray(False))


def track(
    memory: LossMemory, loss: jax.Array, smooth: Any, stop_factor: Any
) -> tuple[LossMemory, jax.Array]:
    """Take in one loss: the new memory, and the smoothed loss (NaN where there is none)."""
    loss = jnp.where(jnp.isfinite(loss), loss, jnp.inf).astype(jnp.float32)
    level = jnp.sort(jnp.stack([memory.before, memory.last, loss]))[1]
    ready, started = memory.seen >= 2, memory.weight > 0
    gained = jnp.where(started, memory.first - memory.best, 0.0)
    best = jnp.where(started, memory.best, 0.0)
    margin = (stop_factor - 1) * jnp.maximum(jnp.abs(best), gained / 10)
    within = jnp.isfinite(level) & ((level <= best + margin) | ~started)
    stopped = memory.stopped | (ready & ~within)
    counts = ready & ~stopped
    average = jnp.where(counts, smooth * memory.average + (1 - smooth) * level, memory.average)
    weight = jnp.where(counts, smooth * memory.weight + (1 - smooth), memory.weight)
    smoothed = jnp.where(counts, average / jnp.where(weight > 0, weight, 1.0), jnp.nan)
    return LossMemory(
        before=memory.last,
        last=loss,
        seen=memory.seen + 1,
        average=average,
        weight=weight,
        first=jnp.where(counts & ~started, smoothed, memory.first),
        best=jnp.where(counts, jnp.minimum(memory.best, smoothed), memory.best),
        stopped=stopped,
    ), smoothed


@jax.jit
def follow(
    losses: jax.Array, left_out: jax.Array, smooth: Any, stop_factor: Any
) -> tuple[jax.Array, jax.Array]:
    """`track` over `losses[seed, step]`: the smoothed losses, and where the test has stopped.

    What is `left_out` is not heard of.
    """

    def one(memory, now):
        loss, left_out = now
        heard, smoothed = track(memory, loss, smooth, stop_factor)
        memory = jax.tree.map(lambda old, new: jnp.where(left_out, old, new), memory, heard)
        return memory, (jnp.where(left_out, jnp.nan, smoothed), memory.stopped)

    return jax.vmap(lambda *curve: jax.lax.scan(one, nothing(), curve)[1])(losses, left_out)


def valley(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """Half-way through the longest decreasing subsequence of the losses.

    With `first` and `last` its ends and `third = (last - first) / 3`, the rate at the index
    `first + floor(third) + floor(third / 2)`.

    >>> float(valley(np.geomspace(1e-6, 1, 7), np.array([5.0, 6, 4, 3, 2, 1, 9])))
    0.0001
    """
    length, start = np.ones(len(smoothed), int), np.arange(len(smoothed))
    for index in range(1, len(smoothed)):
        higher = np.flatnonzero(smoothed[:index] > smoothed[index])
        if higher.size:
            longest = higher[np.argmax(length[higher])]
            length[index], start[index] = length[longest] + 1, start[longest]
    last = int(np.argmax(length))
    first = int(start[last])
    third = (last - first) / 3
    return rates[first + int(third) + int(third / 2)]


def steepest(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """Where the loss falls fastest over the logarithm of the rate.

    >>> float(steepest(np.geomspace(1e-6, 1, 7), np.array([5.0, 5, 5, 3, 2, 1, 1])))
    0.0001
    """
    return rates[np.argmin(np.diff(smoothed) / np.diff(np.log(rates)))]


def minimum(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """A tenth of the rate at the smallest loss.

    >>> float(minimum(np.geomspace(1e-6, 1, 7), np.array([5.0, 5, 5, 3, 2, 1, 9])))
    0.01
    """
    return rates[np.argmin(smoothed)] / 10


def slide(rates: np.ndarray, smoothed: np.ndarray) -> float:
    """The left end of a window that slides down from the right until its two ends are alike.

    The window is 15 steps wide, less where the curve is short; its ends are alike when the slopes
    there differ by at most 0.005 of the height of the curve a step.

    >>> losses = np.r_[np.linspace(5, 4, 50), np.linspace(4, 40, 10)]
    >>> rates = np.geomspace(1e-6, 1, 60)
    >>> int(np.argmin(np.abs(rates - slide(rates, losses))))
    34
    """
    slopes = np.gradient(smoothed) / max(np.ptp(smoothed), np.finfo(np.float32).tiny)
    width = min(15, len(rates) // 3)
    left = len(rates) - 1 - width
    while left > 0 and abs(slopes[left + width] - slopes[left]) > 0.005:
        left -= 1
    return rates[left]


Convention = Literal["minimum/10", "valley", "steepest", "slide"]
CONVENTIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "valley": valley,
    "steepest": steepest,
    "minimum/10": minimum,
    "slide": slide,
}
# The one that holds for SGD with momentum, Adam and Lion on the tasks of the lab
# (tests/test_find_lr_tasks.py, benchmarks/find_lr.py). `valley` counts the steps before the fall
# as well, while the loss of a full batch decreases by very little, and is too small there by orders
# of magnitude.
DEFAULT: Convention = "minimum/10"
# How much smaller a rate has to be that stays constant: a cosine has half of its peak on average,
# and what noise leaves behind in the end grows with the last rates. Lion is what decides: on the
# digits its rate must not be larger, and with a full batch, where its steps have to cover the way
# to the optimum, hardly smaller.
CONSTANT = 2.7
FEWEST = 8  # points of a curve that can be read


@told
@dataclass(frozen=True, eq=False)
class RangeTest:
    """The loss of a short training while the rate rose, for each seed, and what follows from it.

    - `rates[step]`; `losses[seed, step]` as they came, NaN from where the test was stopped;
      `smoothed[seed, step]`, NaN before the third loss and from the divergence on;
    - `diverged_at[seed]`: the step at which the loss left for good, -1 where it did not;
    - `suggestions[name][seed]`: by each convention, NaN where a seed's curve cannot be read, and
      `reasons[seed]` says why, "" where it can;
    - `convention`: the one that `suggestion` follows; `what` was trained, for titles;
    - `bad_batches[seed, step]`: whether a batch had numbers that are not finite and was left out;
      `bad_steps[seed, step]`: whether, before the divergence, a loss or a step was not finite.

    `suggestion` is the peak of a schedule that decays to zero, `constant` a rate that stays.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged_at: np.ndarray
    suggestions: dict[str, np.ndarray]
    reasons: tuple[str, ...]
    convention: str = DEFAULT
    bad_batches: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    bad_steps: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    what: str = ""

    @property
    def suggestion(self) -> float | None:
        """The peak of a schedule that decays: the median over seeds; None without an answer."""
        return self.by_convention[self.convention] if self.by_convention else None

    @property
    def constant(self) -> float | None:
        """A rate that stays as it is: the suggestion divided by 2.7."""
        return None if self.suggestion is None else self.suggestion / CONSTANT

    @property
    def reason(self) -> str:
        """Why there is no suggestion; "" where there is one."""
        return "" if self.by_convention else next(filter(None, self.reasons))

    @cached_property
    def by_convention(self) -> dict[str, float]:
        """Each convention's median over seeds; empty where half of them cannot be read."""
        if 2 * sum(map(bool, self.reasons)) >= len(self.reasons):
            return {}
        return {
            name: float(np.exp(np.nanmedian(np.log(found))))
            for name, found in self.suggestions.items()
        }

    @property
    def disagreement(self) -> float:
        """Decades between the smallest and the largest of the four suggestions; NaN without."""
        found = self.by_convention.values()
        return math.log10(max(found) / min(found)) if found else math.nan

    @property
    def still_falling(self) -> bool:
        """Whether no seed diverged and the loss was smallest at the end: the range is too short."""
        if (self.diverged_at >= 0).any():
            return False
        median = np.median(self.smoothed[:, 2:], axis=0)
        return bool(np.nanargmin(median) == len(median) - 1) if np.isfinite(median).any() else False

    @property
    def warning(self) -> str:
        """What was not finite though the rate is not to blame; "" where nothing was."""
        parts = []
        if self.bad_batches.any() and not self.bad_batches.all():
            parts.append(
                f"{_share(self.bad_batches)} had a batch that is not finite, which was left out"
            )
        if self.bad_steps.any():
            parts.append(f"{_share(self.bad_steps)} had a loss or a gradient that is not finite")
        return f"{' and '.join(parts)}: look at the data" if parts else ""

    def headline(self) -> str:
        """The answer in one sentence."""
        warning = f"; {self.warning}" if self.warning else ""
        if self.suggestion is None:
            return f"No suggestion: {self.reason}{warning}."
        low, high = min(self.by_convention.values()), max(self.by_convention.values())
        what = f"{self.what}: " if self.what else ""
        return (
            f"{what}suggested learning rate {self.suggestion:.2g} for a schedule that decays, "
            f"{self.constant:.2g} for a constant rate; by {self.convention}, all four conventions "
            f"lie between {low:.2g} and {high:.2g}{warning}"
        )

    def table(self):
        """The suggestions as a `rich.table.Table`."""
        from .table import range_test

        return range_test(self)

    def plot(self, ax=None):
        """Raw and smoothed loss against the rate, with the suggestions; returns the axes."""
        from ..drawing.figures import on
        from .plot import range_test

        return on(ax, range_test, self)

    def to_csv(self, path: str | Path) -> Path:
        """Write one line for each seed's step."""
        path = Path(path)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["run", "step", "learning_rate", "loss", "smoothed", "diverged"])
            for run, curves in enumerate(zip(self.losses, self.smoothed, strict=True)):
                left = self.diverged_at[run] if self.diverged_at[run] >= 0 else len(self.rates)
                for step, (rate, loss, smoothed) in enumerate(
                    zip(self.rates, *curves, strict=True)
                ):
                    numbers = (f"{number:.8g}" for number in (rate, loss, smoothed))
                    writer.writerow([run, step, *numbers, "yes" if step >= left else "no"])
        return path


def read(
    rates: np.ndarray,
    losses: np.ndarray,
    *,
    smooth: float = 0.97,
    stop_factor: float = 4.0,
    convention: str = DEFAULT,
    bad_batches: np.ndarray | None = None,
    bad_steps: np.ndarray | None = None,
) -> RangeTest:
    """What `losses[seed, step]`, recorded while the rate rose as `rates[step]`, say.

    The first tenth of the steps is not read. A curve that diverged before there was anything to
    read, or that never fell by more than its noise, gives a reason instead of a rate. What was no
    number because of its batch, at `bad_batches`, is not the rate's fault; `bad_steps` are those
    that were not finite without a reason in the batch.

    >>> rates = np.geomspace(1e-6, 1, 100)
    >>> print(read(rates, np.full((1, 100), 2.3)).reason)
    the loss does not fall anywhere between the rates 1e-06 and 1
    """
    look_up("convention", convention, CONVENTIONS)
    rates = np.asarray(rates, np.float64)
    with np.errstate(over="ignore"):
        losses = np.asarray(losses, np.float32)
    none = np.zeros(losses.shape, bool)
    bad_batches, bad_steps = (none if x is None else x for x in (bad_batches, bad_steps))
    left_out = bad_batches & ~np.isfinite(losses)
    smoothed, stopped = map(np.asarray, follow(losses, left_out, smooth, stop_factor))
    # Two of three losses were out when the median was: the second of them at the latest.
    left = np.where(stopped.any(axis=1), np.argmax(stopped, axis=1) - 1, -1)
    smoothed = np.where(np.arange(len(rates)) >= np.where(left < 0, len(rates), left)[:, None],
                        np.nan, smoothed)  # fmt: skip
    reasons = tuple(
        "no batch is finite: look at the data" if out.all() else refusal(rates, *curve)
        for out, *curve in zip(left_out, losses, smoothed, left.tolist(), strict=True)
    )
    skip = first_read(len(rates))
    suggestions = {
        name: np.array([
            np.nan if why else rule(*readable(rates[skip:], curve[skip:]))
            for curve, why in zip(smoothed, reasons, strict=True)
        ])
        for name, rule in CONVENTIONS.items()
    }  # fmt: skip
    ended = np.arange(len(rates)) >= np.where(left < 0, len(rates), left)[:, None]
    return RangeTest(
        rates,
        losses,
        smoothed,
        left,
        suggestions,
        reasons,
        convention,
        bad_batches=bad_batches,
        bad_steps=bad_steps & ~ended,
    )


def _share(flags: np.ndarray) -> str:
    return f"{flags.sum()} of {flags.size} steps"


def first_read(steps: int) -> int:
    """The first step that is read: a tenth of them in, and at least two."""
    return max(2, steps // 10)


def readable(rates: np.ndarray, smoothed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(smoothed)
    return rates[known], smoothed[known].astype(np.float64)


def refusal(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, left: int) -> str:
    """Why no rate can be read from one curve; "" where one can."""
    skip = first_read(len(rates))
    if not np.isfinite(losses[:3]).any():
        return f"the loss is not finite at the smallest rate, {rates[0]:.2g}; check it at the start"
    _, known = readable(rates[skip:], smoothed[skip:])
    if len(known) < FEWEST:
        return (
            f"the loss has diverged already at step {left} of {len(rates)}, "
            f"at a rate of {rates[left]:.2g}; start with a smaller lr_min"
        )
    start, used = known[0], losses[skip : skip + len(known)]
    used = used[np.isfinite(used)].astype(np.float64)
    # A difference of neighbours has the noise of two; a median of them sees no outlier.
    noise = np.median(np.abs(np.diff(used))) / 0.6745 / np.sqrt(2) if len(used) > 1 else 0.0
    if start - known.min() <= max(0.01 * abs(start), 3 * noise / np.sqrt(skip)):
        end = skip + len(known) - 1
        text = f"the loss does not fall anywhere between the rates {rates[0]:.2g} and "
        text += f"{rates[end]:.2g}"
        return text + (", where it diverges" if left >= 0 else "")
    return ""
