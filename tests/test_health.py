"""Every verdict is given where something is wrong, and none where nothing is."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

import funcopt
from funcopt.lab.problems.tasks import get_task
from funcopt.monitoring.readings import in_depth
from funcopt.monitoring.thresholds import Thresholds
from funcopt.monitoring.verdict import in_words
from funcopt.monitoring.verdicts import _falling, _grown_slowly

pytestmark = pytest.mark.default_promotion  # the networks of the tests promote

TEACHER = np.random.default_rng(7).standard_normal((16, 10)).astype(np.float32)


def batch(key: Any, size: int = 32) -> Any:
    x = jax.random.normal(key, (size, 16))
    return x, jnp.argmax(x @ TEACHER, axis=1)


def network(depth: int, width: int, gain: float, seed: int = 0, bias: float = 0.0) -> Any:
    """Normal weights with a standard deviation of `gain`/√inputs."""
    sizes = [16, *[width] * (depth - 1), 10]
    keys = jax.random.split(jax.random.key(seed), depth)
    return [
        {"kernel": gain / m**0.5 * jax.random.normal(k, (m, n)), "bias": jnp.full(n, bias)}
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def loss_of(activation: Callable, params: Any, data: Any) -> Any:
    x, labels = data
    for layer in params[:-1]:
        x = activation(x @ layer["kernel"] + layer["bias"])
    logits = jax.nn.log_softmax(x @ params[-1]["kernel"] + params[-1]["bias"])
    return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], 1))


def relu(params, data):
    return loss_of(jax.nn.relu, params, data)


def tanh(params, data):
    return loss_of(jnp.tanh, params, data)


def trained(
    tx: Any, loss: Any, params: Any, steps: int, *, sample: Any = batch, fault: Any = None
) -> funcopt.Health:
    """`fault(step, value, grads)` may change what the optimizer gets, or is its factor of each
    step.
    """
    factors = jnp.ones(steps) if fault is None or callable(fault) else jnp.asarray(fault)
    change = fault if callable(fault) else None
    params, state = loop(tx, params, factors, loss=loss, sample=sample, change=change)
    return funcopt.health(state, params)


@functools.partial(jax.jit, static_argnames=("loss", "sample", "change"))
def loop(tx: Any, params: Any, factors: Any, *, loss: Any, sample: Any, change: Any) -> Any:
    """One program for all runs that differ in numbers only."""

    def body(carry, now):
        (params, state), (step, factor) = carry, now
        key = jax.random.fold_in(jax.random.key(3), step)
        value, grads = jax.value_and_grad(loss)(params, sample(key))
        grads = jax.tree.map(lambda g: factor * g, grads)
        if change is not None:
            value, grads = change(step, value, grads)
        return funcopt.step(tx, grads, state, params, value=value), None

    steps = jnp.arange(len(factors))
    return jax.lax.scan(body, (params, tx.init(params)), (steps, factors))[0]


def names(health: funcopt.Health) -> set[str]:
    return {verdict.name for verdict in health.verdicts}


def only(health: funcopt.Health, name: str) -> Any:
    """The one verdict, with evidence and advice."""
    assert names(health) == {name}, str(health)
    verdict = health.verdicts[0]
    assert verdict.evidence
    assert verdict.advice
    assert f"{name}" in str(health).splitlines()[0]
    return verdict


# -- gradients through depth ------------------------------------------------------------------


def test_exploding_at_the_first_step():
    """ReLU, 30 layers, 1.5 times He's standard deviation: before training and after one step."""
    params = network(30, 32, 1.5 * 2**0.5)
    first = funcopt.diagnose_init(relu, params, batch(jax.random.key(0)))
    verdict = only(first, "EXPLODING")
    assert verdict.severity == "alarm"
    assert len(verdict.layers) >= 15
    assert verdict.layers[0] == "0/bias"
    assert "initialisation" in verdict.advice
    assert names(trained(funcopt.monitor(funcopt.adam(1e-3)), relu, params, 1)) == {"EXPLODING"}


