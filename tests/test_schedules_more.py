"""Every other schedule driven by progress: its definition, its boundaries, optax and PyTorch."""

import importlib.util
import inspect
import json
import math
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests.schedule_case import EPS, Case, over

GOLDEN = Path(__file__).parent / "golden"


# -- definitions, in float64 ----------------------------------------------------------------------


def growth(x, start, end):
    """The weight of the end on the exponential curve."""
    ratio = 1000.0 if start == 0 else np.clip(end / start, 1e-3, 1e3)
    return x if ratio == 1 else (ratio**x - 1) / (ratio - 1)


def curve(shape, x, start, end):
    w = {
        "linear": lambda: x,
        "cosine": lambda: 0.5 - 0.5 * np.cos(np.pi * x),
        "1-sqrt": lambda: np.sqrt(x),
        "exponential": lambda: growth(x, start, end),
    }[shape]()
    return (1 - w) * start + w * end


def progress(step, begin, steps):
    return np.clip((step - begin) / steps, 0, 1)


def exponential(step, init, steps, rate, begin=0, staircase=False, end=None):
    p = np.maximum(step - begin, 0) / steps
    value = init * rate ** (np.floor(p) if staircase else p)
    return value if end is None else np.maximum(value, end)


def warmed(after, step, steps, shape="linear", init=0.0):
    rise = curve(shape, progress(step, 0, max(steps, 1)), init, after(0.0))
    return np.where(step < steps, rise, after(np.maximum(step - steps, 0)))


def stable(step, init, peak, warm, total, cool, end=0.0, shape="1-sqrt"):
    rise = curve("linear", progress(step, 0, max(warm, 1)), init, peak)
    fall = curve(shape, progress(step, total - cool, cool), peak, end)
    return np.where(step < warm, rise, fall)


def knee(step, peak, explore, total, warm=0, init=0.0):
    return stable(step, init, peak, warm, total, total - warm - explore, 0.0, "linear")


def inverse_sqrt(step, peak, warm, init=0.0):
    rise = curve("linear", progress(step, 0, warm), init, peak)
    return np.where(step < warm, rise, peak * np.sqrt(warm / np.maximum(step, warm)))


def noam(step, size, warm, factor=1.0):
    t = step + 1
    return factor * size**-0.5 * np.minimum(t**-0.5, t * warm**-1.5)


def power(step, peak, scale, exponent=-0.51, tokens=1.0):
    return np.minimum(peak, scale * (tokens * (step + 1)) ** exponent)


def rex(step, init, steps, end=0.0, begin=0):
    x = progress(step, begin, steps)
    w = (1 - x) / (1 - x / 2)
    return w * init + (1 - w) * end


def tanh(step, init, steps, end=0.0, lower=-6.0, upper=3.0):
    x = progress(step, 0, steps)
    w = 0.5 - 0.5 * np.tanh((1 - x) * lower + x * upper)
    return w * init + (1 - w) * end


def fractal(n):
    """The order of Agarwal et al.: interlaced with its own mirror image, again and again."""
    order = [1]
    while len(order) < n:
        order = [each for i in order for each in (i, 2 * len(order) + 1 - i)]
    return np.array(order)


def chebyshev(step, low, high, n):
    t = fractal(n)[np.asarray(step, np.int64) % n]
    m, big = 1 / high, 1 / low
    return 1 / ((big + m) / 2 - (big - m) / 2 * np.cos((t - 0.5) * np.pi / n))


def restarts(step, init, first, multiplier=1, end=0.0, decay=1.0):
    step = np.asarray(step, np.int64)
    if multiplier == 1:
        cycle, done, length = step // first, step % first, np.full(step.shape, first)
    else:
        cycle, done, length = np.zeros_like(step), step.copy(), np.full(step.shape, first)
        while np.any(done >= length):
            over = done >= length
            done, cycle = np.where(over, done - length, done), cycle + over
            length = np.where(over, length * multiplier, length)
    w = 0.5 + 0.5 * np.cos(np.pi * done / length)
    return w * init * decay ** cycle.astype(float) + (1 - w) * end


def sgdr(step, cycles):
    value, begin = np.zeros(np.shape(step)), 0
    for i, c in enumerate(cycles):
        own, warm = np.maximum(step - begin, 0), c["warmup_steps"]
        rise = curve("linear", progress(own, 0, max(warm, 1)), c["init_value"], c["peak_value"])
        x = progress(own, warm, c["decay_steps"] - warm)
        w = (0.5 + 0.5 * np.cos(np.pi * x)) ** c.get("exponent", 1.0)
        fall = w * c["peak_value"] + (1 - w) * c.get("end_value", 0.0)
        value = np.where(step >= begin, np.where(own < warm, rise, fall), value)
        begin += c["decay_steps"] if i < len(cycles) - 1 else 0
    return value


def wave(step, init, end, half):
    w = 0.5 + 0.5 * np.cos(np.pi * (np.asarray(step, np.int64) % (2 * half)) / half)
    return w * init + (1 - w) * end


def cyclic(step, base, peak, up=2000, down=None, mode="triangular", gamma=1.0):
    down = up if down is None else down
    cycle, position = np.divmod(np.asarray(step, np.int64), up + down)
    h = np.where(position <= up, position / up, (up + down - position) / down)
    g = {"triangular": 1.0, "triangular2": 0.5 ** cycle.astype(float), "exp_range": gamma**step}
    return base + (peak - base) * h * g[mode]


