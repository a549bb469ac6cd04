"""The report that a person reads: verdicts, a table, a picture, a flat dict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.given import trained
from .columns import COLUMNS
from .readings import Readings, find, read
from .recorder import SCALARS
from .thresholds import Thresholds
from .verdict import HealthVerdict
from .verdicts import verdicts

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"
TREND = 12
MOST_ROWS = 40
WIDTH = 80


@dataclass(frozen=True)
class Health:
    """The report on a training run: verdicts, evidence and advice. `print` it.

    `verdicts` are what is wrong, the gravest first; `readings` are all the numbers behind them.
    `funcopt.health(state, params)` and `funcopt.diagnose_init(...)` make one.
    """

    readings: Readings
    thresholds: Thresholds
    verdicts: tuple[HealthVerdict, ...]

    @property
    def alarms(self) -> tuple[HealthVerdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.severity == "alarm")

    @property
    def verdict(self) -> str:
        """The names of all verdicts, or `healthy`."""
        if not self.verdicts:
            return "healthy" if self.readings.records else "nothing was measured yet"
        return ", ".join(dict.fromkeys(verdict.name for verdict in self.verdicts))

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_rows_as_text(self)])

    def __repr__(self) -> str:
        return f"<Health {_when(self.readings)}: {self.verdict}>"

    def _repr_html_(self) -> str:
        import html

        from . import svg

        text = f'<pre style="overflow-x: auto">{html.escape(str(self))}</pre>'
        try:
            return text + svg.drawn(self.plot(), _title(self))
        except ModuleNotFoundError:  # pictures need the extra `lab`
            return text

    def table(self) -> "Table":
        """A line for each layer, for `rich.print`; layers with a verdict are coloured."""
        from rich.table import Table

        table = Table(title=_title(self), title_justify="left", box=None, pad_edge=False)
        head, *lines = _cells(self)
        for i, name in enumerate(head):
            numeric = 0 < i < len(head) - 2
            table.add_column(name, justify="right" if numeric else "left", overflow="fold")
        grave = {layer for verdict in self.alarms for layer in verdict.layers}
        light = {layer for verdict in self.verdicts for layer in verdict.layers}
        for layer, line in zip(self.readings.layers, lines, strict=True):
            style = "red" if layer in grave else "yellow" if layer in light else ""
            table.add_row(*line, style=style)
        return table

    def plot(self) -> "Figure":
        """A picture: layers over time, update over weight, and the norm with what happened."""
        from .picture import draw

        return draw(self)

    def to_dict(self, prefix: str = "health/") -> dict[str, float]:
        """A flat dict of the latest numbers for a logger's `log(dict)`: only finite ones.

        Its keys are `grad_norm/<layer>` and so on for everything in
        `funcopt.monitoring.columns.COLUMNS`, `update_ratio/<layer>`, the recorded numbers of the
        last step by their names, and `verdict/<name>`, 1 for an alarm and 0.5 for a warning.
        """
        seen, flat = self.readings, {}
        columns = {**{name: seen.latest[name] for name in COLUMNS}, "update_ratio": ratios(seen)}
        for name, column in columns.items():
            flat |= {f"{name}/{layer}": x for layer, x in zip(seen.layers, column, strict=True)}
        flat |= {name: seen.now(name) for name in SCALARS}
        flat |= {"steps": seen.steps, "events": seen.events_seen}
        for verdict in reversed(self.verdicts):
            key = f"verdict/{verdict.name.lower().replace(' ', '_').replace('-', '_')}"
            flat[key] = 1.0 if verdict.severity == "alarm" else 0.5
        return {f"{prefix}{name}": float(x) for name, x in flat.items() if np.isfinite(x)}


def health(
    state: Any,
    params: Any,
    thresholds: Thresholds | None = None,
    *,
    before: Health | None = None,
) -> Health:
    """The report of a `monitor` on the training so far: verdicts, evidence, and what to try.

    Args:
        state: of a monitor, or any nesting with one monitor in it.
        params: the parameters that the state was made for, of which paths and shapes are read; or
            the whole model that they are in.
        thresholds: limits beyond which there is a verdict, `funcopt.Thresholds(...)`.
        before: the last report of this run, if you look again and again. What it said is said
            until it is gone for good, and with the step since when.

    Returns:
        A `Health`: print it, or call its `table()`, `plot()` and `to_dict()`.

    Raises:
        ValueError: there is no monitor in the state, or the parameters are others.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.monitor(funcopt.sgd(0.1), every=1)
    >>> params = {"used": jnp.ones((2, 2)), "unused": jnp.ones((2, 2))}
    >>> state = tx.init(params)
    >>> for _ in range(3):
    ...     grads = jax.grad(lambda params: jnp.sum(params["used"] ** 2))(params)
    ...     params, state = funcopt.step(tx, grads, state, params)
    >>> funcopt.health(state, params)
    <Health after 3 steps: DEAD>
    """
    return judged(read(find(state), trained(params)[0]), thresholds, before)


def judged(
    readings: Readings, thresholds: Thresholds | None, before: Health | None = None
) -> Health:
    limits = Thresholds() if thresholds is None else thresholds
    with np.errstate(all="ignore"):
        told = None if before is None else before.verdicts
        return Health(readings, limits, verdicts(readings, limits, told))


def ratios(seen: Readings) -> np.ndarray:
    """Update norm over parameter norm, NaN where there are no weights yet."""
    weights = np.where(seen.latest["param_norm"] > 0, seen.latest["param_norm"], np.nan)
    return seen.latest["update_norm"] / weights


def _title(health: Health) -> str:
    seen = health.readings
    many = f"{len(seen.layers)} layer{'s' * (len(seen.layers) != 1)}"
    return f"{health.verdict.upper()}  ({many}, {_when(seen)})"


def _when(seen: Readings) -> str:
    if not seen.steps:
        return "at the first backward pass" if seen.records else "before the first step"
    return f"after {seen.steps} step{'s' * (seen.steps != 1)}"


def _head(health: Health) -> list[str]:
    import textwrap

    lines = [_title(health), *_numbers(health.readings)]
    for verdict in health.verdicts:
        mark = "!!" if verdict.severity == "alarm" else "! "
        where = (
            f" in {_some(verdict.layers, len(health.readings.layers))}" if verdict.layers else ""
        )
        since = f" since step {verdict.since}" if verdict.since is not None else ""
        for text, first, rest in (
            (f"{verdict.name}{where}{since}: {verdict.evidence}.", f" {mark} ", "    "),
            (f"try: {verdict.advice}.", "    ", "         "),
        ):
            lines += textwrap.wrap(
                text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
            )
    return lines


def _numbers(seen: Readings) -> list[str]:
    """The last step in a line, and what happened to the steps that are remembered."""
    words = [
        f"{word} {seen.now(name):.3g}"
        for word, name in (("loss", "value"), ("lr", "lr"), ("|grad|", "grad_norm"))
        if np.isfinite(seen.now(name))
    ]
    clip, skipped = seen.last.scalars["clip_ratio"], seen.last.scalars["skipped"]
    if np.isfinite(clip).any():
        words.append(f"{_percent(float(np.mean(clip < 1)))} clipped")
    if np.nansum(skipped) > 0:
        words.append(f"{np.nansum(skipped):.0f} skipped")
    if seen.now("noise_scale") > 0:
        words.append(f"noise scale {seen.now('noise_scale'):.2g} micro-batches")
    return [f" {'   '.join(words)}"] if words else []


def _some(layers: tuple[str, ...], of: int) -> str:
    if len(layers) == of > 1:
        return "all layers"
    if len(layers) <= 3:
        return ", ".join(layers)
    return f"{layers[0]}, {layers[1]}, ... {layers[-1]} ({len(layers)} of {of})"


def _cells(health: Health) -> list[list[str]]:
    """The table: a head, and a line of words for each layer."""
    seen = health.readings
    updated = bool(np.isfinite(seen.latest["update_norm"]).any())
    ratio = ratios(seen)
    lines = [["layer", "|grad|", *(["upd/wt"] if updated else ["|weight|"]), "zero", "trend", ""]]
    trends = _trends(seen)
    for i, layer in enumerate(seen.layers):
        said = [verdict.name for verdict in health.verdicts if layer in verdict.layers]
        second = _short(ratio[i]) if updated else _short(seen.latest["param_norm"][i])
        zero = seen.latest["zero"][i]
        lines.append(
            [
                layer,
                _short(seen.latest["grad_norm"][i]),
                second,
                "" if np.isnan(zero) else "" if zero == 0 else f"{_percent(zero)}",
                trends[i],
                ", ".join(dict.fromkeys(said)),
            ]
        )
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.005 or share == 0 else "<1%"


def _short(x: float) -> str:
    return "" if np.isnan(x) else "inf" if np.isinf(x) else "0" if x == 0 else f"{x:.1e}"


def _trends(seen: Readings) -> list[str]:
    """Of each layer, the gradient's norm over time in small bars; one scale for all layers.

    With a single measurement it is one bar, whose length is the norm beside the other layers'.
    """
    grad = seen.grad
    finite = np.isfinite(grad)
    if not finite.any():
        return ["" for _ in seen.layers]
    low, high = grad[finite].min(), grad[finite].max()
    span = max(high - low, 1.0)
    if len(grad) == 1:
        lengths = np.where(finite[0], 1 + (grad[0] - low) / span * (TREND - 1), 0)
        return ["█" * int(np.nan_to_num(length)) for length in lengths]
    at = np.unique(np.linspace(0, len(grad) - 1, TREND).round().astype(int))

    def bar(x: float) -> str:
        if np.isnan(x):
            return "·"
        return "×" if np.isinf(x) else BARS[int(min((x - low) / span * len(BARS), len(BARS) - 1))]

    return ["".join(bar(x) for x in row) for row in grad[at].T]


def _rows_as_text(health: Health) -> list[str]:
    head, *lines = _cells(health)
    kept = _worth_showing(health, len(lines))
    shown = [head, *(lines[i] for i in kept)]
    widths = [max(len(line[i]) for line in shown) for i in range(len(head))]
    fixed = sum(widths[1:-2]) + TREND + 2 * (len(head) - 1) + min(widths[-1], 14)
    widths[0] = min(widths[0], max(WIDTH - fixed, 16))
    text = [_line(line, widths) for line in shown]
    if len(kept) < len(lines):
        text.append(f"... and {len(lines) - len(kept)} more between them: see table()")
    return text


def _worth_showing(health: Health, rows: int) -> list[int]:
    """All layers, or those with a verdict and some of the others, evenly spaced."""
    if rows <= MOST_ROWS:
        return list(range(rows))
    told = {layer for verdict in health.verdicts for layer in verdict.layers}
    bad = [i for i, layer in enumerate(health.readings.layers) if layer in told]
    bad = (
        [bad[i] for i in np.unique(np.linspace(0, len(bad) - 1, MOST_ROWS // 2).astype(int))]
        if bad
        else []
    )
    rest = np.linspace(0, rows - 1, MOST_ROWS - len(bad)).round().astype(int)
    return sorted({*bad, *map(int, rest)})


def _line(cells: list[str], widths: list[int]) -> str:
    first, *middle, trend, note = cells
    if len(first) > widths[0]:
        first = "…" + first[1 - widths[0] :]
    middle = [cell.rjust(width) for cell, width in zip(middle, widths[1:-2], strict=True)]
    trend = trend.ljust(TREND)
    line = "  ".join([first.ljust(widths[0]), *middle, trend, note]).rstrip()
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