def test_vanishing_within_fifty_steps_names_the_first_layers():
    """The lab's 20 tanh layers, whose gradients shrink on the way to the first ones."""
    task = get_task("deep_tanh")
    params = task.init(jax.random.key(0))
    tx = funcopt.monitor(funcopt.sgd(0.1))
    health = trained(tx, task.loss, params, 50, sample=lambda key: task.sample(key, 0))
    verdict = only(health, "VANISHING")
    assert verdict.layers[0].startswith("0/")
    assert "19/kernel" not in verdict.layers
    assert verdict.value > verdict.threshold == Thresholds().depth_factor
    first = funcopt.diagnose_init(task.loss, params, task.sample(jax.random.key(1), 0))
    assert "0/bias" in only(first, "VANISHING").layers


def test_a_network_whose_every_gradient_has_vanished():
    """Weights that halve what passes: each layer gets the same, and none of it moves a weight."""
    keys = jax.random.split(jax.random.key(0), 25)
    params = [{"kernel": 0.5 / 4 * jax.random.normal(key, (16, 16))} for key in keys]

    def loss(params, data):
        x = data[0]
        for layer in params:
            x = jnp.tanh(x @ layer["kernel"])
        return jnp.mean((x - 1) ** 2)

    first = only(funcopt.diagnose_init(loss, params, batch(jax.random.key(1))), "VANISHING")
    last = only(trained(funcopt.monitor(funcopt.sgd(0.1)), loss, params, 31), "VANISHING")
    assert len(first.layers) == len(last.layers) == 25
    assert "million times smaller" in last.evidence
    assert last.since == 0


def given(norms: Any, values: Any = None, tx: Any = None) -> funcopt.Health:
    """What is said of steps with these gradient norms and losses."""
    params = {"w": jnp.ones((2, 2))}
    tx = funcopt.monitor(tx or funcopt.sgd(0.0))

    @jax.jit
    def loop(norms, values):
        def body(state, told):
            extra = {} if values is None else {"value": told[1]}
            grads = {"w": jnp.full((2, 2), 0.5 * told[0])}
            return tx.update(grads, state, params, **extra)[1], None

        return jax.lax.scan(body, tx.init(params), (norms, values))[0]

    return funcopt.health(loop(np.float32(norms), values), params)


def test_single_steps_that_dwarf_the_usual_one():
    """Where norms vary much they are no outliers: told if the loss rises, or if they are huge."""
    norms = np.exp(np.clip(0.9 * np.random.default_rng(0).standard_normal(100), -1.5, 1.5))
    norms[60] = 20.0
    steady, risen = np.ones(100, np.float32), np.where(np.arange(100) > 60, 2, 1).astype("f4")
    assert given(norms, steady).verdict == "healthy"
    small = np.where(np.arange(100) > 1, 1e-3 * risen, 1).astype("f4")
    assert given(norms, small).verdict == "healthy"
    verdict = only(given(norms, risen), "EXPLODING")
    assert (verdict.severity, verdict.since) == ("alarm", 60)
    assert "the loss went from 1 to 2" in verdict.evidence
    assert only(given(norms[:72], risen[:72]), "EXPLODING").severity == "alarm"
    clip = funcopt.chain(funcopt.clip_by_global_norm(2.0), funcopt.sgd(0.0))
    assert given(norms, risen, clip).verdict == "healthy"
    norms[60] = 60.0
    assert only(given(norms), "EXPLODING").severity == "warning"