def points(step, values, shape="linear"):
    at = sorted(values)
    out = np.full(np.shape(step), float(values[at[0]]))
    for a, b in pairwise(at):
        part = curve(shape, progress(step, a, b - a), values[a], values[b])
        out = np.where(step >= a, part, out)
    return np.where(step >= at[-1], values[at[-1]], out)


def interpolated(step, kind, init, factors):
    values = {0: init}
    for b, f in factors.items():
        values[b] = list(values.values())[-1] * f
    return points(step, values, kind)


def cosine_onecycle(step, steps, peak, start=0.3, div=25.0, final=1e4):
    values = {0: peak / div, round(start * steps): peak, steps: peak / div / final}
    return points(step, values, "cosine")


def linear_onecycle(step, steps, peak, start=0.3, back=0.85, div=25.0, final=1e4):
    first = peak / div
    values = {0: first, round(start * steps): peak, round(back * steps): first}
    return points(step, {**values, steps: first / final})


def onecycle(step, peak, total, start=0.3, shape="cosine", three=False, div=25.0, final=1e4):
    first = peak / div
    values = {0.0: first, start * total - 1: peak, total - 1.0: first / final}
    if three:
        values[2 * start * total - 2] = first
    return points(step, values, shape)


def multistep(step, init, milestones, factor=0.1):
    return init * factor ** sum((step >= m).astype(float) for m in milestones)


def step_decay(step, init, size, factor=0.1):
    return init * factor ** np.floor(step / size)


# -- cases ----------------------------------------------------------------------------------------


def case(name, definition, args, boundaries, *, rounding=1.0, theirs=None):
    return Case(
        getattr(funcopt, name)(*args),
        lambda step: definition(step, *args),
        boundaries,
        theirs and theirs(*args),
        rounding,
    )


def warmup_case(after, definition, *args, rounding=1.0):
    return Case(
        funcopt.warmup(after, *args),
        lambda step: warmed(definition, step, *args),
        (0, args[0]),
        rounding=rounding,
    )


def exponential_decay_case(*args):
    return case(
        "warmup_exponential_decay_schedule",
        lambda step, init, peak, warm, *rest: warmed(
            lambda own: exponential(own, peak, *rest), step, warm, "linear", init
        ),
        args,
        (args[2], args[2] + args[3]),
        rounding=8.0,
        # optax divides by the length of the warm-up.
        theirs=optax.warmup_exponential_decay_schedule if args[2] else None,
    )


