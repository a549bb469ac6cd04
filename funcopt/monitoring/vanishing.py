"""Gradients that vanish or explode: through depth, everywhere, beside the weights, or at once."""

from collections.abc import Callable, Iterator

import numpy as np

from .readings import Readings
from .thresholds import Thresholds
from .verdict import HealthVerdict, in_words, names_of


def vanishing(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
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
        yield HealthVerdict(
            "VANISHING", "alarm", names_of(seen, vanished), shrinks, limits.depth_factor,
            f"from the last layer to the first, gradients shrink {in_words(shrinks)} times", advice,
            _first_of(seen, lambda logs: _steepest(seen, logs, limits, 1) > limits.depth_factor),
        )  # fmt: skip
    else:
        yield from _vanished_at_once(seen, limits, norms, advice)
    if exploded.any():
        yield HealthVerdict(
            "EXPLODING", "alarm", names_of(seen, exploded), grows, limits.depth_factor,
            f"from the last layer to the first, gradients grow {in_words(grows)} times", advice,
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


def _vanished_everywhere(seen: Readings, norms: np.ndarray, advice: str) -> Iterator[HealthVerdict]:
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
        yield HealthVerdict(
            "VANISHING", "alarm", names_of(seen, matrices), most, float(seen.resolution.max()),
            f"every gradient is at least {in_words(1 / most)} times smaller than its weights, "
            "whose type tells no such steps apart", advice, 0,
        )  # fmt: skip


def _vanished_at_once(seen, limits: Thresholds, norms, advice: str) -> Iterator[HealthVerdict]:
    matrices, largest = seen.ndims >= 2, np.nanmax(norms, initial=0)
    tiny = (norms > 0) & (norms < limits.vanished_ratio * largest) & (norms < limits.vanished_norm)
    tiny &= matrices
    if tiny.sum() >= max(2, limits.share * matrices.sum()):
        least = float((norms[tiny] / largest).min())
        yield HealthVerdict(
            "VANISHING", "alarm", names_of(seen, tiny), least, limits.vanished_ratio,
            f"gradients are {in_words(1 / least)} times smaller than the largest layer's", advice,
        )  # fmt: skip
        return
    yield from _vanished_everywhere(seen, norms, advice)


def _larger_than_weights(seen, limits: Thresholds, norms, advice: str) -> Iterator[HealthVerdict]:
    weights = seen.mean["param_norm"]
    matrices = (seen.ndims >= 2) & (weights > 0)
    times = np.where(matrices, norms / np.where(matrices, weights, 1), 0)
    large = times > limits.weight_factor
    if large.any() and large.sum() >= limits.share * matrices.sum():
        yield HealthVerdict(
            "EXPLODING", "alarm", names_of(seen, large), float(times.max()), limits.weight_factor,
            f"gradients are up to {in_words(times.max())} times as large as the weights",
            f"{advice}; a smaller scale of the loss",
        )  # fmt: skip
        return
    run = seen.run.scalars["grad_norm"]
    run = run[np.isfinite(run) & (run > 0)]
    if len(run) >= 5 and run[-1] > limits.growth * np.median(run):
        times = float(run[-1] / np.median(run))
        yield HealthVerdict(
            "EXPLODING", "alarm", (), times, limits.growth,
            f"the gradient norm is {in_words(times)} times its median over the run",
            "a smaller rate, a longer warm-up, clip_by_global_norm(1.0)",
        )  # fmt: skip
        return
    yield from _surged(seen, limits)


NOTEWORTHY = 0.4
"""A loss that is a smaller share of the first one may rise by much and is still small."""


def _surged(seen: Readings, limits: Thresholds) -> Iterator[HealthVerdict]:
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
        f"{many} had gradients up to {in_words(told.ratio)} times the usual ones, the largest at "
        f"step {told.worst}"
    )
    if rose:
        text += (
            f"; after step {told.rose} the loss went from {told.low:.3g} to {told.high:.3g} "
            "within 20 steps"
        )
    yield HealthVerdict(
        "EXPLODING", "alarm" if rose else "warning", (), told.ratio,
        limits.surge if rose else limits.surge_alone, text,
        "clip_by_global_norm(...) near the usual norm, or a smaller rate: one such step undoes "
        "what many others have learnt",
        told.rose if rose else told.worst,
    )  # fmt: skip
