"""Draw every schedule, and write the table of docs/schedules.md.

    python docs/make_gallery.py            draws docs/images/schedules/*.svg and fills the page
    python docs/make_gallery.py --sheet gallery.png        draws all of them on one sheet as well

A schedule is one `Entry`: the call that is drawn and its formula. The table stands between the
markers of docs/fill_numbers.py, which asks `table` for it too.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "images" / "schedules"
STEPS = 1000
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


class Entry(NamedTuple):
    """The calls of one factory that are drawn over each other, and its formula.

    `x` is the progress, t the step, W the warm-up, T the length in steps; `v` the first value or
    the peak, `e` the last value, `r` a factor. A schedule that listens is drawn over its `metric`.
    """

    calls: tuple[str, ...]
    formula: str
    steps: int = STEPS
    metric: Callable | None = None

    @property
    def name(self) -> str:
        return self.calls[0].partition("(")[0].rpartition(".")[2]


def loss(step: Any) -> Any:
    """Falls, is flat between two falls, and rises a little in the end."""
    import numpy as np

    fall = 0.45 * np.exp(-step / 80) + 0.35 / (1 + np.exp((step - 500) / 20)) + 0.1
    return fall + 0.03 * np.sin(step / 7) * (step > 250) + 0.0002 * np.maximum(step - 800, 0)


def norm(step: Any) -> Any:
    """Falls, bounces and falls again, twice."""
    import numpy as np

    return 0.5 + 0.3 * np.cos(np.pi * step / 220)


def angle(step: Any) -> Any:
    """Rises until it saturates, and begins again; in right angles."""
    import numpy as np

    begun = np.array([0, 240, 440, 600, 760, 920])
    since = step - begun[np.searchsorted(begun, step, side="right") - 1]
    return 0.95 * (1 - np.exp(-since / 60))


class Group(NamedTuple):
    title: str
    entries: tuple[Entry, ...]


GALLERY = (
    Group(
        "Decay over a known number of steps",
        (
            Entry(("constant_schedule(0.7)",), "v"),
            Entry(("linear_schedule(1.0, 0.1, 700, 150)",), "v (1 − x) + e x"),
            Entry(("linear_to_zero(1.0, 1000)",), "v (1 − t/T)"),
            Entry(
                ("cosine_decay_schedule(1.0, 1000)", "cosine_decay_schedule(1.0, 1000, 0.1, 2.0)"),
                "v (w + (1 − w) α), w = (½ + ½ cos πx)^p",
            ),
            Entry(
                (
                    "polynomial_schedule(1.0, 0.0, 2.0, 1000)",
                    "polynomial_schedule(1.0, 0.0, 0.5, 1000)",
                ),
                "w v + (1 − w) e, w = (1 − x)^p",
            ),
            Entry(("rex_schedule(1.0, 1000)",), "w v + (1 − w) e, w = (1 − x) / (1 − x/2)"),
            Entry(
                ("tanh_schedule(1.0, 1000)", "tanh_schedule(1.0, 1000, 0.0, -4.0, 4.0)"),
                "w v + (1 − w) e, w = ½ − ½ tanh(L (1 − x) + U x)",
            ),
        ),
    ),
    Group(
        "Decay without an end",
        (
            Entry(
                (
                    "exponential_decay(1.0, 200, 0.5)",
                    "exponential_decay(1.0, 200, 0.5, staircase=True)",
                ),
                "v r^(t/k), at most or at least e; in steps: v r^⌊t/k⌋",
            ),
            Entry(
                (
                    "inverse_time_decay(1.0, 100, 1.0)",
                    "inverse_time_decay(1.0, 100, 1.0, staircase=True)",
                ),
                "v / (1 + r t/k)",
            ),
            Entry(("step_decay(1.0, 300, 0.5)",), "v r^⌊t/k⌋"),
            Entry(("multistep_decay(1.0, [300, 600, 800], 0.4)",), "v r^(milestones ≤ t)"),
            Entry(
                ("piecewise_constant_schedule(0.4, {200: 2.0, 500: 0.5, 800: 0.25})",),
                "v Π r_i over the boundaries b_i ≤ t",
            ),
            Entry(
                ("inverse_sqrt_schedule(1.0, 100)", "inverse_sqrt_schedule(1.0, 100, 1.0)"),
                "v √(W / t) after a line in W steps",
            ),
            Entry(("noam_schedule(512.0, 100, 200.0)",), "c d^−½ min(t^−½, t W^−1.5), t from 1"),
            Entry(
                ("power_schedule(1.0, 10.0)", "power_schedule(1.0, 10.0, -0.8)"),
                "min(v, a n^b), n = tokens seen",
            ),
        ),
    ),
    Group(
        "With a warm-up",
        (
            Entry(
                (
                    'warmup(cosine_decay_schedule(1.0, 700), 300, "linear")',
                    'warmup(cosine_decay_schedule(1.0, 700), 300, "cosine")',
                    'warmup(cosine_decay_schedule(1.0, 700), 300, "exponential", 0.01)',
                ),
                "(1 − w) i + w s(0) in W steps, then s(t − W); w = x, ½ − ½ cos πx or "
                "(r^x − 1) / (r − 1) with r = s(0) / i",
            ),
            Entry(("linear_warmup(1.0, 300)",), "(1 − x) i + x v"),
            Entry(("warmup_constant_schedule(0.2, 1.0, 300)",), "(1 − x) i + x v"),
            Entry(
                ("warmup_cosine_decay_schedule(0.0, 1.0, 150, 1000, 0.1)",),
                "a line to v in W steps, then a cosine to e until T",
            ),
            Entry(
                ("warmup_exponential_decay_schedule(0.0, 1.0, 150, 200, 0.5)",),
                "a line to v in W steps, then v r^((t − W)/k)",
            ),
            Entry(
                (
                    'warmup_stable_decay(0.0, 1.0, 100, 1000, 400, shape="linear")',
                    'warmup_stable_decay(0.0, 1.0, 100, 1000, 400, shape="cosine")',
                    'warmup_stable_decay(0.0, 1.0, 100, 1000, 400, shape="1-sqrt")',
                    'warmup_stable_decay(0.0, 1.0, 100, 1000, 400, shape="exponential")',
                ),
                "v, and at the end w v + (1 − w) e, w = 1 − x, ½ + ½ cos πx, 1 − √x or "
                "(r^(1−x) − 1) / (r − 1)",
            ),
            Entry(
                ("knee_schedule(1.0, 450, 1000, 100)",),
                "v for a while, then a line to 0 at T",
            ),
        ),
    ),
    Group(
        "Cycles",
        (
            Entry(
                ("cosine_restarts(1.0, 140, 2, decay=0.8)",),
                "w v d^i + (1 − w) e, w = ½ + ½ cos πx in cycle i of T₀ mⁱ steps",
            ),
            Entry(
                (
                    'sgdr_schedule([{"init_value": 0.0, "peak_value": p, "warmup_steps": 60, '
                    '"decay_steps": n} for p, n in ((1.0, 250), (0.8, 350), (0.5, 400))])',
                ),
                "one warmup_cosine_decay_schedule after the other",
            ),
            Entry(("cosine_wave(1.0, 0.1, 200)",), "w v + (1 − w) e, w = ½ + ½ cos(πt/T)"),
            Entry(
                (
                    "cyclic_schedule(0.1, 1.0, 125)",
                    'cyclic_schedule(0.1, 1.0, 125, mode="triangular2")',
                    'cyclic_schedule(0.1, 1.0, 125, mode="exp_range", gamma=0.998)',
                ),
                "l + (v − l) h g, h = height in the triangle; g = 1, 2^−cycle or γ^t",
            ),
            Entry(("cosine_onecycle_schedule(1000, 1.0)",), "cosines v/d → v at pT → v/(d f) at T"),
            Entry(
                ("linear_onecycle_schedule(1000, 1.0)",),
                "lines v/d → v at pT → v/d at qT → v/(d f) at T",
            ),
            Entry(
                (
                    "onecycle_schedule(1.0, 1000)",
                    'onecycle_schedule(1.0, 1000, shape="linear", three_phase=True)',
                ),
                "v/d → v at pT − 1 → v/(d f) at T − 1; three phases: → v/d at 2pT − 2 between",
            ),
            Entry(
                ("chebyshev_schedule(0.05, 1.0, 32)",),
                "1 / (cos²(θ/2) / v + sin²(θ/2) / e), θ = π (σ(t) + ½) / T, σ fractal",
                64,
            ),
        ),
    ),
    Group(
        "From points and from others",
        (
            Entry(
                (
                    "schedule_from_points({0: 0.1, 200: 1.0, 600: 0.6, 1000: 0.05})",
                    'schedule_from_points({0: 0.1, 200: 1.0, 600: 0.6, 1000: 0.05}, "cosine")',
                    'schedule_from_points({0: 0.1, 200: 1.0, 600: 0.6, 1000: 0.05}, "exponential")',
                ),
                "(1 − w) u + w v between (a, u) and (b, v), w = x, ½ − ½ cos πx or "
                "(r^x − 1) / (r − 1) with r = v/u",
            ),
            Entry(
                (
                    'piecewise_interpolate_schedule("linear", 0.4, {300: 2.5, 600: 0.3, 900: 0.5})',
                    'piecewise_interpolate_schedule("cosine", 0.4, {300: 2.5, 600: 0.3, 900: 0.5})',
                ),
                "through v Π r_i at each boundary b_i",
            ),
            Entry(
                (
                    "join_schedules([linear_warmup(1.0, 200), constant_schedule(1.0), "
                    "step_decay(0.6, 150, 0.6)], [200, 450])",
                ),
                "s_i(t − b_i) from b_i on",
            ),
            Entry(
                (
                    "schedules.product("
                    "cosine_decay_schedule(1.0, 1000), cyclic_schedule(0.3, 1.0, 50))",
                ),
                "a(t) b(t): `a * b`",
            ),
            Entry(
                ("schedules.total(linear_to_zero(0.7, 1000), cosine_wave(0.3, 0.0, 100))",),
                "a(t) + b(t): `a + b`",
            ),
            Entry(("schedules.shifted(linear_to_zero(1.0, 700), 300)",), "s(max(t − k, 0))"),
            Entry(
                ("schedules.clipped(cosine_decay_schedule(1.0, 1000), 0.2, 0.8)",),
                "min(max(s(t), l), h)",
            ),
        ),
    ),
    Group(
        "Driven by a metric",
        (
            Entry(
                ("on_plateau(0.5, patience=3)", "on_plateau(0.5, patience=8)"),
                "× r after more than `patience` metrics that are not below best − (rtol abs(best) "
                "+ atol)",
                metric=loss,
            ),
            Entry(
                ("on_newbob(0.5, 0.01, patience=2)",),
                "× r where last − metric < threshold abs(last)",
                metric=loss,
            ),
            Entry(("on_bold_driver(1.05, 0.5)",), "× r where metric > last, else × g", metric=loss),
            Entry(
                ("on_greedy(0.8, patience=2)",),
                "÷ r after more than `patience` better metrics in a row, × r after as many worse",
                metric=loss,
            ),
            Entry(
                ("on_abel(0.4)", "on_abel(0.4, 1000)"),
                "× r at every second turn of the weights' norm, and from ⌊0.85 T⌋ on",
                metric=norm,
            ),
            Entry(
                ("on_autodrop(0.5, max_threshold=0.04)",),
                "× r where abs(ω − last ω) < θ, then θ ÷ r; ω = angle between the last two steps",
                metric=angle,
            ),
            Entry(
                (
                    "cooldown_on_plateau(300, patience=3)",
                    'cooldown_on_plateau(300, patience=3, shape="linear")',
                ),
                "1 until the metric stops improving, then 1 − √x or 1 − x",
                metric=loss,
            ),
        ),
    ),
)
EVERY = 20


def values(call: str, steps: int, metric: Callable | None) -> Any:
    """The schedule at every step, as float64; a metric is heard every `EVERY` steps."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import funcopt

    schedule = eval(call, dict(vars(funcopt)))
    each = jnp.arange(steps + 1, dtype=jnp.int32)
    if metric is None:
        return np.asarray(jax.vmap(schedule)(each), np.float64)

    def one(state, step_and_value):
        step, value = step_and_value
        heard = schedule.observe(state, value, step)
        state = jax.tree.map(lambda new, old: jnp.where(step % EVERY == 0, new, old), heard, state)
        return state, schedule.at(step, state)

    told = jnp.asarray(metric(np.arange(steps + 1)), jnp.float32)
    return np.asarray(jax.lax.scan(one, schedule.init(), (each, told))[1], np.float64)