CYCLES = [
    {"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 10, "decay_steps": 100},
    {"init_value": 0.01, "peak_value": 0.2, "warmup_steps": 1, "decay_steps": 300},
    {
        "init_value": 0.1,
        "peak_value": 0.15,
        "warmup_steps": 50,
        "decay_steps": 450,
        "end_value": 0.01,
        "exponent": 2.0,
    },
]
FACTORS = {100: 3.0, 101: 0.5, 700: 0.01}

CASES = [
    warmup_case(
        funcopt.cosine_decay_schedule(0.3, 500),
        lambda s: wave(np.minimum(s, 500), 0.3, 0.0, 500),
        100,
    ),
    warmup_case(
        funcopt.linear_to_zero(0.3, 500),
        lambda s: 0.3 * (1 - progress(s, 0, 500)),
        1,
        "cosine",
        0.1,
    ),
    warmup_case(
        funcopt.step_decay(0.3, 100, 0.5),
        lambda s: step_decay(s, 0.3, 100, 0.5),
        77,
        "exponential",
        0.003,
        rounding=8.0,
    ),
    warmup_case(
        funcopt.rex_schedule(0.3, 900), lambda s: rex(s, 0.3, 900), 100, "exponential", rounding=8.0
    ),
    warmup_case(0.3, lambda s: s * 0 + 0.3, 64, "cosine"),
    warmup_case(0.3, lambda s: s * 0 + 0.3, 64, "exponential", 0.3),
    warmup_case(funcopt.rex_schedule(0.3, 900), lambda s: rex(s, 0.3, 900), 0),
    case(
        "warmup_constant_schedule",
        lambda step, init, peak, warm: stable(step, init, peak, warm, 2**31, 1, peak),
        (0.01, 0.3, 77),
        (0, 77),
        theirs=optax.warmup_constant_schedule,
    ),
    exponential_decay_case(0.01, 0.3, 50, 100, 0.5),
    exponential_decay_case(0.0, 0.3, 7, 90, 0.7, 20, True),
    exponential_decay_case(0.0, 0.3, 333, 90, 0.7, 20, False, 0.05),
    exponential_decay_case(0.1, 0.3, 0, 100, 0.5),
    *[
        case(
            "warmup_stable_decay",
            stable,
            (0.01, 0.3, 100, 900, 200, end, shape),
            (100, 700, 900),
            rounding=8.0,
        )
        for shape in ("linear", "cosine", "1-sqrt", "exponential")
        for end in (0.0, 0.003)
    ],
    case("warmup_stable_decay", stable, (0.0, 0.3, 0, 777, 777), (0, 777)),
    case("knee_schedule", knee, (0.3, 500, 1000), (0, 500, 1000)),
    case("knee_schedule", knee, (0.3, 300, 900, 77, 0.1), (0, 77, 377, 900)),
    case("inverse_sqrt_schedule", inverse_sqrt, (0.3, 77), (0, 77)),
    case("inverse_sqrt_schedule", inverse_sqrt, (0.3, 1, 0.3), (0, 1)),
    case("noam_schedule", noam, (512.0, 400), (0, 399), rounding=2.0),
    case("noam_schedule", noam, (3.0, 1, 0.7), (0, 1), rounding=2.0),
    case("power_schedule", power, (0.02, 0.5), (0, 550), rounding=4.0),
    case("power_schedule", power, (0.02, 8.0, -0.51, 65536.0), (0, 1), rounding=8.0),
    case(
        "linear_to_zero",
        lambda step, init, n: init * (1 - progress(step, 0, n)),
        (0.3, 777),
        (0, 777),
    ),
    case("rex_schedule", rex, (0.3, 777), (0, 777)),
    case("rex_schedule", rex, (0.3, 777, 0.01, 13), (13, 790)),
    case("tanh_schedule", tanh, (0.3, 777), (0, 777), rounding=8.0),
    case("tanh_schedule", tanh, (0.3, 500, 0.01, -4.0, 4.0), (0, 500), rounding=8.0),
    case("chebyshev_schedule", chebyshev, (0.01, 1.0, 1), (0, 1)),
    case("chebyshev_schedule", chebyshev, (0.01, 1.0, 64), (0, 31, 64), rounding=4.0),
    case("cosine_restarts", restarts, (0.3, 70), (0, 70, 140)),
    case("cosine_restarts", restarts, (0.3, 30, 2, 0.01, 0.7), (0, 30, 90, 210), rounding=4.0),
    case("cosine_restarts", restarts, (0.3, 1, 3), (0, 1, 4, 13, 40)),
    case(
        "sgdr_schedule",
        sgdr,
        (CYCLES,),
        (0, 10, 100, 101, 400, 450, 850),
        rounding=4.0,
        theirs=optax.sgdr_schedule,
    ),
    case("cosine_wave", wave, (0.3, 0.01, 77), (0, 77, 154)),
    case("cosine_wave", wave, (0.3, 0.01, 1), (0, 1, 2)),
    case("cyclic_schedule", cyclic, (0.01, 0.3, 60), (0, 60, 120)),
    case("cyclic_schedule", cyclic, (0.01, 0.3, 60, 25), (0, 60, 85, 145)),
    case("cyclic_schedule", cyclic, (0.01, 0.3, 50, 30, "triangular2"), (0, 50, 80, 130)),
    case(
        "cyclic_schedule",
        cyclic,
        (0.01, 0.3, 50, 30, "exp_range", 0.9990234375),
        (0, 50, 80),
        rounding=4.0,
    ),
    case("schedule_from_points", points, ({5: 0.3, 6: 0.1, 500: 0.2, 900: 0.0},), (5, 6, 500, 900)),
    case("schedule_from_points", points, ({0: 0.3, 700: 0.1}, "cosine"), (0, 700)),
    case(
        "schedule_from_points",
        points,
        ({0: 0.001, 99: 0.3, 700: 0.1}, "exponential"),
        (0, 99, 700),
        rounding=8.0,
    ),
    case("schedule_from_points", points, ({9: 0.3},), (9,)),
    *[
        case(
            "piecewise_interpolate_schedule",
            interpolated,
            (kind, 0.3, FACTORS),
            (0, *FACTORS),
            theirs=optax.piecewise_interpolate_schedule,
            rounding=4.0,
        )
        for kind in ("linear", "cosine")
    ],
    case(
        "cosine_onecycle_schedule",
        cosine_onecycle,
        (1000, 0.3),
        (0, 300, 1000),
        theirs=optax.cosine_onecycle_schedule,
        rounding=4.0,
    ),
    case(
        "cosine_onecycle_schedule",
        cosine_onecycle,
        (800, 0.3, 0.25, 10.0, 3.0),
        (0, 200, 800),
        theirs=optax.cosine_onecycle_schedule,
        rounding=4.0,
    ),
    case(
        "linear_onecycle_schedule",
        linear_onecycle,
        (1000, 0.3),
        (0, 300, 850, 1000),
        theirs=optax.linear_onecycle_schedule,
        rounding=4.0,
    ),
    case(
        "linear_onecycle_schedule",
        linear_onecycle,
        (800, 0.3, 0.25, 0.5, 10.0, 3.0),
        (0, 200, 400, 800),
        theirs=optax.linear_onecycle_schedule,
        rounding=4.0,
    ),
    case("onecycle_schedule", onecycle, (0.3, 1000), (0, 299, 999), rounding=4.0),
    case("onecycle_schedule", onecycle, (0.3, 777, 0.41, "linear"), (0, 318, 776), rounding=4.0),
    case(
        "onecycle_schedule",
        onecycle,
        (0.3, 1000, 0.3, "cosine", True),
        (0, 299, 598, 999),
        rounding=4.0,
    ),
    case(
        "onecycle_schedule",
        onecycle,
        (0.3, 333, 0.45, "linear", True, 10.0, 3.0),
        (0, 149, 298, 332),
        rounding=4.0,
    ),
    case("step_decay", step_decay, (0.3, 100, 0.5), (0, 100, 900), rounding=8.0),
    case(
        "multistep_decay", multistep, (0.3, [1, 30, 31, 800], 0.3), (1, 30, 31, 800), rounding=4.0
    ),
]


@pytest.mark.parametrize(
    ("schedule", "step", "value"),
    [
        (funcopt.warmup(funcopt.linear_to_zero(0.1, 9), 30, init_value=0.07), 0, 0.07),
        (funcopt.warmup(funcopt.linear_to_zero(0.1, 9), 30, init_value=0.07), 30, 0.1),
        (funcopt.warmup(funcopt.linear_to_zero(0.1, 9), 30, init_value=0.07), 39, 0.0),
        (funcopt.warmup(0.1, 30, "exponential"), 0, 0.0),
        (funcopt.warmup(0.1, 30, "exponential"), 30, 0.1),
        (funcopt.warmup(0.1, 30, "cosine", 0.3), 0, 0.3),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.03), 0, 0.07),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.03), 30, 0.1),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.03), 60, 0.1),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.03), 90, 0.03),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.0, "exponential"), 90, 0.0),
        (funcopt.warmup_stable_decay(0.07, 0.1, 30, 90, 30, 0.03, "cosine"), 2**31 - 1, 0.03),
        (funcopt.inverse_sqrt_schedule(0.1, 30, 0.07), 30, 0.1),
        (funcopt.rex_schedule(0.1, 30, 0.07), 0, 0.1),
        (funcopt.rex_schedule(0.1, 30, 0.07), 30, 0.07),
        (funcopt.cosine_restarts(0.1, 30), 30, 0.1),
        (funcopt.cosine_restarts(0.1, 30, 2), 90, 0.1),
        (funcopt.cosine_wave(0.1, 0.07, 30), 30, 0.07),
        (funcopt.cosine_wave(0.1, 0.07, 30), 60, 0.1),
        (funcopt.cyclic_schedule(0.07, 0.1, 30, 7), 30, 0.1),
        (funcopt.cyclic_schedule(0.07, 0.1, 30, 7), 37, 0.07),
        (funcopt.schedule_from_points({7: 0.07, 37: 0.1}), 7, 0.07),
        (funcopt.schedule_from_points({7: 0.07, 37: 0.1}), 37, 0.1),
        (funcopt.cosine_onecycle_schedule(90, 0.1), 27, 0.1),
        (funcopt.linear_onecycle_schedule(100, 0.1), 30, 0.1),
        (funcopt.onecycle_schedule(0.1, 100), 29, 0.1),
        (funcopt.onecycle_schedule(0.1, 100, 0.25, three_phase=True), 24, 0.1),
    ],
)
def test_end_points_are_the_numbers_given(schedule, step, value):
    """Bit for bit, compiled and not."""
    assert schedule(step) == np.float32(value)
    assert jax.jit(schedule)(step) == np.float32(value)


