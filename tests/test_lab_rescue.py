"""Tasks on which training breaks are what they say, and a rescue counts what happened."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
import funcopt_cli
from funcopt.lab import get_task
from funcopt.lab.problems.recurrent import network, rnn_temporal_order, spectral_radius
from funcopt.lab.problems.tasks import stacked_tanh
from funcopt.lab.problems.traps import cliff_loss
from funcopt.lab.rescues.rescue import path, rescue, run, training
from funcopt.lab.rescues.treatments import (
    CASES,
    get_case,
    levels,
    never_spikes,
    reaches,
    treatments,
)
from funcopt.lab.terminal import commands


def test_recurrent_weights_have_the_spectral_radius_asked_for():
    matrix = np.random.default_rng(0).normal(size=(32, 32))
    largest = np.abs(np.linalg.eigvals(matrix)).max()
    found = jax.jit(spectral_radius)(jnp.asarray(matrix, jnp.float32))
    assert float(found) == pytest.approx(largest, 2e-3)
    init = jax.jit(lambda key: network(key, 6, 4, 1.2)["recurrent"])
    weights = np.asarray(init(jax.random.key(0)), np.float64)
    assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(1.2, 2e-3)


def test_the_answer_of_the_adding_problem_is_the_sum_of_the_two_marked():
    task = get_task("rnn_adding")
    sequences, sums = (np.asarray(x) for x in jax.jit(task.sample)(jax.random.key(0), 3))
    numbers, marks = sequences[..., 0], sequences[..., 1]
    length = task.settings["length"]
    for row, (values, marked) in enumerate(zip(numbers, marks, strict=True)):
        places = np.flatnonzero(marked)
        assert len(places) == 2
        assert places[0] < length // 2 <= places[1]
        assert sums[row] == pytest.approx(values[places].sum(), 1e-6)
    assert task.chance == pytest.approx(2 * 1 / 12)  # the variance of two uniform numbers


def test_the_label_of_temporal_order_is_the_order():
    length = 30
    draw = jax.jit(jax.vmap(rnn_temporal_order(length).sample, in_axes=(None, 0)))
    sequences, labels = (np.asarray(x) for x in draw(jax.random.key(0), jnp.arange(20)))
    symbols, labels = sequences.reshape(-1, length, 6).argmax(axis=-1), labels.ravel()
    for row, label in zip(symbols, labels, strict=True):
        places = np.flatnonzero(row < 2)
        assert len(places) == 2
        assert 3 <= places[0] < 6
        assert 15 <= places[1] < 18
        assert label == 2 * row[places[0]] + row[places[1]]
    assert set(labels) == {0, 1, 2, 3}
    assert set(np.unique(symbols)) == set(range(6))


def test_the_cliff_is_the_network_of_one_unit():
    def loss(w, b):
        x = 0.5
        for _ in range(50):
            x = w / (1 + np.exp(-x)) + b
        return (1 / (1 + np.exp(-x)) - 0.7) ** 2

    slopes = jax.jit(jax.value_and_grad(cliff_loss, argnums=(0, 1)))
    for w, b in ((4.0, -1.9), (5.0, -2.4), (5.0, -2.7)):
        value, (along_w, along_b) = slopes(jnp.float32(w), jnp.float32(b))
        assert float(value) == pytest.approx(loss(w, b), 1e-4)
        h = 1e-6
        assert float(along_w) == pytest.approx((loss(w + h, b) - loss(w - h, b)) / 2 / h, 1e-3)
        assert float(along_b) == pytest.approx((loss(w, b + h) - loss(w, b - h)) / 2 / h, 1e-3)
    below, above = -2.7, -2.6  # the wall is between
    while above - below > 1e-7:
        middle = (below + above) / 2
        below, above = (middle, above) if loss(5.0, middle) > 0.2 else (below, middle)
    assert (loss(5.0, below) - loss(5.0, above)) / (above - below) > 1e3
    assert 0.3 < loss(5.0, -3.0) < 0.49
    assert loss(5.0, 2.0) == pytest.approx(0.09, 0.05)


def test_nothing_arrives_at_the_first_of_many_layers_unless_weights_keep_variances():
    plain, kept = stacked_tanh(20), stacked_tanh(20, scale=None)

    @jax.jit
    def share(params):
        grads = jax.grad(plain.loss)(params, plain.sample(jax.random.key(1), jnp.int32(0)))
        first, last = (jnp.linalg.norm(grads[name]["bias"]) for name in ("first", "last"))
        return first / last

    assert share(plain.init(jax.random.key(0))) < 1e-3
    assert share(kept.init(jax.random.key(0))) > 0.1


def test_success_is_the_level_at_the_end_and_a_step_the_first_at_the_target():
    losses = np.array([[4.0, 1, 1, 1, 1, 1], [4, 1, 1, 4, 4, 4], [1, 1, np.nan, 1, 1, 1],
                       [4, 4, 4, 4, 1, 1]])  # fmt: skip
    np.testing.assert_allclose(levels(losses, 2)[0], [4, 2.5, 1, 1, 1, 1])
    found = reaches(1.0)(losses, 2)
    assert found.solved.tolist() == [True, False, False, True]
    assert found.step.tolist() == [3, 3, 2, 6]


def test_a_spike_is_a_thousand_times_where_the_loss_had_settled():
    calm = np.r_[1.0, np.full(99, 1e-6)]
    spiky, slow, lost = calm.copy(), calm.copy(), calm.copy()
    spiky[60], lost[70] = 2e-3, np.nan
    slow[50:] = np.geomspace(1e-6, 1, 50)
    found = never_spikes(np.array([calm, spiky, slow, lost]), 5)
    assert found.solved.tolist() == [True, False, False, False]
    assert found.step[0] == np.inf
    assert found.step[[1, 3]].tolist() == [61, 71]
    assert 70 < found.step[2] < 85


def numpy_adam(start, noise, b1=0.9, b2=0.999, rate=0.1, eps=1e-8):
    """Losses and the log of g²/v̂ of Adam on x²/2 with noise in its gradient, in float64."""
    x, m, v, losses, lags = float(start), 0.0, 0.0, [], []
    for t, xi in enumerate(noise.tolist(), start=1):
        g = x - xi
        losses.append(0.5 * g**2)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        corrected = v / (1 - b2**t)
        lags.append(np.log(g * g / corrected))
        x -= rate * m / (1 - b1**t) / (np.sqrt(corrected) + eps)
    return np.array(losses), np.array(lags)


def test_adam_spikes_on_a_parabola_long_after_its_second_moment_lags_behind():
    """And so does a transcription of Adam in float64, at the same step; b2=0.9 does not."""
    task, steps = get_task("spike"), 9000
    program = training(task, lambda b2: funcopt.adam(0.1, b2=b2), steps)
    decays = np.array([0.999, 0.9])
    (losses, *_), _ = run(program, np.array([1, 1]), decays)
    outcome = never_spikes(losses, steps // 20)
    assert outcome.solved.tolist() == [False, True]
    assert losses[0, 1000:].max() > 1e6 * np.median(losses[0, 1000:4000])

    start, data = jax.random.split(jax.random.key(jnp.uint32(1)))
    noise = np.asarray(jax.jit(jax.vmap(task.sample, (None, 0)))(data, jnp.arange(steps)))
    expected, lags = numpy_adam(task.init(start)["x"], noise.astype(np.float64))
    spike = never_spikes(expected[None], steps // 20).step[0]
    assert outcome.step[0] == pytest.approx(spike, rel=0.02)
    alarm = 100 + np.argmax(np.convolve(lags, np.full(50, 0.02), "valid")[50:] < -4)
    assert alarm < spike - 20


@pytest.mark.parametrize("name", CASES)
def test_every_case_tries_what_it_should(name):
    case = get_case(name)
    found = [treatment.name for treatment in treatments(case, case.optimizer)]
    assert found[:3] == ["no treatment", "clip", "AGC"]
    assert "guard" in found
    assert ("adam" in found) == ("clip + adam" in found) == (case.optimizer == "sgd")
    counts = {len(treatment.rates) for treatment in treatments(case, case.optimizer)}
    assert len(counts) == 1
    other = [treatment.name for treatment in treatments(case, "lion")]
    assert "adam" not in other


def test_a_clip_follows_the_wall_and_sgd_is_thrown_away():
    plain, clip = treatments(get_case("cliff"), "sgd")[:2]
    ways = [path(treatment, 0, 3.0, 100) for treatment in (plain, clip)]
    thrown, follows = (np.linalg.norm(np.diff(way, axis=0), axis=1).max() for way in ways)
    assert follows <= 3.0 * 0.1 * 1.001
    assert thrown > 3


@functools.cache
def rescued():
    return rescue("cliff", lrs="1", seeds=range(3), steps=100, quick=True)


@pytest.mark.default_promotion
def test_a_rescue_counts_what_happened():
    found = rescued()
    plain, clip = found.runs[:2]
    assert [plain.name, clip.name] == ["no treatment", "clip"]
    assert clip.solved.sum() > plain.solved.sum()
    np.testing.assert_array_equal(clip.clipped, clip.norms > np.float32(0.1))
    assert not plain.clipped.any()
    np.testing.assert_array_equal(plain.losses[:, 0], clip.losses[:, 0])  # the same starts
    np.testing.assert_array_equal(clip.solved, clip.losses[:, -5:].mean(axis=1) <= 0.01)
    adam = next(run for run in found.runs if run.name == "adam")
    assert adam.rate in adam.rates
    assert found.best.solved.sum() == max(run.solved.sum() for run in found.runs)

    summary = found.summary()
    json.dumps(summary, allow_nan=False)
    assert [row["name"] for row in summary["treatments"]] == [run.name for run in found.runs]
    assert summary["untreated"]["rate"] == 1.0


def told(monkeypatch, found, *options):
    """What the command says of a rescue that is made already."""

    def plan(*_, **__):
        done = lambda progress: found  # noqa: E731
        done.description = lambda: "cliff"
        return done

    monkeypatch.setattr(commands, "prepared", plan)
    monkeypatch.setenv("COLUMNS", "80")
    return funcopt_cli.run(["health", "--task", "cliff", "--opt", "sgd", *options])


@pytest.mark.default_promotion
def test_the_command_prints_a_table_and_writes_a_picture(capsys, tmp_path, monkeypatch):
    found = rescued()
    assert told(monkeypatch, found, "--out", str(tmp_path)) == 0
    text = capsys.readouterr().out
    assert found.headline() in text
    assert max(map(len, text.split("\n\n")[2].splitlines())) <= 80
    row = next(line for line in text.splitlines() if line.startswith("clip  "))
    assert f"{int(found.runs[1].solved.sum())}/3" in row
    assert (tmp_path / "health_cliff.png").read_bytes()[:4] == b"\x89PNG"
    numbers = json.loads((tmp_path / "health_cliff.json").read_text())
    assert set(numbers["curves"]["runs"]) == {run.name for run in found.runs}
    lines = (tmp_path / "health_cliff.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * len(found.runs)


@pytest.mark.default_promotion
def test_an_interrupted_rescue_keeps_what_is_done(capsys, tmp_path, monkeypatch):
    found = dataclasses.replace(
        rescued(), runs=rescued().runs[:1], watched=None, paths={}, interrupted=True
    )
    assert told(monkeypatch, found, "--json", "--out", str(tmp_path)) == 130
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["interrupted"], len(answer["treatments"])) == (True, 1)
    assert all(Path(name).exists() for name in answer["files"])
    assert "Interrupted" in printed.err
    assert "interrupted after 1 of" in answer["headline"]
    assert "nothing that was tried" not in answer["headline"]