def draw(axes: Any, entry: Entry) -> None:
    import numpy as np

    if entry.metric is not None:
        axes.plot(entry.metric(np.arange(entry.steps + 1)), color="#BBBBBB", linewidth=1)
    for call, colour in zip(entry.calls, COLOURS, strict=False):
        axes.plot(values(call, entry.steps, entry.metric), color=colour, linewidth=1.6)
    top = max(1.08, 1.08 * max(line.get_ydata().max() for line in axes.lines))
    axes.set(xlim=(0, entry.steps), ylim=(-0.04, top), xticks=(0, entry.steps), yticks=(0, 1))


def style() -> dict[str, Any]:
    from funcopt.lab.drawing.figures import STYLE

    return {**STYLE, "path.simplify_threshold": 0.05, "font.size": 8}


def draw_each() -> None:
    import matplotlib
    from matplotlib.figure import Figure

    PICTURES.mkdir(parents=True, exist_ok=True)
    for entry in (entry for group in GALLERY for entry in group.entries):
        with matplotlib.rc_context(style()):
            figure = Figure(figsize=(2.4, 1.35), layout="constrained")
            draw(figure.subplots(), entry)
            path = PICTURES / f"{entry.name}.svg"
            figure.savefig(path, facecolor="white", metadata={"Date": None, "Creator": None})