def test_small_values_near_the_end_keep_their_digits():
    """Relative to the value itself, where 1 - x has lost its digits."""
    late = np.arange(990, 1000)
    y = (1000 - late) / 1000
    for schedule, definition in [
        (funcopt.linear_to_zero(1.0, 1000), y),
        (funcopt.rex_schedule(1.0, 1000), 2 * y / (1 + y)),
        (funcopt.warmup_stable_decay(0.0, 1.0, 0, 1000, 1000), y / (1 + np.sqrt(1 - y))),
        (funcopt.cosine_restarts(1.0, 1000), np.sin(np.pi / 2 * y) ** 2),
        (funcopt.schedule_from_points({0: 1.0, 1000: 0.0}, "cosine"), np.sin(np.pi / 2 * y) ** 2),
    ]:
        np.testing.assert_allclose(over(schedule, late), definition, rtol=8 * EPS)
    cooled = funcopt.warmup_stable_decay(0.0, 1.0, 0, 1000, 1000, 1e-3, "exponential")
    np.testing.assert_allclose(over(cooled, late), 1e-3 ** (late / 1000), rtol=16 * EPS)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.optax], ids=lambda case: repr(case.schedule)
)
@pytest.mark.default_promotion
def test_equal_to_optax_at_every_step(case):
    steps = np.arange(1000)
    ours = over(case.schedule, steps)
    theirs = np.asarray(jax.vmap(case.optax)(jnp.asarray(steps)), np.float64)
    atol = 8 * case.rounding * EPS * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_every_schedule_of_optax_is_there_with_its_arguments_and_defaults():
    """Defaults count as the same if they are equal numbers."""
    names = [
        name
        for name, there in vars(optax.schedules).items()
        if inspect.isfunction(there) and name.endswith(("_schedule", "_decay"))
    ]
    assert len(names) >= 13
    for name in [*names, "join_schedules"]:
        theirs = inspect.signature(getattr(optax.schedules, name)).parameters
        ours = inspect.signature(getattr(funcopt, name)).parameters
        assert list(ours) == list(theirs)
        assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]


# -- PyTorch --------------------------------------------------------------------------------------


def frozen(kind):
    return json.loads((GOLDEN / "torch_schedules.json").read_text())[kind]


@pytest.mark.parametrize("row", frozen("progress"), ids=lambda row: row["name"])
def test_equal_to_pytorch_at_every_step(row):
    schedule = eval(row["funcopt"], dict(vars(funcopt)))
    with np.load(GOLDEN / "torch_schedules.npz") as file:
        theirs = file[f"progress/{row['name']}"].astype(np.float64)
    ours = over(schedule, np.arange(len(theirs)))
    # PyTorch multiplies up its rates in float64, and both are rounded to float32 in the end.
    np.testing.assert_allclose(ours, theirs, rtol=64 * EPS, atol=4 * EPS * theirs.max())