def test_what_was_told_is_told_until_it_is_gone_for_good():
    """With the step since when, and by a laxer threshold than the one that it had crossed."""
    params = network(4, 16, 2**0.5)
    params[2]["bias"] = jnp.where(jnp.arange(16) < 13, -30.0, 0.0)
    tx = funcopt.monitor(funcopt.sgd(0.0))
    state = tx.init(params)
    grads = jax.grad(relu)(params, batch(jax.random.key(0)))
    for _ in range(3):
        _, state = tx.update(grads, state, params)

    def dying(share: float, before: Any = None) -> list[int | None]:
        limits = dataclasses.replace(Thresholds(), dying=share)
        health = funcopt.health(state, params, limits, before=before)
        return [verdict.since for verdict in health.verdicts if verdict.name == "DYING"]

    told = funcopt.health(state, params)
    assert dying(0.7) == [None]
    told = funcopt.health(state, params, before=told)
    assert dying(0.7, told) == [3]
    assert dying(0.95) == []
    assert dying(0.95, told) == [3]
    assert dying(1.1, told) == []


def test_dead_units():
    """A bias of -30 switches a layer of ReLU units off, and everything before it."""
    params = network(4, 16, 2**0.5)
    params[2]["bias"] -= 30
    health = trained(funcopt.monitor(funcopt.sgd(0.01)), relu, params, 31)
    dead = only(health, "DEAD")
    assert {"0/kernel", "1/kernel", "2/kernel", "2/bias"} <= set(dead.layers)
    assert "3/bias" not in dead.layers
    first = funcopt.diagnose_init(relu, params, batch(jax.random.key(0)))
    assert set(only(first, "DEAD").layers) == set(dead.layers)

    params = network(4, 16, 2**0.5)
    params[2]["bias"] = jnp.where(jnp.arange(16) < 13, -30.0, 0.0)
    dying = next(
        v
        for v in funcopt.diagnose_init(relu, params, batch(jax.random.key(0))).verdicts
        if v.name == "DYING"
    )
    assert "2/bias" in dying.layers
    assert dying.value >= 13 / 16


def test_sparse_layers_are_not_dead():
    """An embedding of which a batch touches few rows."""
    params = {"embed": jnp.zeros((4000, 2)) + 0.1, "out": jnp.ones((2, 1))}

    def loss(params, rows):
        return jnp.mean((params["embed"][rows] @ params["out"] - 1.0) ** 2)

    health = trained(
        funcopt.monitor(funcopt.adam(1e-3), sample=10_000), loss, params, 41,
        sample=lambda key: jax.random.randint(key, (3,), 0, 4000),
    )  # fmt: skip
    assert health.readings.latest["zero"][0] > 0.999
    assert health.verdict == "healthy"


def test_saturated_units():
    """tanh far out where it is flat. Means over a batch hide it; single examples do not."""
    params = network(4, 32, 100.0)
    params[-1]["kernel"] /= 100
    health = trained(funcopt.monitor(funcopt.sgd(1e-4)), tanh, params, 31,
                     sample=lambda key: batch(key, 8))  # fmt: skip
    assert "SATURATED" in names(health)
    first = funcopt.diagnose_init(tanh, params, batch(jax.random.key(0)))
    assert "0/kernel" in only(first, "SATURATED").layers


# -- the optimizer ----------------------------------------------------------------------------


def test_a_stale_second_moment_is_told_before_the_spike():
    """Adam on x²/2 (https://arxiv.org/abs/2506.04805): v decays, steps grow, and then it jumps."""

    def loss(params, data):
        del data
        return 0.5 * jnp.sum(params["x"] ** 2)

    start = {"x": jnp.full(1, 1e8)}

    def verdicts_and_norms(steps, b2):
        health = trained(funcopt.monitor(funcopt.adam(1e7, b2=b2)), loss, start, steps)
        return names(health), health.readings.last.scalars["grad_norm"]

    told, _ = verdicts_and_norms(905, 0.99)
    assert told == {"STALE SECOND MOMENT"}
    _, norms = verdicts_and_norms(980, 0.99)
    # The norm has been lower by ten decades, and comes back to near where it began.
    spike = 980 - len(norms) + int(np.argmax(norms > 1e4))
    assert norms.min() < 1e-3
    assert spike - 905 >= 20
    assert verdicts_and_norms(905, 0.9)[0] == set()


