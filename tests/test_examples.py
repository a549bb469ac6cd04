"""The examples run as they stand and arrive where they say."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LINEAR_REGRESSION = EXAMPLES / "linear_regression.py"
NETWORKS = sorted(path for path in EXAMPLES.glob("*.py") if path != LINEAR_REGRESSION)

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
            assert says in printed
            assert says.startswith("converged") == arrived[problem.name, run.name]

    line = "y = 2x + noise"
    assert arrived[line, "AdaGrad 0.1"]
    assert arrived[line, "RMSprop 0.01"]
    assert not arrived[line, "Adam 0.001"]
    adam = next(run for run in results[0].runs if run.name == "Adam 0.001")
    np.testing.assert_allclose(np.diff(adam.slopes)[:100], 0.001, rtol=0.05)
    assert abs(adam.slopes[-1]) <= adam.rates.sum()
