"""Adaptive learning rates on the simplest problem there is: a straight line.

    python examples/linear_regression.py [--out DIRECTORY]

AdaGrad, RMSprop and Adam fit a slope and an intercept by gradient descent on the mean squared
error, 1,000 epochs each, at a constant and at a decaying learning rate, on

- 100 points of y = 2x + noise, tested on 100 others;
- 1,000 samples of scikit-learn's `make_regression`, 80 % to fit and 20 % to test;
- the same samples with the targets divided by their standard deviation.

Beside each slope stands the closed-form answer of least squares, and beside each run that did
not reach it the reason, computed from the run. Needs the `lab` extra and scikit-learn.
"""

import argparse
import math
import textwrap
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_regression

import funcopt

EPOCHS = 1_000
COLORS = "#0072B2", "#D55E00", "#009E73"  # told apart by colour-blind readers too
CONVERGED = 0.01  # of the way from the start to the answer may be left


class Problem(NamedTuple):
    name: str
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


class Run(NamedTuple):
    name: str
    slopes: np.ndarray  # before the first epoch and after each one
    intercept: float
    rates: np.ndarray  # the learning rate of each epoch


class Result(NamedTuple):
    problem: Problem
    answer: float  # the slope of least squares
    runs: list[Run]


def problems():
    rng = np.random.default_rng(0)
    line = [(x, 2 * x + 0.1 * rng.standard_normal(100)) for x in rng.uniform(-1, 1, (2, 100))]

    features, targets = make_regression(1_000, n_features=1, noise=0.1, random_state=0)
    order = rng.permutation(1_000)
    train, test = order[:800], order[800:]
    x, y = features[:, 0], targets
    scale = y[train].std()
    return [
        Problem("y = 2x + noise", *line),
        Problem("make_regression", (x[train], y[train]), (x[test], y[test])),
        Problem(
            "make_regression, scaled", (x[train], y[train] / scale), (x[test], y[test] / scale)
        ),
    ]


def optimizers():
    def pair(name, factory, rate, **arguments):
        decaying = funcopt.cosine_decay_schedule(rate, EPOCHS)
        yield f"{name} {rate}", factory(rate, **arguments)
        yield f"{name} {rate} to 0", factory(decaying, **arguments)

    return {
        **dict(pair("AdaGrad", funcopt.adagrad, 0.1)),
        **dict(pair("RMSprop", funcopt.rmsprop, 0.01, decay=0.99)),
        **dict(pair("Adam", funcopt.adam, 0.001, b1=0.9, b2=0.999)),
    }


@jax.jit
def descend(tx, x, y):
    """Full-batch descent from zero: the last parameters, and slope and rate at every epoch."""

    def loss(params):
        return jnp.mean((params["slope"] * x + params["intercept"] - y) ** 2)

    def epoch(carry, _):
        params, state = carry
        params, state = funcopt.step(tx, jax.grad(loss)(params), state, params)
        return (params, state), (params["slope"], funcopt.current_lr(state))

    params = {"slope": jnp.zeros(()), "intercept": jnp.zeros(())}
    (params, _), history = jax.lax.scan(epoch, (params, tx.init(params)), length=EPOCHS)
    return params, history


def fit(name, tx, problem):
    params, (slopes, rates) = descend(tx, *map(jnp.float32, problem.train))
    return Run(name, np.r_[0.0, slopes], float(params["intercept"]), np.asarray(rates))


def least_squares(x, y):
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(intercept)


def r_squared(run, x, y):
    residual = y - (run.slopes[-1] * x + run.intercept)
    return 1 - np.mean(residual**2) / np.var(y)


def converged(run, answer):
    return abs(run.slopes[-1] - answer) <= CONVERGED * abs(answer)


def verdict(run, answer):
    """Whether the run has arrived, or in three words why not."""
    if converged(run, answer):
        return "converged"
    if too_short(run, answer):
        return "rate too low"
    return "rate fell too early" if fell_away(run) else "steps shrank"


def too_short(run, answer):
    """Whether steps of the rate's length, all of them taken, do not reach the answer."""
    moved, budget = abs(run.slopes[-1]), run.rates.sum()
    return budget < abs(answer) and moved > 0.4 * budget


def fell_away(run):
    return run.rates[-1] < 0.01 * run.rates[0]


def reason(run, answer):
    """Why the run has not arrived, in its own numbers."""
    moved, distance, budget = abs(run.slopes[-1]), abs(answer), run.rates.sum()
    steps = np.abs(np.diff(run.slopes))
    first, last = steps[:10].mean(), steps[-10:].mean()
    facts = f"{run.name} covered {moved:.3g} of {distance:.3g}. "
    if too_short(run, answer):
        return facts + (
            f"A step is {moved / budget:.2f} of the rate on average, and {EPOCHS:,} rates add up "
            f"to {budget:.3g}: raise the rate to {run.rates[0] * distance / moved:.2g} or more."
        )
    if fell_away(run):
        return facts + f"The schedule ended at a rate of {run.rates[-1]:.1g}, too early."
    more = math.ceil((distance - moved) / last)
    return facts + (
        f"Its steps shrank from {first:.2g} to {last:.2g}, at which it takes {more:,} epochs more."
    )


def draw(results, path):
    figure, panels = plt.subplots(1, len(results), figsize=(13, 4), layout="constrained")
    for axes, (problem, answer, runs) in zip(panels, results, strict=True):
        for index, run in enumerate(runs):
            style = "--" if index % 2 else "-"
            axes.plot(run.slopes, style, color=COLORS[index // 2], label=run.name)
        axes.axhline(answer, color="black", linewidth=0.8)
        axes.annotate(
            f"least squares: {answer:.3g}",
            (0, answer),
            (2, 3),
            textcoords="offset points",
            size=8,
        )
        arrived = sum(converged(run, answer) for run in runs)
        axes.set_title(f"{problem.name}\n{arrived} of {len(runs)} runs arrive", fontsize=10)
        axes.set_xlabel("epoch")
        axes.set_ylabel("slope")
        axes.margins(y=0.08)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("A step is about as long as the rate: where that is too short, none arrives")
    panels[-1].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("funcopt-out"), help="for the picture")
    out = parser.parse_args(arguments).out

    results = []
    for problem in problems():
        answer, intercept = least_squares(*problem.train)
        runs = [fit(name, tx, problem) for name, tx in optimizers().items()]
        results.append(Result(problem, answer, runs))
        line = f"{answer:.4f} x {'-' if intercept < 0 else '+'} {abs(intercept):.4f}"
        print(f"\n{problem.name}: least squares gives {line}")
        print(f"  {'run':<20} {'slope':>8} {'closed form':>12} {'test R2':>8}  verdict")
        for run in runs:
            score = r_squared(run, *problem.test)
            numbers = f"{run.slopes[-1]:>8.4f} {answer:>12.4f} {score:>8.3f}"
            print(f"  {run.name:<20} {numbers}  {verdict(run, answer)}")
        for run in runs:
            if not converged(run, answer):
                print(textwrap.fill(reason(run, answer), 80, initial_indent="  - ",
                                    subsequent_indent="    "))  # fmt: skip

    picture = out / "linear_regression.png"
    draw(results, picture)
    print(f"\nwrote {picture}")
    return results


if __name__ == "__main__":
    main()