def plateau(mode="min", factor=0.1, patience=10, threshold=1e-4, threshold_mode="rel", **rest):
    """The schedule that ReduceLROnPlateau's arguments mean, for the frozen rate of 0.1."""
    return 0.1 * funcopt.on_plateau(
        factor,
        patience,
        mode=mode,
        rtol=threshold if threshold_mode == "rel" else 0.0,
        atol=threshold if threshold_mode == "abs" else 0.0,
        cooldown=rest.get("cooldown", 0),
        min_scale=rest.get("min_lr", 0.0) / 0.1,
    )


@pytest.mark.parametrize("row", frozen("plateau"), ids=lambda row: row["name"])
def test_equal_to_pytorchs_plateau_after_every_metric(row):
    """But for a relative threshold of negative metrics, which PyTorch turns around."""
    schedule = plateau(**row["settings"])
    with np.load(GOLDEN / "torch_schedules.npz") as file:
        metrics, theirs = file[f"metrics/{row['metric']}"], file[f"plateau/{row['name']}"]

    def hear(state, value):
        state = schedule.observe(state, value, jnp.int32(0))
        return state, schedule.at(0, state)

    _, ours = jax.lax.scan(hear, schedule.init(), jnp.asarray(metrics))
    turned = metrics.max() < 0 and row["settings"].get("threshold_mode", "rel") == "rel"
    if turned:
        assert np.all(theirs == theirs[0])
        assert ours[-1] < 1e-3 * ours[0]
    else:
        np.testing.assert_allclose(ours, theirs, rtol=64 * EPS)


def test_frozen_schedules_reach_what_they_should():
    """The whole of every scheduler, and rates that fall on every plateau.

    But for PyTorch's relative threshold, which a negative metric turns around: any is better.
    """
    names = {row["name"].split("-")[0] for row in frozen("progress")}
    assert names == {
        *("LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR"),
        *("ExponentialLR", "PolynomialLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts"),
        *("OneCycleLR", "CyclicLR", "SequentialLR", "ChainedScheduler"),
    }
    with np.load(GOLDEN / "torch_schedules.npz") as file:
        for row in frozen("progress"):
            values = file[f"progress/{row['name']}"]
            assert len(values) in (300, 333, 777, 1000)
            assert len(set(values.tolist())) > 1
        never = set()
        for row in frozen("plateau"):
            rates = file[f"plateau/{row['name']}"]
            assert len(rates) == len(file[f"metrics/{row['metric']}"]) == 200
            assert rates[0] == np.float32(0.1)
            assert np.all(np.diff(rates) <= 0)
            never |= {row["name"]} if rates[-1] == rates[0] else set()
    assert never == {"negative-rel"}


# -- values ---------------------------------------------------------------------------------------


def test_leaves_are_the_numbers_and_steps_and_names_are_static():
    assert jax.tree.leaves(funcopt.cosine_restarts(0.1, 10, 2)) == [0.1, 0.0, 1.0]
    assert jax.tree.leaves(funcopt.cyclic_schedule(0.1, 0.3, 10)) == [0.1, 0.3, 1.0]
    assert jax.tree.leaves(funcopt.schedule_from_points({9: 0.5, 5: 1})) == [1.0, 0.5]
    assert jax.tree.leaves(funcopt.sgdr_schedule(CYCLES[:1])) == [0.0, 0.3]
    assert jax.tree.leaves(funcopt.warmup(funcopt.linear_to_zero(0.3, 9), 4)) == [0.3, 0.0]


def test_points_are_sorted_and_iterators_are_kept():
    reference = funcopt.schedule_from_points({5: 1.0, 9: 0.5})
    assert funcopt.schedule_from_points({9: np.float64(0.5), 5: 1}) == reference
    assert repr(reference) == "schedule_from_points(points={5: 1.0, 9: 0.5})"
    assert funcopt.sgdr_schedule(iter(CYCLES)) == funcopt.sgdr_schedule(CYCLES)


# -- purity ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "numbers", "step"),
    [
        (lambda a, b: funcopt.warmup(a, 10, "exponential", b), (0.3, 0.02), 4),
        (lambda a, b: funcopt.warmup_stable_decay(0.0, a, 5, 50, 20, b), (0.3, 0.02), 40),
        (lambda a, b: funcopt.onecycle_schedule(a, 50, b), (0.3, 0.41), 9),
        (lambda a, b: funcopt.cyclic_schedule(0.1, a, 9, 7, "exp_range", b), (0.3, 0.9), 12),
        (lambda a, b: funcopt.cosine_restarts(a, 9, 2, decay=b), (0.3, 0.9), 31),
        (lambda a, b: funcopt.chebyshev_schedule(b, a, 16), (0.3, 0.02), 5),
        (lambda a, b: funcopt.power_schedule(1.0, a, b), (0.3, -0.5), 5),
        (lambda a, b: funcopt.tanh_schedule(a, 20, 0.0, b), (0.3, -2.0), 5),
    ],
)
def test_gradients_are_the_slopes(make, numbers, step):
    """Against differences over a hundredth of each number."""
    gradients = jax.grad(lambda x: make(*x)(step))(numbers)
    for i, number in enumerate(numbers):
        up, down = ([*numbers] for _ in range(2))
        up[i], down[i] = 1.01 * number, 0.99 * number
        slope = (float(make(*up)(step)) - float(make(*down)(step))) / (0.02 * number)
        np.testing.assert_allclose(gradients[i], slope, rtol=5e-3)
        assert slope != 0


