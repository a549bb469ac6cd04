"""Train 32 learning rates in one compiled program, and draw the valley of their losses.

    python examples/population.py [--out DIRECTORY]

`funcopt.adam(rates)` is one value that holds 32 learning rates, and `tx.in_axes` tells `jax.vmap`
where. Needs the `lab` extra.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import funcopt

STEPS = 300
RATES = np.geomspace(1e-4, 1.0, 32)


def init(key, widths=(1, 32, 32, 1)):
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"kernel": jax.random.normal(k, (m, n)) / jnp.sqrt(m), "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def mean_squared_error(params, x, y):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.mean((x @ params[-1]["kernel"] + params[-1]["bias"] - y) ** 2)


def train(tx, key):
    """One training from start to end: the loss after every update."""
    x = jnp.linspace(-1, 1, 128)[:, None]
    y = jnp.sin(6 * x)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(mean_squared_error)(params, x, y)
        params, state = funcopt.step(tx, grads, state, params)
        return (params, state), mean_squared_error(params, x, y)

    params = init(key)
    return jax.lax.scan(step, (params, tx.init(params)), length=STEPS)[1]


def draw(losses, path):
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    best = int(np.argmin(losses))
    axes.loglog(RATES, losses, "o-", color="#0072B2", markersize=4)
    axes.plot(RATES[best], losses[best], "*", color="#D55E00", markersize=16)
    axes.set_title(f"Adam learns the wave best at a rate of {RATES[best]:.2g}")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(f"loss after {STEPS} updates")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("funcopt-out"), help="for the picture")
    out = parser.parse_args(arguments).out

    population = funcopt.adam(jnp.asarray(RATES, jnp.float32))
    together = jax.jit(jax.vmap(train, in_axes=(population.in_axes, None)))
    curves = np.asarray(together(population, jax.random.key(0)))
    losses = np.where(np.isfinite(curves[:, -1]), curves[:, -1], np.inf)

    best = int(np.argmin(losses))
    for rate, loss in zip(RATES, losses, strict=True):
        print(f"rate {rate:.2e}  loss {loss:.2e}{'  best' if rate == RATES[best] else ''}")
    picture = out / "population.png"
    draw(losses, picture)
    print(f"wrote {picture}")
    return losses


if __name__ == "__main__":
    main()