def draw_sheet(path: Path, columns: int = 6) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    entries = [entry for group in GALLERY for entry in group.entries]
    rows = -(-len(entries) // columns)
    with matplotlib.rc_context(style()):
        figure = Figure(figsize=(2.6 * columns, 1.6 * rows), layout="constrained")
        flat = figure.subplots(rows, columns).ravel()
        for axes, entry in zip(flat, entries, strict=False):
            draw(axes, entry)
            axes.set_title(entry.name, fontsize=8)
        for axes in flat[len(entries) :]:
            axes.set_axis_off()
        figure.savefig(path, dpi=110)


def table() -> str:
    """The sections of the page: for each schedule its calls, in the order of the colours."""
    lines = []
    for group in GALLERY:
        lines += [f"### {group.title}", "", "| schedule | formula | |", "| --- | --- | --- |"]
        for entry in group.entries:
            calls = "<br>".join(f"`{call}`" for call in entry.calls)
            picture = f"![{entry.name}](images/schedules/{entry.name}.svg)"
            lines.append(f"| {calls} | {entry.formula} | {picture} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    import fill_numbers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", type=Path, help="all pictures on one sheet, to look at")
    given = parser.parse_args(arguments)
    draw_each()
    if given.sheet:
        draw_sheet(given.sheet)
    fill_numbers.main([])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