@pytest.mark.parametrize("dtype", ["int32", "int8", "uint8", "uint32", "float32"])
@pytest.mark.parametrize(
    "schedule",
    [
        funcopt.warmup(funcopt.step_decay(0.3, 10, 0.5), 20),
        funcopt.cosine_restarts(0.3, 9, 2),
        funcopt.cosine_wave(0.3, 0.1, 9),
        funcopt.cyclic_schedule(0.1, 0.3, 9, 1000),
        funcopt.schedule_from_points({5: 0.1, 1000: 0.5}),
        funcopt.onecycle_schedule(0.3, 1000),
        funcopt.chebyshev_schedule(0.1, 1.0, 16),
        funcopt.multistep_decay(0.3, [5, 10_000]),
        funcopt.inverse_sqrt_schedule(0.3, 9),
    ],
    ids=repr,
)
def test_steps_of_any_dtype(schedule, dtype):
    for step in (0, 3, 20, 100):
        expected = schedule(step)
        np.testing.assert_allclose(schedule(jnp.asarray(step, dtype)), expected, rtol=4 * EPS)


def test_counts_beyond_float32s_integers_are_counted_in_integers():
    """2**24 and 2**24 + 1 are one number in float32, and two steps."""
    late = 2**24
    fives = [0.0, 0.25, 0.5, 0.75, 1.0]

    def after(begin, schedule):
        return [float(schedule(begin + i)) for i in range(5)]

    assert after(late, funcopt.schedule_from_points({late: 0.0, late + 4: 1.0})) == fives
    assert after(late, funcopt.cyclic_schedule(0.0, 1.0, 4)) == [*fives]
    assert after(late + 1, funcopt.warmup(funcopt.linear_schedule(0.0, 1.0, 4), late + 1)) == fives
    falling = funcopt.warmup_stable_decay(0.0, 1.0, 9, late + 5, 4, shape="linear")
    assert after(late + 1, falling) == fives[::-1]
    assert after(late + 1, funcopt.cosine_restarts(1.0, late + 1))[0] == 1.0
    assert after(late, funcopt.cosine_restarts(1.0, late + 1))[0] < 1e-12
    assert after(late, funcopt.step_decay(1.0, late + 1, 0.5))[:2] == [1.0, 0.5]
    assert after(late, funcopt.multistep_decay(1.0, [late + 1, late + 3], 0.5)) == [
        *(1.0, 0.5, 0.5, 0.25, 0.25)
    ]
    orders = [float(funcopt.chebyshev_schedule(0.1, 1.0, 4)(late + i)) for i in range(4)]
    assert orders == [float(funcopt.chebyshev_schedule(0.1, 1.0, 4)(i)) for i in range(4)]


def test_a_long_cycle_that_steps_cannot_count_to_the_end_of():
    """Cycles of 1e3, 1e4, ... steps: the eighth would end beyond the largest step."""
    schedule = funcopt.cosine_restarts(1.0, 1000, 10)
    begin = 1_111_111_000
    assert float(schedule(begin)) == 1.0
    assert float(schedule(begin - 1)) < 1e-12
    x = (2**31 - 1 - begin) / 1e10
    np.testing.assert_allclose(schedule(2**31 - 1), math.cos(math.pi / 2 * x) ** 2, rtol=4 * EPS)