def test_slow_growth_is_seen_over_the_whole_run():
    """log10 of norms, 32 records with noise: level, falling, growing tenfold, never finite."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(32)
    run = np.linspace(0, 1, 32)
    grad = np.stack([noise, noise - run, noise + run, np.full(32, np.inf)], axis=1)
    assert _grown_slowly(grad, 10.0).tolist() == [False, False, True, False]
    assert not _grown_slowly(grad[:7], 10.0).any()


def test_a_rate_that_falls_calms_steps_that_grow():
    assert _falling(np.linspace(1.0, 0.9, 128))
    assert not _falling(np.linspace(1.0, 0.99, 128))
    assert not _falling(np.linspace(0.1, 1.0, 128))
    assert not _falling(np.full(5, np.nan))


def test_factors_are_for_people():
    told = [in_words(x) for x in (1.26, 61.2, 1299.0, 74e6, 3.2e14, np.inf)]
    assert told == ["1.3", "61", "1,300", "74 million", "10¹⁵", "inf"]


def test_eps_dominated():
    """Gradients far below eps, as of a loss that is scaled down."""
    tx = funcopt.monitor(funcopt.adam(1e-3))
    params = network(3, 16, 2**0.5)
    health = trained(tx, lambda p, data: 1e-9 * relu(p, data), params, 31)
    assert len(only(health, "EPS-DOMINATED").layers) == 6


def test_lost_updates():
    """bfloat16 parameters and steps of a ten-thousandth of them."""
    params = jax.tree.map(lambda x: (x + 1).astype(jnp.bfloat16), network(3, 16, 2**0.5))
    tx = funcopt.monitor(funcopt.adam(1e-4))
    verdict = only(trained(tx, relu, params, 31), "LOST UPDATES")
    assert verdict.severity == "alarm"
    assert "master_weights(...)" in verdict.advice
    kept = funcopt.monitor(funcopt.master_weights(funcopt.adam(1e-4)))
    assert "LOST UPDATES" not in names(trained(kept, relu, params, 31))
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    assert "LOST UPDATES" not in names(trained(tx, relu, wide, 31))
    tiny = only(trained(funcopt.monitor(funcopt.sgd(1e-9)), relu, wide, 31), "LOST UPDATES")
    assert "larger rate" in tiny.advice


def scaled_at(steps: tuple[int, ...], factor: float, length: int = 150) -> Any:
    return np.where(np.isin(np.arange(length), steps), factor, 1.0).astype(np.float32)


def test_what_happens_to_whole_steps():
    """Clipped too often, skipped, spikes, not finite: one network, one program each."""
    params = network(3, 16, 2**0.5)
    clip = funcopt.chain(funcopt.clip_by_global_norm(1e-3), funcopt.sgd(0.01))
    assert only(trained(funcopt.monitor(clip), relu, params, 150), "CLIPPING TOO OFTEN").value == 1

    guarded = funcopt.monitor(funcopt.guard(funcopt.sgd(0.01)))
    spikes = trained(guarded, relu, params, 150, fault=scaled_at((60, 90, 120), 1e4))
    assert names(spikes) == {"SPIKES"}
    assert "step 120" in spikes.verdicts[0].evidence

    nan = trained(guarded, relu, params, 150, fault=scaled_at((140,), np.nan))
    verdict = only(nan, "NONFINITE")
    assert "step 140" in verdict.evidence
    assert "0/bias" in verdict.evidence

    often = tuple(range(22, 150, 5))
    skipped = trained(guarded, relu, params, 150, fault=scaled_at(often, np.inf))
    assert names(skipped) == {"NONFINITE", "STEPS SKIPPED"}

    broken = trained(funcopt.monitor(funcopt.adam(1e-3)), relu, params, 150,
                     fault=scaled_at((50,), np.nan))  # fmt: skip
    assert names(broken) == {"NONFINITE", "NONFINITE STATE"}
    shut = funcopt.monitor(funcopt.chain(funcopt.clip_by_global_norm(0.0), funcopt.sgd(0.01)))
    assert "STUCK" in names(trained(shut, relu, params, 150))
    poisoned = trained(funcopt.monitor(funcopt.sgd(0.01, momentum=0.9)), relu, params, 150,
                       fault=scaled_at((50,), np.nan))  # fmt: skip
    assert {"NONFINITE", "NONFINITE STATE"} <= names(poisoned)
    # Decay holds weights near 1/3, and each step is 0.1 and more.
    lion = funcopt.monitor(funcopt.lion(0.1, weight_decay=3.0))
    large = trained(lion, relu, params, 110)
    assert "STEPS TOO LARGE" in names(large)


# -- no false alarms --------------------------------------------------------------------------

HEALTHY = {
    "digits": {
        "adamw": funcopt.guard(
            funcopt.chain(
                funcopt.clip_by_global_norm(5.0),
                funcopt.adamw(funcopt.warmup_cosine_decay_schedule(0.0, 3e-3, 30, 400)),
            )
        ),
        "adam95": funcopt.adam(3e-3, b2=0.95),
        "rmsprop": funcopt.rmsprop(1e-3),
        "accumulate": funcopt.accumulate(funcopt.adam(3e-3), every=4),
    },
    "logistic_digits": {"lion": funcopt.lion(3e-3)},
    "linear_regression": {
        "adam": funcopt.adam(3e-2),
        "sgd": funcopt.sgd(0.1),
    },
}
# One of each task, and the others in `.ci/run`.
RUNS = [
    pytest.param(task, name, marks=[pytest.mark.every_row] if i else [])
    for task, each in HEALTHY.items()
    for i, name in enumerate(each)
]


@pytest.mark.parametrize(("task", "name"), RUNS)
def test_healthy_runs_are_healthy(task, name):
    """Three seeds of the lab's tasks, looked at early, in the middle and at the end."""
    task, tx = get_task(task), funcopt.monitor(HEALTHY[task][name])

    @jax.jit
    def part(params, state, steps, key):
        def body(carry, step):
            params, state = carry
            data = task.sample(key, step)
            value, grads = jax.value_and_grad(task.loss)(params, data)
            return funcopt.step(tx, grads, state, params, value=value), None

        return jax.lax.scan(body, (params, state), steps)[0]

    for seed in range(3):
        key = jax.random.key(seed)
        params = task.init(key)
        state = tx.init(params)
        for start in range(0, 400, 50):
            params, state = part(params, state, start + jnp.arange(50), key)
            health = funcopt.health(state, params)
            assert health.verdict == "healthy", f"seed {seed}, step {start + 50}\n{health}"
        assert funcopt.diagnose_init(
            task.loss, task.init(key), task.sample(key, 0)
        ).verdict == "healthy"  # fmt: skip


