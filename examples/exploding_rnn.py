"""A recurrent network whose gradients explode, and the clip that keeps it on its way.

    python examples/exploding_rnn.py [--out DIRECTORY]

Two of 20 symbols, A or B, are hidden among noise, and the network must tell their order. Several
networks are trained at once, first by plain SGD, then with a clip in front: the same rate, the same
seeds, the same batches. Needs the `lab` extra.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import funcopt

LENGTH, WIDTH, BATCH, STEPS, NETWORKS, RATE = 20, 24, 20, 800, 8, 0.2
CHANCE = np.log(4)
THRESHOLD = 1.0


def init(key):
    keys = jax.random.split(key, 3)
    return {
        "input": jax.random.normal(keys[0], (6, WIDTH)) / np.sqrt(6),
        "recurrent": 1.2 * jax.random.normal(keys[1], (WIDTH, WIDTH)) / np.sqrt(WIDTH),
        "output": jax.random.normal(keys[2], (WIDTH, 4)) / np.sqrt(WIDTH),
    }


def batch(key):
    """Noise of four symbols; A or B early on, and A or B half-way: four classes."""
    keys = jax.random.split(key, 2)
    noise = 2 + jax.random.bits(keys[0], (BATCH, LENGTH), jnp.uint32) % 4
    first, second = jax.random.bits(keys[1], (2, BATCH), jnp.uint32) % 2
    symbols = noise.at[:, LENGTH // 10].set(first).at[:, LENGTH // 2].set(second)
    return jax.nn.one_hot(symbols, 6), 2 * first + second


def loss(params, batch):
    def step(hidden, x):
        return jnp.tanh(hidden @ params["recurrent"] + x @ params["input"]), None

    symbols, labels = batch
    hidden, _ = jax.lax.scan(step, jnp.zeros((BATCH, WIDTH)), jnp.moveaxis(symbols, 1, 0))
    logits = jax.nn.log_softmax(hidden @ params["output"])
    return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], axis=1))


def train(tx, seed):
    """Losses and gradient norms of one network, and what its monitor says at the end."""
    tx = funcopt.monitor(tx)
    start, data = jax.random.split(jax.random.key(seed))

    def step(carry, i):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, batch(jax.random.fold_in(data, i)))
        norm = funcopt.global_norm(grads)
        return funcopt.step(tx, grads, state, params, value=value), (value, norm)

    params = init(start)
    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(STEPS))


def draw(curves, path):
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 5), layout="constrained", sharex=True, sharey="row"
    )
    for column, (name, (losses, norms)) in enumerate(curves.items()):
        colour = ("#D55E00", "#0072B2")[column]
        axes[0, column].plot(losses.T, color=colour, alpha=0.7, linewidth=0.8)
        axes[0, column].axhline(CHANCE, color="0.5", linestyle=":")
        axes[0, column].set_title(f"{name}: {solved(losses)} of {NETWORKS} learn", loc="left")
        axes[1, column].semilogy(norms.T, color=colour, alpha=0.7, linewidth=0.8)
        largest = np.argmax(norms, axis=1)
        axes[1, column].plot(largest, norms.max(axis=1), "x", color="black", markersize=5)
        axes[1, column].set_xlabel("step")
    axes[1, 1].axhline(THRESHOLD, color="black", linewidth=0.8)
    axes[1, 1].annotate(
        "clipped above", (STEPS, THRESHOLD), (0, 2), textcoords="offset points", ha="right", size=8
    )
    axes[0, 0].set_ylim(0, 2 * CHANCE)
    axes[0, 0].set_ylabel("loss (dotted: guessing)")
    axes[1, 0].set_ylabel("gradient norm (×: the largest)")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def solved(losses):
    return int(np.sum(losses[:, -50:].mean(axis=1) < CHANCE / 2))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("funcopt-out"), help="for the picture")
    out = parser.parse_args(arguments).out

    # The threshold is a number in the optimizer, so both ways are one compiled program.
    together = jax.jit(jax.vmap(train, in_axes=(None, 0)))
    curves = {}
    for name, max_norm in {"sgd": np.inf, "clip + sgd": THRESHOLD}.items():
        tx = funcopt.chain(funcopt.clip_by_global_norm(max_norm), funcopt.sgd(RATE))
        (params, state), told = together(tx, jnp.arange(NETWORKS))
        losses, norms = curves[name] = tuple(map(np.asarray, told))
        print(
            f"{name}: {solved(losses)} of {NETWORKS} learn; gradient norms of "
            f"{np.median(norms):.2g} in the median, {norms.max():.2g} at most"
        )
        state, params = jax.tree.map(lambda leaf: leaf[0], (state, params))
        print(f"  the monitor on the first network: {funcopt.health(state, params).verdict}")
    picture = out / "exploding_rnn.png"
    draw(curves, picture)
    print(f"wrote {picture}")
    return curves


if __name__ == "__main__":
    main()
