"""What is wrong, if anything: thresholds, evidence, and what to try."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .readings import Readings


@dataclass(frozen=True)
class Thresholds:
    """From where on something is said. All are conventions unless marked otherwise.

    Those marked *published* are numbers that a paper or a widely used tool states; the others are
    funcopt's own choice. All were tried on healthy runs, on which nothing may be said, and on
    broken ones (`tests/test_health.py`); none was tuned beyond that.

    Args:
        depth_factor: by which gradients may grow or shrink from the last layer of a series to the
            first.
        depth_layers: how many layers make a series.
        vanished_ratio: a layer's gradient has vanished below this share of the largest layer's
            (published: AutoTrainer) and below `vanished_norm`.
        vanished_norm: see `vanished_ratio` (published: AutoTrainer).
        weight_factor: gradients that are so many times as large as the weights explode; adaptive
            gradient clipping keeps them far below 1.
        growth: of the gradient norm, beside its median over the run.
        surge: of the gradient norm of a single step, as far as a clip let it through, over the
            usual one, where the loss has risen after it.
        surge_alone: the same, where the loss has not risen or is not known, and there is no clip.
        rise: share by which a loss has risen then, from before such a step to 20 steps later.
        share: of layers that must be affected, where one or two may be by design.
        dead: share of gradient elements that are exactly zero in a dead layer.
        dying: the same in a dying one (published: AutoTrainer).
        records: how many measurements a verdict on running means takes.
        sparse: layers whose gradients have zeros by design, a regular expression.
        saturated: share of elements that are zero or below a thousandth of their root mean square.
        negligible: share of those that are so without being zero.
        v_lag: mean log g²/v̂ below this is stale, if gradients grow.
        regrowth: how many times above their least gradients have grown then, within the last
            steps; its root over the whole run.
        settled: how many steps it takes until second moments and the size of steps are judged.
        rms: StableAdamW's RMS_t. Its authors saw spikes of the loss 1 to 8 steps after gradients
            had outgrown the second moment; the number is not theirs.
        eps_dominated: share of elements with √v̂ below ε.
        lost: share of updates that rounding loses, in any precision.
        clipped: share of the last steps that are clipped.
        clipped_steps: how many steps that takes.
        refused: share of the last steps that are refused.
        spikes: share of all steps that are spikes (published: OLMo's spike score).
        ratio: update norm over parameter norm, of which about 1e-3 is usual (published: Karpathy's
            lectures).
    """

    depth_factor: float = 1e3
    depth_layers: int = 4
    vanished_ratio: float = 1e-3
    vanished_norm: float = 1e-4
    weight_factor: float = 100.0
    growth: float = 1e3
    surge: float = 10.0
    surge_alone: float = 30.0
    rise: float = 0.05
    share: float = 0.2
    dead: float = 0.999
    dying: float = 0.7
    records: int = 3
    sparse: str = "embed|lookup|wte|wpe|table"
    saturated: float = 0.7
    negligible: float = 0.05
    v_lag: float = -4.0
    regrowth: float = 10.0
    settled: int = 100
    rms: float = 2.3
    eps_dominated: float = 0.5
    lost: float = 0.5
    clipped: float = 0.5
    clipped_steps: int = 100
    refused: float = 0.1
    spikes: float = 1e-3
    ratio: float = 0.1


@dataclass(frozen=True)
class Verdict:
    """One thing that is wrong.

    `value` is the number that crossed `threshold`, of the worst layer; `layers` are those that are
    affected, in order, empty where it is the run as a whole. `since` is the step from which on it
    holds, None where that is not known.
    """

    name: str
    severity: Literal["alarm", "warning"]
    layers: tuple[str, ...]
    value: float
    threshold: float
    evidence: str
    advice: str
    since: int | None = None


RELAXED = {
    "depth_factor": 0.5,
    "vanished_ratio": 2.0,
    "vanished_norm": 2.0,
    "weight_factor": 0.5,
    "growth": 0.5,
    "dying": 0.8,
    "saturated": 0.8,
    "negligible": 0.8,
    "v_lag": 0.7,
    "regrowth": 0.5,
    "rms": 0.8,
    "eps_dominated": 0.8,
    "lost": 0.8,
    "clipped": 0.8,
    "refused": 0.5,
    "spikes": 0.5,
    "ratio": 0.8,
}
"""By what thresholds are multiplied for what was told before: it has to go away by more than it
came, else it would be told, and not told, and told again."""


def verdicts(
    seen: Readings, limits: Thresholds, before: tuple[Verdict, ...] | None = None
) -> tuple[Verdict, ...]:
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


def _found(seen: Readings, limits: Thresholds) -> list[Verdict]:
    return [verdict for rule in RULES for verdict in rule(seen, limits)]


def _since(verdict: Verdict, told: Verdict | None, steps: int) -> Verdict:
    """With the step from which on it was told, if that was earlier than it shows by itself."""
    first = steps if told is None or told.since is None else told.since
    return replace(verdict, since=first if verdict.since is None else min(first, verdict.since))


def _times(x: float) -> str:
    """A factor for a person: 2.5, 61, 1,300, 2 million, 10¹²."""
    if not x < 1e9:
        return f"10{str(round(np.log10(x))).translate(SUPERSCRIPT)}" if np.isfinite(x) else "inf"
    if x >= 1e6:
        return f"{x / 1e6:.0f} million"
    digits = 2 - len(f"{x:.0f}")
    return f"{round(x, digits):,.0f}" if x >= 10 else f"{x:.2g}"


SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _names(seen: Readings, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, here in zip(seen.layers, rows, strict=True) if here)


def _nonfinite(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
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
        yield Verdict(
            "NONFINITE", "alarm", _names(seen, seen.broken > 0), max(worst, 1), 0,
            f"at step {first.step} {what}{where}; {len(broken)} such steps are in the log",
            "wrap the optimizer in guard(...) so that such steps change nothing; then look at that "
            "layer and batch: a division, log or exp without a bound, a rate that is too large",
            first.step,
        )  # fmt: skip
    sick = np.isposinf(seen.latest["update_norm"]) | np.isposinf(seen.latest["param_norm"])
    if sick.any():
        yield Verdict(
            "NONFINITE STATE", "alarm", _names(seen, sick), float(sick.sum()), 0,
            "updates or parameters are not finite",
            "a non-finite gradient got into them: go back to a checkpoint before it, and "
            "train on behind guard(...)",
        )  # fmt: skip
    moving = np.nan_to_num(seen.latest["grad_norm"]) > 0
    still = moving & (seen.latest["update_norm"] == 0) & np.isnan(seen.ratio[-3:]).all(0)
    rate, skipped = seen.now("lr"), seen.now("skipped")
    enough = len(seen.ratio) >= 3
    if enough and still.any() and still[moving].all() and rate != 0 and not skipped > 0:
        yield Verdict(
            "STUCK", "alarm", (), 0.0, 0.0,
            "gradients come, but every update is exactly zero",
            "is a clip's threshold 0, or the optimizer's state broken? optax.MultiSteps hides the "
            "steps that it makes: use funcopt.accumulate",
        )  # fmt: skip


def _through_depth(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    norms = seen.mean["grad_norm"]
    with np.errstate(divide="ignore"):
        logs_of_all = np.log(norms / np.sqrt(seen.sizes))
    vanished, exploded = np.zeros(len(norms), bool), np.zeros(len(norms), bool)
    shrinks = grows = 1.0
    for rows in seen.series:
        rows, slope = _slope(rows, logs_of_all, limits)
        logs = logs_of_all[rows]
        if slope > np.log(limits.depth_factor):
            shrinks = max(shrinks, np.exp(min(slope, 700)))
            vanished[rows[logs < logs.max() - np.log(limits.depth_factor) / 2]] = True
        if -slope > np.log(limits.depth_factor):
            grows = max(grows, np.exp(min(-slope, 700)))
            exploded[rows[logs > logs.min() + np.log(limits.depth_factor) / 2]] = True
    advice = (
        "an initialisation that keeps variances (He for ReLU, Glorot for tanh), normalisation, "
        "residual connections, or another activation"
    )
    if vanished.any():
        yield Verdict(
            "VANISHING", "alarm", _names(seen, vanished), shrinks, limits.depth_factor,
            f"from the last layer to the first, gradients shrink {_times(shrinks)} times", advice,
            _first_of(seen, lambda logs: _steepest(seen, logs, limits, 1) > limits.depth_factor),
        )  # fmt: skip
    else:
        yield from _vanished_at_once(seen, limits, norms, advice)
    if exploded.any():
        yield Verdict(
            "EXPLODING", "alarm", _names(seen, exploded), grows, limits.depth_factor,
            f"from the last layer to the first, gradients grow {_times(grows)} times", advice,
            _first_of(seen, lambda logs: _steepest(seen, logs, limits, -1) > limits.depth_factor),
        )  # fmt: skip
    else:
        yield from _larger_than_weights(seen, limits, norms, advice)


def _slope(rows: np.ndarray, logs: np.ndarray, limits: Thresholds) -> tuple[np.ndarray, float]:
    """The rows of a series whose gradients are known, and by how much their logarithm grows."""
    rows = rows[np.isfinite(logs[rows])]
    if len(rows) < limits.depth_layers:
        return rows, 0.0
    return rows, np.polyfit(np.arange(len(rows)), logs[rows], 1)[0] * (len(rows) - 1)


def _steepest(seen: Readings, logs: np.ndarray, limits: Thresholds, sign: int) -> float:
    slopes = [sign * _slope(rows, logs, limits)[1] for rows in seen.series]
    return np.exp(min(max(slopes, default=0.0), 700))


def _first_of(seen: Readings, holds: Callable[[np.ndarray], bool]) -> int | None:
    """The step from which on something holds of the logarithms of all layers' gradients."""
    logs = seen.grad * np.log(10) - np.log(seen.sizes) / 2
    since = None
    for step, here in zip(seen.run.step[::-1], logs[::-1], strict=True):
        if not holds(here):
            break
        since = int(step)
    return since


def _vanished_everywhere(seen: Readings, norms: np.ndarray, advice: str) -> Iterator[Verdict]:
    """No matrix gets a gradient that its weights are precise enough for, and none ever did."""
    weights, updates = seen.mean["param_norm"], seen.mean["update_norm"]
    matrices = (seen.ndims >= 2) & (weights > 0) & (norms > 0)
    if not matrices.any():
        return
    once = np.nanmax(np.where(np.isfinite(seen.grad), seen.grad, -np.inf), axis=0, initial=-np.inf)
    largest = np.maximum(norms, 10.0**once)[matrices] / weights[matrices]
    moved = np.nan_to_num(updates[matrices]) / weights[matrices]
    unseen = (largest < seen.resolution[matrices]) & (moved < seen.resolution[matrices] / 2)
    if unseen.all():
        most = float(largest.max())
        yield Verdict(
            "VANISHING", "alarm", _names(seen, matrices), most, float(seen.resolution.max()),
            f"every gradient is at least {_times(1 / most)} times smaller than its weights, whose "
            "type tells no such steps apart", advice, 0,
        )  # fmt: skip


def _vanished_at_once(seen, limits: Thresholds, norms, advice: str) -> Iterator[Verdict]:
    matrices, largest = seen.ndims >= 2, np.nanmax(norms, initial=0)
    tiny = (norms > 0) & (norms < limits.vanished_ratio * largest) & (norms < limits.vanished_norm)
    tiny &= matrices
    if tiny.sum() >= max(2, limits.share * matrices.sum()):
        least = float((norms[tiny] / largest).min())
        yield Verdict(
            "VANISHING", "alarm", _names(seen, tiny), least, limits.vanished_ratio,
            f"gradients are {_times(1 / least)} times smaller than the largest layer's", advice,
        )  # fmt: skip
        return
    yield from _vanished_everywhere(seen, norms, advice)


def _larger_than_weights(seen, limits: Thresholds, norms, advice: str) -> Iterator[Verdict]:
    weights = seen.mean["param_norm"]
    matrices = (seen.ndims >= 2) & (weights > 0)
    times = np.where(matrices, norms / np.where(matrices, weights, 1), 0)
    large = times > limits.weight_factor
    if large.any() and large.sum() >= limits.share * matrices.sum():
        yield Verdict(
            "EXPLODING", "alarm", _names(seen, large), float(times.max()), limits.weight_factor,
            f"gradients are up to {_times(times.max())} times as large as the weights",
            f"{advice}; a smaller scale of the loss",
        )  # fmt: skip
        return
    run = seen.run.scalars["grad_norm"]
    run = run[np.isfinite(run) & (run > 0)]
    if len(run) >= 5 and run[-1] > limits.growth * np.median(run):
        times = float(run[-1] / np.median(run))
        yield Verdict(
            "EXPLODING", "alarm", (), times, limits.growth,
            f"the gradient norm is {_times(times)} times its median over the run",
            "a smaller rate, a longer warm-up, clip_by_global_norm(1.0)",
        )  # fmt: skip
        return
    yield from _surged(seen, limits)


NOTEWORTHY = 0.4
"""A loss that is a smaller share of the first one may rise by much and is still small."""


def _surged(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    """Single steps that dwarf the others, which no mean over measurements shows."""
    told = seen.surges
    first = seen.run.scalars["value"][:1]
    scale = max(abs(told.low), *(NOTEWORTHY * abs(first[np.isfinite(first)])), 1e-30)
    rose = told.high - told.low > limits.rise * scale
    clips = np.isfinite(seen.last.scalars["clip_ratio"]).any()
    if not told.ratio >= (limits.surge if rose else limits.surge_alone) or (clips and not rose):
        return
    many = f"{told.seen} steps" if told.seen > 1 else "a step"
    text = (
        f"{many} had gradients up to {_times(told.ratio)} times the usual ones, the largest at "
        f"step {told.worst}"
    )
    if rose:
        text += (
            f"; after step {told.rose} the loss went from {told.low:.3g} to {told.high:.3g} "
            "within 20 steps"
        )
    yield Verdict(
        "EXPLODING", "alarm" if rose else "warning", (), told.ratio,
        limits.surge if rose else limits.surge_alone, text,
        "clip_by_global_norm(...) near the usual norm, or a smaller rate: one such step undoes "
        "what many others have learnt",
        told.rose if rose else told.worst,
    )  # fmt: skip


def _dead(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    if seen.records < min(limits.records, seen.possible_records):
        return
    zero, negligible = seen.mean["zero"], seen.mean["negligible"]
    sparse = seen.matching(limits.sparse)
    dead = (zero >= limits.dead) & (~sparse | (seen.mean["grad_norm"] == 0))
    if dead.any():
        yield Verdict(
            "DEAD", "alarm", _names(seen, dead), float(zero[dead].max()), limits.dead,
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
        yield Verdict(
            "SATURATED", "alarm", _names(seen, flat), share, limits.saturated,
            f"{share:.0%} of gradients are below a thousandth of their root mean square, so few "
            "elements learn",
            "smaller initial weights or inputs of unit scale, where tanh and sigmoid are not flat; "
            "normalisation",
        )  # fmt: skip
    dying = (zero >= limits.dying) & ~dead & ~flat & ~sparse
    if dying.any():
        share = float(zero[dying].max())
        yield Verdict(
            "DYING", "warning", _names(seen, dying), share, limits.dying,
            f"{share:.0%} of gradients are exactly zero",
            "normal where inputs are sparse (tell Thresholds(sparse=...)); else as for DEAD",
        )  # fmt: skip


def _second_moment(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    lag, rms, eps = seen.latest["v_lag"], seen.mean["rms"], seen.mean["eps_dominated"]
    if seen.steps >= limits.settled:
        calms = _falling(seen.last.scalars["lr"])
        grown = _growing(seen.last.scalars["grad_norm"], limits.regrowth)
        stale = (lag < limits.v_lag) & (grown | _grown_slowly(seen.grad, limits.regrowth))
        stale &= (seen.shrinks > 0) & (not calms)
        if stale.any():
            least = float(np.nanmin(lag[stale]))
            yield Verdict(
                "STALE SECOND MOMENT", "warning", _names(seen, stale), least, limits.v_lag,
                "gradients grow again, but their squares are still "
                f"{_times(np.exp(-least))} times below the second moment, which goes on shrinking",
                "steps get longer all the time, and a spike of the loss may come of it: a smaller "
                "b2 (0.95), or clip updates by their RMS",
            )  # fmt: skip
        behind = (rms > limits.rms) & (seen.shrinks > 0) & (not calms)
        if behind.any():
            most = float(np.nanmax(rms))
            yield Verdict(
                "STALE SECOND MOMENT", "warning", _names(seen, behind), most, limits.rms,
                f"gradients outgrow the second moment (RMS_t {most:.1f})",
                "a spike of the loss may follow: a smaller b2 (0.95), or clip updates by their RMS",
            )  # fmt: skip
    dominated = eps > limits.eps_dominated
    if dominated.any() and seen.records >= min(limits.records, seen.possible_records):
        most = float(np.nanmax(eps))
        yield Verdict(
            "EPS-DOMINATED", "alarm", _names(seen, dominated), most, limits.eps_dominated,
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


def _lost(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    """Also told of wide parameters: there of steps that are too small, unless a minimum is."""
    half = seen.resolution > 1e-4
    once = np.nanmax(np.where(np.isfinite(seen.grad), seen.grad, -np.inf), axis=0, initial=-np.inf)
    arrived = seen.mean["grad_norm"] < ARRIVED * 10.0**once
    share = np.where(half | ~arrived, seen.mean["lost"], np.nan)
    lost = share > limits.lost
    if lost.any() and seen.records >= min(limits.records, seen.possible_records):
        most = float(np.nanmax(share))
        kind = "half-precision parameters" if half[lost].any() else "the parameters"
        advice = (
            "keep float32 master weights: parameters in float32, which the loss casts to half "
            "precision; a larger rate hides it only"
        )
        if not half[lost].any():
            advice = (
                "steps are too small to change a weight: a larger rate, or a larger scale of the "
                "loss where gradients are tiny"
            )
        yield Verdict(
            "LOST UPDATES", "alarm", _names(seen, lost), most, limits.lost,
            f"{most:.0%} of updates are rounded away when they are added to {kind}", advice,
        )  # fmt: skip


ARRIVED = 1e-3
"""Gradients that are so small a share of what they were are those of a minimum."""


def _whole_run(seen: Readings, limits: Thresholds) -> Iterator[Verdict]:
    clip = seen.last.scalars["clip_ratio"]
    clip = clip[np.isfinite(clip)]
    if len(clip) >= limits.clipped_steps and np.mean(clip < 1) > limits.clipped:
        share = float(np.mean(clip < 1))
        yield Verdict(
            "CLIPPING TOO OFTEN", "warning", (), share, limits.clipped,
            f"{share:.0%} of the last {len(clip)} steps were clipped, to {np.median(clip):.2g} "
            "times their length in the median",
            "the clip sets the step now: raise max_norm to above the usual gradient norm "
            f"({_median(seen.last.scalars['grad_norm']):.2g}), or lower the rate",
        )  # fmt: skip
    skipped = seen.last.scalars["skipped"]
    skipped = skipped[np.isfinite(skipped)]
    if len(skipped) and np.mean(skipped) > limits.refused:
        yield Verdict(
            "STEPS REFUSED", "warning", (), float(np.mean(skipped)), limits.refused,
            f"{np.mean(skipped):.0%} of the last {len(skipped)} steps were refused",
            "see the events for why; a guard that refuses much hides a rate that is too large or "
            "data that is broken",
        )  # fmt: skip
    spikes = [e for e in seen.events if e.kind == "spike"]
    if spikes and len(spikes) > limits.spikes * max(seen.steps, 1):
        last = spikes[-1]
        place = f", in {last.layer}" if last.layer else ""
        yield Verdict(
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
        yield Verdict(
            "STEPS TOO LARGE", "warning", _names(seen, large), most, limits.ratio,
            f"one step changes the weights by up to {most:.0%} of their norm (usual: 0.1%)",
            "a smaller rate, or a longer warm-up",
        )  # fmt: skip


def _median(x: np.ndarray) -> float:
    x = x[np.isfinite(x)]
    return float(np.median(x)) if len(x) else np.nan


RULES = (_nonfinite, _through_depth, _dead, _second_moment, _lost, _whole_run)