# -- the report -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exploded() -> funcopt.Health:
    return funcopt.diagnose_init(relu, network(60, 16, 2.2), batch(jax.random.key(0)))


@pytest.fixture(scope="module")
def eventful() -> funcopt.Health:
    clip = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adamw(1e-3))
    return trained(
        funcopt.monitor(funcopt.guard(clip)), relu, network(3, 16, 2**0.5), 200,
        fault=scaled_at((60, 90, 120), 1e4, 200),
    )  # fmt: skip


@pytest.mark.parametrize("which", ["exploded", "eventful"])
def test_the_text_fits_a_terminal(which, request):
    health = request.getfixturevalue(which)
    text = str(health)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 64
    assert lines[0].startswith(health.verdict.upper())
    for verdict in health.verdicts:
        assert verdict.name in text
        assert "try: " in text
    assert repr(health).startswith("<Health ")
    page, picture = health._repr_html_().split("</pre>")
    assert page.startswith("<pre")
    assert re.sub(r"<[^>]*>", "", page).count("\n") == text.count("\n")
    assert picture.startswith('<svg role="img" aria-label="')
    assert len(repr(health.readings)) < 100


def test_the_head_has_the_numbers_of_the_last_step(eventful):
    head = str(eventful).split("layer ")[0]
    for word in ("loss", "lr 0.001", "|grad|", "clipped", "2 skipped"):
        assert word in head