def test_shares_of_a_run_are_taken_as_they_are_written():
    """In floating point 0.29 of 100 steps are 28.999999999999996."""
    schedule = funcopt.cosine_onecycle_schedule(100, 0.3, 0.29)
    assert float(schedule(29)) == np.float32(0.3) > float(schedule(28))
    assert float(jax.jit(lambda s: s(29))(schedule)) == np.float32(0.3)
    for steps in range(10, 1000, 10):
        for tenths in range(1, 10):
            schedule = funcopt.linear_onecycle_schedule(steps, 0.3, tenths / 10, 1.0)
            assert schedule(tenths * steps // 10) == np.float32(0.3)


def test_chebyshev_steps_beat_any_constant_step():
    """On the quadratic that they are made for, after one cycle."""
    curvatures = np.geomspace(1.0, 100.0, 400)
    schedule = funcopt.chebyshev_schedule(0.01, 1.0, 32)
    rates = over(schedule, np.arange(32))
    assert sorted(fractal(8)) == list(range(1, 9))
    assert fractal(8).tolist() == [1, 8, 4, 5, 2, 7, 3, 6]

    def worst(rates):
        return np.abs(np.prod([1 - rate * curvatures for rate in rates], axis=0)).max()

    theory = 2 * ((10 - 1) / (10 + 1)) ** 32
    assert worst(rates) < 1.01 * theory
    assert worst([2 / 101] * 32) > 100 * theory


@pytest.mark.parametrize("shape", ["linear", "exponential", "cosine"])
@pytest.mark.parametrize("start", [0.0, 0.001, 0.3, 2.0, -0.1])
def test_every_warm_up_leads_from_any_start_to_any_schedule(shape, start):
    for schedule in (
        funcopt.cosine_decay_schedule(0.3, 100),
        funcopt.join_schedules([funcopt.constant_schedule(0.3), funcopt.step_decay(0.2, 9)], [5]),
        funcopt.warmup_stable_decay(0.3, 0.3, 0, 90, 9) * 0.5,
        lambda step: 0.3 / (1.0 + step.astype(jnp.float32)),
    ):
        rate = funcopt.warmup(schedule, 20, shape, start)
        first = float(schedule(jnp.int32(0)))
        ramp = over(rate, np.arange(21))
        assert ramp[0] == np.float32(start)
        assert ramp[20] == first
        rises = np.diff(ramp) * np.sign(first - start)
        assert np.all(rises >= -2 * EPS * np.abs(ramp).max())
        after = [float(rate(20 + i)) for i in range(40)]
        assert after == [float(schedule(jnp.int32(i))) for i in range(40)]


def test_an_exponential_warm_up_multiplies_by_the_same_factor():
    ramp = over(funcopt.warmup(0.08, 30, "exponential", 0.01), np.arange(31))
    np.testing.assert_allclose(ramp[1:] / ramp[:-1], 8 ** (1 / 30), rtol=16 * EPS)


@pytest.mark.default_promotion
def test_a_schedule_that_listens_hears_nothing_while_it_warms_up():
    tx = funcopt.sgd(funcopt.warmup(funcopt.on_plateau(factor=0.5, patience=0), 3))
    params = jnp.ones(2)
    state = tx.init(params)
    rates = []
    for _ in range(7):
        _, state = tx.update(jnp.zeros(2), state, params, value=1.0)
        rates.append(float(funcopt.current_lr(state)))
    np.testing.assert_allclose(rates, [0, 1 / 3, 2 / 3, 1.0, 0.5, 0.25, 0.125], rtol=4 * EPS)
    assert tx == eval(repr(tx), vars(funcopt))


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: funcopt.warmup(None, 5), TypeError, ("warmup: schedule", "None")),
        (lambda: funcopt.warmup(0.1, -5), ValueError, ("warmup: steps", "from 0", "-5")),
        (lambda: funcopt.warmup(0.1, 5, "square"), ValueError, ("linear, exponential", "square")),
        (lambda: funcopt.warmup(0.1, 5, "1-sqrt"), ValueError, ("warmup: shape", "1-sqrt")),
        (
            lambda: funcopt.warmup_stable_decay(0.0, 1.0, 60, 100, 50),
            ValueError,
            ("warmup_steps=60", "cooldown_steps=50", "total_steps=100"),
        ),
        (
            lambda: funcopt.warmup_stable_decay(0.0, 1.0, 6, 100, 0),
            ValueError,
            ("cooldown_steps", "from 1", "0"),
        ),
        (
            lambda: funcopt.warmup_stable_decay(0.0, 1.0, 6, 100, 10, shape="sqrt"),
            ValueError,
            ("warmup_stable_decay: shape", "1-sqrt", "'sqrt'"),
        ),
        (
            lambda: funcopt.knee_schedule(1.0, 90, 100, 10),
            ValueError,
            ("warmup_steps=10", "explore_steps=90", "total_steps=100"),
        ),
        (
            lambda: funcopt.inverse_sqrt_schedule(1.0, 0),
            ValueError,
            ("inverse_sqrt_schedule: warmup_steps", "from 1", "0"),
        ),
        (lambda: funcopt.noam_schedule(0, 10), ValueError, ("noam_schedule: model_size", "> 0")),
        (
            lambda: funcopt.power_schedule(0.1, -1.0),
            ValueError,
            ("power_schedule: scale", "> 0", "-1.0"),
        ),
        (lambda: funcopt.linear_to_zero(1.0, -3), ValueError, ("total_steps", "from 1", "-3")),
        (lambda: funcopt.rex_schedule(1.0, 0.5), ValueError, ("transition_steps", "0.5")),
        (
            lambda: funcopt.tanh_schedule(1.0, 10, 0.0, 3.0, -6.0),
            ValueError,
            ("lower=3.0", "upper=-6.0"),
        ),
        (
            lambda: funcopt.chebyshev_schedule(0.1, 1.0, 12),
            ValueError,
            ("cycle_steps", "power of two", "12"),
        ),
        (
            lambda: funcopt.chebyshev_schedule(1.0, 0.1, 16),
            ValueError,
            ("min_value=1.0", "max_value=0.1"),
        ),
        (
            lambda: funcopt.cosine_restarts(1.0, 10, 1.5),
            ValueError,
            ("cosine_restarts: multiplier", "integer", "1.5"),
        ),
        (lambda: funcopt.cosine_restarts(1.0, 10, 0), ValueError, ("multiplier", "0")),
        (
            lambda: funcopt.sgdr_schedule([CYCLES[0], {**CYCLES[0], "warmup_steps": 200}]),
            ValueError,
            ("sgdr_schedule: cosine_kwargs[1]", "warmup_steps=200", "decay_steps=100"),
        ),
        (
            lambda: funcopt.sgdr_schedule([{**CYCLES[0], "steps": 3}]),
            TypeError,
            ("sgdr_schedule: cosine_kwargs[0]", "'steps'", "decay_steps"),
        ),
        (lambda: funcopt.sgdr_schedule([]), TypeError, ("cosine_kwargs", "list of dicts")),
        (lambda: funcopt.sgdr_schedule(CYCLES[0]), TypeError, ("cosine_kwargs", "list of dicts")),
        (
            lambda: funcopt.cosine_wave(1.0, 0.0, np.array([8, 2**30])),
            ValueError,
            ("twice half_period", "at most 2147483647"),
        ),
        (
            lambda: funcopt.cyclic_schedule(0.0, 1.0, 10, mode="square"),
            ValueError,
            ("cyclic_schedule: mode", "triangular2", "'square'"),
        ),
        (
            lambda: funcopt.cyclic_schedule(0.0, 1.0, 10, 0),
            ValueError,
            ("cyclic_schedule: down_steps", "from 1", "0"),
        ),
        (
            lambda: funcopt.cyclic_schedule(0.0, 1.0, np.array([8, 2**30]), 2**30),
            ValueError,
            ("up_steps and down_steps together", "at most 2147483647"),
        ),
        (
            lambda: funcopt.cosine_onecycle_schedule(100, 1.0, 1.3),
            ValueError,
            ("pct_start", "[0, 1]", "1.3"),
        ),
        (
            lambda: funcopt.linear_onecycle_schedule(100, 1.0, 0.5, 0.3),
            ValueError,
            ("pct_start=0.5", "pct_final=0.3"),
        ),
        (
            lambda: funcopt.onecycle_schedule(1.0, 100, 0.6, three_phase=True),
            ValueError,
            ("pct_start=0.6", "at most 0.5"),
        ),
        (lambda: funcopt.onecycle_schedule(1.0, 1), ValueError, ("total_steps", "from 2", "1")),
        (
            lambda: funcopt.onecycle_schedule(1.0, 100, shape="cos"),
            ValueError,
            ("onecycle_schedule: shape", "cosine, linear", "'cos'"),
        ),
        (
            lambda: funcopt.schedule_from_points({}),
            TypeError,
            ("schedule_from_points: points", "one entry at least", "{}"),
        ),
        (
            lambda: funcopt.schedule_from_points({-1: 0.1}),
            ValueError,
            ("points: a step", "from 0", "-1"),
        ),
        (
            lambda: funcopt.schedule_from_points({1: math.inf}),
            ValueError,
            ("points[1]", "finite", "inf"),
        ),
        (
            lambda: funcopt.piecewise_interpolate_schedule("cubic", 1.0),
            ValueError,
            ("interpolate_type", "linear, cosine", "'cubic'"),
        ),
        (
            lambda: funcopt.piecewise_interpolate_schedule("linear", 1.0, {5: -0.5}),
            ValueError,
            ("boundaries_and_scales[5]", ">= 0", "-0.5"),
        ),
        (
            lambda: funcopt.multistep_decay(1.0, [30, 10]),
            ValueError,
            ("multistep_decay: milestones", "increase", "[30, 10]"),
        ),
        (lambda: funcopt.multistep_decay(1.0, 30), TypeError, ("milestones", "list", "30")),
        (lambda: funcopt.step_decay(1.0, 0), ValueError, ("step_decay: step_size", "from 1", "0")),
    ],
)
def test_bad_arguments_are_refused_by_name(make, kind, words):
    with pytest.raises(kind) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


