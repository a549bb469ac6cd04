"""What is wrong, if anything: all verdicts on what was read, the gravest first."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .readings import Readings
from .thresholds import RELAXED, Thresholds
from .vanishing import vanishing
from .verdict import HealthVerdict, in_words, names_of


def verdicts(
    seen: Readings, limits: Thresholds, before: tuple[HealthVerdict, ...] | None = None
) -> tuple[HealthVerdict, ...]:
    """All that is to be said, the gravest first, where `before` was said last, if anything was."""
    found = _found(seen, limits)
    if before is not None:
        fields = {name: getattr(limits, name) * factor for name, factor in RELAXED.items()}
        told = {verdict.name: verdict for verdict in before}
        named = {verdict.name for verdict in found}
        found += [
            verdict
            for verdict in _found(seen, replace(limits, **fields))
            if verdict.name in told and verdict.name not in named
        ]
        found = [_since(verdict, told.get(verdict.name), seen.steps) for verdict in found]
    causes = {verdict.name for verdict in found}
    without = {name for cause, names in EXPLAINS.items() if cause in causes for name in names}
    found = [verdict for verdict in found if verdict.name not in without]
    return tuple(sorted(found, key=lambda verdict: verdict.severity != "alarm"))


# Outputs far from 0 make a softmax flat, and gradients that vanish move nothing: no news, which
# goes away with its cause.
EXPLAINS = {"EXPLODING": ("SATURATED", "DYING"), "VANISHING": ("LOST UPDATES",)}


def _found(seen: Readings, limits: Thresholds) -> list[HealthVerdict]:
    return [verdict for rule in RULES for verdict in rule(seen, limits)]


def _since(verdict: HealthVerdict, told: HealthVerdict | None, steps: int) -> HealthVerdict:
    """With the step from which on it was told, if that was earlier than it shows by itself."""
    first = steps if told is None or told.since is None else told.since
    return replace(verdict, since=first if verdict.since is None else min(first, verdict.since))


def _nonfinite(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
    del limits  # one is too many
    broken = [e for e in seen.events if e.kind in ("nonfinite", "overflow", "loss")]
    if broken:
        first = broken[0]
        what = {
            "nonfinite": f"the gradients of {first.value:.0f} layers had NaN or infinities",
            "overflow": "the squares of the gradients overflowed",
            "loss": "the loss was not finite",
        }[first.kind]
        where = f", first in {first.layer}" if first.layer else ""
        worst = int(seen.broken.max(initial=0))
        yield HealthVerdict(
            "NONFINITE", "alarm", names_of(seen, seen.broken > 0), max(worst, 1), 0,
            f"at step {first.step} {what}{where}; {len(broken)} such steps are in the log",
            "wrap the optimizer in guard(...) so that such steps change nothing; then look at that "
            "layer and batch: a division, log or exp without a bound, a rate that is too large",
            first.step,
        )  # fmt: skip
    sick = np.isposinf(seen.latest["update_norm"]) | np.isposinf(seen.latest["param_norm"])
    if sick.any():
        yield HealthVerdict(
            "NONFINITE STATE", "alarm", names_of(seen, sick), float(sick.sum()), 0,
            "updates or parameters are not finite",
            "a non-finite gradient got into them: go back to a checkpoint before it, and "
            "train on behind guard(...)",
        )  # fmt: skip
    moving = np.nan_to_num(seen.latest["grad_norm"]) > 0
    still = moving & (seen.latest["update_norm"] == 0) & np.isnan(seen.ratio[-3:]).all(0)
    rate, skipped = seen.now("lr"), seen.now("skipped")
    enough = len(seen.ratio) >= 3
    if enough and still.any() and still[moving].all() and rate != 0 and not skipped > 0:
        yield HealthVerdict(
            "STUCK", "alarm", (), 0.0, 0.0,
            "gradients come, but every update is exactly zero",
            "is a clip's threshold 0, the rate far too small for the parameters' type, or the "
            "optimizer's state broken? optax.MultiSteps hides the steps that it makes: use "
            "funcopt.accumulate",
        )  # fmt: skip


def _dead(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
    if seen.records < min(limits.records, seen.possible_records):
        return
    zero, negligible = seen.mean["zero"], seen.mean["negligible"]
    sparse = seen.matching(limits.sparse)
    dead = (zero >= limits.dead) & (~sparse | (seen.mean["grad_norm"] == 0))
    if dead.any():
        yield HealthVerdict(
            "DEAD", "alarm", names_of(seen, dead), float(zero[dead].max()), limits.dead,
            f"every gradient was exactly zero in the last {seen.records} measurements",
            "ReLU units that never fire (smaller rate, warm-up, leaky ReLU, other initial biases), "
            "or parameters that the loss does not use: freeze those",
        )  # fmt: skip
    flat = (
        (zero + negligible >= limits.saturated)
        & (negligible >= limits.negligible)
        & ~dead
        & ~sparse
    )
    if flat.any():
        share = float((zero + negligible)[flat].max())
        yield HealthVerdict(
            "SATURATED", "alarm", names_of(seen, flat), share, limits.saturated,
            f"{share:.0%} of gradients are below a thousandth of their root mean square, so few "
            "elements learn",
            "smaller initial weights or inputs of unit scale, where tanh and sigmoid are not flat; "
            "normalisation",
        )  # fmt: skip
    dying = (zero >= limits.dying) & ~dead & ~flat & ~sparse
    if dying.any():
        share = float(zero[dying].max())
        yield HealthVerdict(
            "DYING", "warning", names_of(seen, dying), share, limits.dying,
            f"{share:.0%} of gradients are exactly zero",
            "normal where inputs are sparse (tell Thresholds(sparse=...)); else as for DEAD",
        )  # fmt: skip


def _second_moment(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
    lag, rms, eps = seen.latest["v_lag"], seen.mean["rms"], seen.mean["eps_dominated"]
    if seen.steps >= limits.settled:
        calms = _falling(seen.last.scalars["lr"])
        grown = _growing(seen.last.scalars["grad_norm"], limits.regrowth)
        stale = (lag < limits.v_lag) & (grown | _grown_slowly(seen.grad, limits.regrowth))
        stale &= (seen.shrinks > 0) & (not calms)
        if stale.any():
            least = float(np.nanmin(lag[stale]))
            yield HealthVerdict(
                "STALE SECOND MOMENT", "warning", names_of(seen, stale), least, limits.v_lag,
                "gradients grow again, but their squares are still "
                f"{in_words(np.exp(-least))} times below the second moment, which goes on "
                "shrinking",
                "steps get longer all the time, and a spike of the loss may come of it: a smaller "
                "b2 (0.95), or clip updates by their RMS",
            )  # fmt: skip
        behind = (rms > limits.rms) & (seen.shrinks > 0) & (not calms)
        if behind.any():
            most = float(np.nanmax(rms))
            yield HealthVerdict(
                "STALE SECOND MOMENT", "warning", names_of(seen, behind), most, limits.rms,
                f"gradients outgrow the second moment (RMS_t {most:.1f})",
                "a spike of the loss may follow: a smaller b2 (0.95), or clip updates by their RMS",
            )  # fmt: skip
    dominated = eps > limits.eps_dominated
    if dominated.any() and seen.records >= min(limits.records, seen.possible_records):
        most = float(np.nanmax(eps))
        yield HealthVerdict(
            "EPS-DOMINATED", "alarm", names_of(seen, dominated), most, limits.eps_dominated,
            f"for {most:.0%} of elements the root of the second moment is below eps",
            "a smaller eps (1e-12), or a larger scale of the loss: the optimizer is no longer "
            "adaptive there, and its updates vanish",
        )  # fmt: skip


def _falling(rates: np.ndarray) -> bool:
    """Whether the learning rate has fallen within the last steps, which calms steps that grow."""
    rates = rates[np.isfinite(rates)]
    return len(rates) > 0 and bool(rates[-1] < 0.95 * rates.max())


def _growing(norms: np.ndarray, times: float) -> bool:
    """Whether the largest norms of ten steps each rise, to `times` the least of them."""
    blocks = norms[len(norms) % 10 :].reshape(-1, 10)
    known = np.isfinite(blocks).all(1)
    if known.sum() < 4 or not known.all():
        return False
    top = blocks.max(1)
    return bool((np.diff(top[-3:]) > 0).all() and top[-1] > times * top.min() > 0)


def _grown_slowly(grad: np.ndarray, times: float) -> np.ndarray:
    """Whether each row's gradients end above their least over the run.

    As medians of a quarter of the records, which have less noise: the root of `times` is enough.
    """
    width = len(grad) // 4
    if width < 2:
        return np.zeros(grad.shape[1], bool)
    windows = np.lib.stride_tricks.sliding_window_view(grad, width, axis=0)
    medians = np.median(windows, axis=-1)
    with np.errstate(invalid="ignore"):  # of infinite ones there is no difference
        return medians[-1] - medians.min(axis=0) >= np.log10(times) / 2


def _lost(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
    """Also told of wide parameters: there of steps that are too small, unless a minimum is."""
    half = seen.resolution > 1e-4
    once = np.nanmax(np.where(np.isfinite(seen.grad), seen.grad, -np.inf), axis=0, initial=-np.inf)
    arrived = seen.mean["grad_norm"] < ARRIVED * 10.0**once
    share = np.where(half | ~arrived, seen.mean["lost"], np.nan)
    lost = share > limits.lost
    if lost.any() and seen.records >= min(limits.records, seen.possible_records):
        most = float(np.nanmax(share))
        where = "half-precision parameters" if half[lost].any() else "the parameters"
        advice = (
            "master_weights(...) around the optimizer (all of float32 in 4 bytes for each weight), "
            "stochastic_rounding(...) (in 2), or parameters in float32, which the loss casts to "
            "half precision; a larger rate hides it only"
        )
        if not half[lost].any():
            advice = (
                "steps are too small to change a weight: a larger rate, or a larger scale of the "
                "loss where gradients are tiny"
            )
        yield HealthVerdict(
            "LOST UPDATES", "alarm", names_of(seen, lost), most, limits.lost,
            f"{most:.0%} of updates are rounded away when they are added to {where}", advice,
        )  # fmt: skip


ARRIVED = 1e-3
"""Gradients that are so small a share of what they were are those of a minimum."""


def _whole_run(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
    clip = seen.last.scalars["clip_ratio"]
    clip = clip[np.isfinite(clip)]
    if len(clip) >= limits.clipped_steps and np.mean(clip < 1) > limits.clipped:
        share = float(np.mean(clip < 1))
        yield HealthVerdict(
            "CLIPPING TOO OFTEN", "warning", (), share, limits.clipped,
            f"{share:.0%} of the last {len(clip)} steps were clipped, to {np.median(clip):.2g} "
            "times their length in the median",
            "the clip sets the step now: raise max_norm to above the usual gradient norm "
            f"({_median(seen.last.scalars['grad_norm']):.2g}), or lower the rate",
        )  # fmt: skip
    skipped = seen.last.scalars["skipped"]
    skipped = skipped[np.isfinite(skipped)]
    if len(skipped) and np.mean(skipped) > limits.skipped:
        yield HealthVerdict(
            "STEPS SKIPPED", "warning", (), float(np.mean(skipped)), limits.skipped,
            f"{np.mean(skipped):.0%} of the last {len(skipped)} steps were skipped",
            "see the events for why; a guard that refuses much hides a rate that is too large or "
            "data that is broken",
        )  # fmt: skip
    spikes = [e for e in seen.events if e.kind == "spike"]
    if spikes and len(spikes) > limits.spikes * max(seen.steps, 1):
        last = spikes[-1]
        place = f", in {last.layer}" if last.layer else ""
        yield HealthVerdict(
            "SPIKES", "warning", (), len(spikes) / seen.steps, limits.spikes,
            f"{len(spikes)} spikes of the gradient norm, the last at step {last.step} "
            f"(norm {last.value:.2g}{place})",
            "guard(...) refuses them; look at the batches; a smaller rate or b2 (0.95)",
            spikes[0].step,
        )  # fmt: skip
    ratio = seen.mean["update_norm"] / np.where(
        seen.mean["param_norm"] > 0, seen.mean["param_norm"], np.nan
    )
    large = (ratio > limits.ratio) & (seen.ndims >= 2)
    if large.any() and seen.steps >= limits.settled:
        most = float(np.nanmax(np.where(large, ratio, np.nan)))
        yield HealthVerdict(
            "STEPS TOO LARGE", "warning", names_of(seen, large), most, limits.ratio,
            f"one step changes the weights by up to {most:.0%} of their norm (usual: 0.1%)",
            "a smaller rate, or a longer warm-up",
        )  # fmt: skip


def _median(x: np.ndarray) -> float:
    x = x[np.isfinite(x)]
    return float(np.median(x)) if len(x) else np.nan


RULES = (_nonfinite, vanishing, _dead, _second_moment, _lost, _whole_run)
