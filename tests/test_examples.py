"""The examples run as they stand and arrive where they say."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

import funcopt

EXAMPLES = Path(__file__).parents[1] / "examples"
LINEAR_REGRESSION = EXAMPLES / "linear_regression.py"
HYPERGRADIENT = EXAMPLES / "hypergradient.py"
POPULATION = EXAMPLES / "population.py"
EXPLODING = EXAMPLES / "exploding_rnn.py"
VANISHING = EXAMPLES / "vanishing_deep_net.py"
NETWORKS = sorted(
    set(EXAMPLES.glob("*.py"))
    - {LINEAR_REGRESSION, HYPERGRADIENT, POPULATION, EXPLODING, VANISHING}
)

pytestmark = pytest.mark.default_promotion


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_network_learns_the_curve(path, capsys):
    loss = runpy.run_path(str(path))["main"]()

    x = np.linspace(-1, 1, 256)
    y = np.sin(6 * x)
    cubic = np.mean((np.polyval(np.polyfit(x, y, 3), x) - y) ** 2)
    # A network that has learnt one wave only does no better than the best cubic.
    assert loss < 0.1 * cubic
    assert f"loss {loss:.5f}" in capsys.readouterr().out


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_network_example_is_short(path):
    assert len(path.read_text().splitlines()) < 60


def test_linear_regression(tmp_path, capsys):
    module = runpy.run_path(str(LINEAR_REGRESSION))
    results = module["main"](["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert (tmp_path / "linear_regression.png").stat().st_size > 10_000

    arrived = {}
    for problem, answer, runs in results:
        x, y = problem.train
        design = np.stack([x, np.ones_like(x)], axis=1)
        np.testing.assert_allclose(answer, np.linalg.lstsq(design, y)[0][0], rtol=1e-9)
        for run in runs:
            assert f"  {run.name:<20} {run.slopes[-1]:>8.4f} {answer:>12.4f}" in printed
            arrived[problem.name, run.name] = abs(run.slopes[-1] - answer) <= 0.01 * abs(answer)
            says = module["verdict"](run, answer)
            assert f"  {says}\n" in printed
            assert (says == "converged") == arrived[problem.name, run.name]
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    assert "+ -" not in printed
    assert "raise the rate to" in printed

    line = "y = 2x + noise"
    assert arrived[line, "AdaGrad 0.1"]
    assert arrived[line, "RMSprop 0.01"]
    assert not arrived[line, "Adam 0.001"]
    adam = next(run for run in results[0].runs if run.name == "Adam 0.001")
    np.testing.assert_allclose(np.diff(adam.slopes)[:100], 0.001, rtol=0.05)
    assert abs(adam.slopes[-1]) <= adam.rates.sum()


def test_hypergradients_improve_rate_decay_and_betas(capsys):
    before, after, tx = runpy.run_path(str(HYPERGRADIENT))["main"]()
    printed = capsys.readouterr().out
    assert after < 0.2 * before
    assert f"loss {after:.5f}" in printed
    start = {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.999, "weight_decay": 0.1}
    for name, value in start.items():
        assert f"d loss / d {name} = " in printed
        assert "nan" not in printed
        assert abs(float(tx.arguments[name]) - value) > 1e-3 * value, name
    assert 0 < tx.arguments["b1"] < 1
    assert 0 < tx.arguments["b2"] < 1


def test_a_population_is_32_plain_trainings(tmp_path, capsys):
    module = runpy.run_path(str(POPULATION))
    losses = module["main"](["--out", str(tmp_path)])
    assert (tmp_path / "population.png").stat().st_size > 10_000
    assert len(losses) == 32
    best = int(np.argmin(losses))
    assert 0 < best < 31
    assert losses[best] < 0.01 * losses[0]
    assert capsys.readouterr().out.count("best") == 1

    key = jax.random.key(0)
    for place in (0, 4):  # larger rates let rounding errors grow
        alone = module["train"](funcopt.adam(float(module["RATES"][place])), key)
        np.testing.assert_allclose(losses[place], alone[-1], rtol=0.02)


def test_a_clip_rescues_the_recurrent_network(tmp_path, capsys):
    module = runpy.run_path(str(EXPLODING))
    curves = module["main"](["--out", str(tmp_path)])
    assert (tmp_path / "exploding_rnn.png").stat().st_size > 10_000
    learnt = {
        name: int((losses[:, -50:].mean(axis=1) < np.log(4) / 2).sum())
        for name, (losses, _) in curves.items()
    }
    assert learnt["sgd"] <= 2
    assert learnt["clip + sgd"] >= 7
    printed = capsys.readouterr().out
    for name, count in learnt.items():
        assert f"{name}: {count} of 8 learn" in printed
    starts = [losses[:, 0] for losses, _ in curves.values()]
    np.testing.assert_array_equal(*starts)


def test_initialisation_cures_what_an_adaptive_rate_eases(tmp_path, capsys):
    module = runpy.run_path(str(VANISHING))
    runs, norms = module["main"](["--out", str(tmp_path)])
    assert (tmp_path / "vanishing_deep_net.png").stat().st_size > 10_000
    sgd, adam, cured = (losses[-20:].mean() for losses in runs.values())
    assert abs(sgd - np.log(10)) < 0.02
    assert cured < adam < 0.9 * sgd
    small, _, kept = norms.values()
    assert small[0] < 1e-3 * small[-1]
    assert kept[0] > 0.1 * kept[-1]
    assert capsys.readouterr().out.count("VANISHING") == 1