def gallery():
    """Every schedule that docs/make_gallery.py draws, as a value."""
    place = Path(__file__).parents[1] / "docs" / "make_gallery.py"
    spec = importlib.util.spec_from_file_location("make_gallery", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entries = [entry for group in module.GALLERY for entry in group.entries]
    return [eval(entry.calls[0], dict(vars(funcopt))) for entry in entries]


@pytest.mark.parametrize(
    "make",
    [
        lambda warm: funcopt.warmup_cosine_decay_schedule(0.0, 1.0, warm, 30),
        lambda warm: funcopt.warmup_stable_decay(0.0, 1.0, warm, 30, 5),
        lambda warm: funcopt.knee_schedule(1.0, 5, 30, warm),
        lambda warm: funcopt.sgdr_schedule(
            [{**CYCLES[0], "decay_steps": 30, "warmup_steps": warm}]
        ),
    ],
    ids=["warmup_cosine", "wsd", "knee", "sgdr"],
)
def test_a_warm_up_that_outlasts_the_run_is_refused(make):
    """Also where only one setting of a sweep has it, which is an array of lengths then."""
    make(20)
    for warm in (31, np.array([20, 31])):
        with pytest.raises(ValueError, match=r"warmup_steps=.*31.*30"):
            make(warm)


# -- the gallery ----------------------------------------------------------------------------------


def test_the_gallery_shows_every_schedule():
    """With its picture; `docs/make_gallery.py` draws them."""
    page = (Path(__file__).parents[1] / "docs" / "schedules.md").read_text()
    pictures = Path(__file__).parents[1] / "docs"
    factories = [
        name
        for name, there in vars(funcopt.schedules).items()
        if inspect.isfunction(there) and name in funcopt.schedules.__all__ and name != "schedule"
    ]
    assert len(factories) > 40
    for name in factories:
        assert f"`{name}(" in page or f"`schedules.{name}(" in page
        drawn = (pictures / "images" / "schedules" / f"{name}.svg").read_text()
        background = drawn[drawn.index('id="patch_1"') :].partition("</g>")[0]
        assert "fill: #ffffff" in background  # black axes vanish on a dark page