def test_the_table_has_a_line_for_each_layer(eventful):
    console = rich.console.Console(file=io.StringIO(), width=80)
    console.print(eventful.table())
    printed = console.file.getvalue()
    for layer in eventful.readings.layers:
        assert f"{layer} " in printed


def test_the_dict_is_flat_and_finite(eventful, exploded):
    for health in (eventful, exploded):
        flat = health.to_dict()
        assert all(isinstance(x, float) and np.isfinite(x) for x in flat.values())
        assert all(name.startswith("health/") for name in flat)
    flat = eventful.to_dict("run/")
    assert flat["run/verdict/spikes"] == 0.5
    assert flat["run/lr"] == pytest.approx(1e-3)
    assert flat["run/steps"] == 200
    assert flat["run/update_ratio/0/kernel"] == pytest.approx(
        flat["run/update_norm/0/kernel"] / flat["run/param_norm/0/kernel"]
    )
    assert exploded.to_dict()["health/verdict/exploding"] == 1.0


def test_the_picture(eventful, exploded, tmp_path):
    """Layers over time, steps beside weights, and the norm with what happened."""
    figure = eventful.plot()
    heat, ratio, norm = figure.axes[:3]
    assert [label.get_text() for label in heat.get_yticklabels()] == list(eventful.readings.layers)
    assert heat.collections[0].get_array().shape == (6, len(eventful.readings.run.step))
    assert len(ratio.lines) == 1 + sum(eventful.readings.ndims >= 2)
    told = set(norm.get_legend_handles_labels()[1])
    assert told == {"whole run", "last steps", "spike", "clipped"}
    for i, each in enumerate((eventful, exploded)):
        path: Path = tmp_path / f"{i}.png"
        each.plot().savefig(path)
        assert path.stat().st_size > 10_000


def test_the_guide_has_every_verdict_and_threshold():
    root = Path(__file__).parents[1]
    monitoring = root / "funcopt" / "monitoring"
    source = "".join((monitoring / name).read_text() for name in ("verdicts.py", "vanishing.py"))
    guide = (root / "docs" / "health.md").read_text()
    given = set(re.findall(r'HealthVerdict\(\s*"([A-Z -]+)"', source))
    assert len(given) >= 14
    rows = {name for row in re.findall(r"^\| ([A-Z][A-Z ,-]+) \|", guide, re.MULTILINE)
            for name in row.split(", ")}  # fmt: skip
    assert rows == given
    for field in dataclasses.fields(Thresholds):
        assert guide.count(f"`{field.name}`") >= 2


def test_layers_are_in_the_order_of_their_numbers():
    order, series = in_depth([f"layers/{i}/{x}" for i in (0, 1, 10, 11, 2) for x in "ab"])
    assert [list(row) for row in series] == [[0, 2, 8, 4, 6], [1, 3, 9, 5, 7]]
    assert list(order) == [0, 1, 2, 3, 8, 9, 4, 5, 6, 7]


def test_health_says_what_it_cannot_read():
    params = {"w": jnp.ones(2)}
    tx = funcopt.monitor(funcopt.sgd(0.1))
    state = tx.init(params)
    assert funcopt.health(state, params).verdict == "nothing was measured yet"
    assert "NOTHING WAS MEASURED" in str(funcopt.health(state, params))
    with pytest.raises(ValueError, match="no monitor in it"):
        funcopt.health(funcopt.sgd(0.1).init(params), params)
    with pytest.raises(ValueError, match="2 monitors"):
        funcopt.health((state, state), params)
    with pytest.raises(ValueError, match="parameters that the state was made for"):
        funcopt.health(state, {"w": jnp.ones(2), "b": jnp.ones(2)})
    quiet = dataclasses.replace(Thresholds(), dead=2.0)
    dead = trained(tx, lambda p, data: 0.0 * jnp.sum(p["w"]), params, 31)
    assert names(dead) == {"DEAD"}
    assert funcopt.health(state, params, quiet).thresholds.dead == 2.0
