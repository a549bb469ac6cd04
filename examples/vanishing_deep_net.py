"""A network too deep to learn, why that shows before training, and what does cure it.

    python examples/vanishing_deep_net.py [--out DIRECTORY]

A plain tanh network of 20 layers on handwritten digits. With small initial weights no gradient
arrives at the first layers. An adaptive rate goes further than SGD; weights that keep the variance
of what passes through them make it trainable. Needs the `lab` extra.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

import funcopt
from funcopt.lab import load_digits

LAYERS, WIDTH, BATCH, STEPS = 20, 32, 64, 300
CHANCE = np.log(10)
IMAGES, LABELS = load_digits()
IMAGES, LABELS = IMAGES.reshape(-1, 64).astype(np.float32) / 16, LABELS.astype(np.int32)


def init(key, scale):
    """Normal weights; the hidden layers are stacked in one leaf, which compiles fast."""
    keys = jax.random.split(key, 3)
    shapes = {"first": (64, WIDTH), "hidden": (LAYERS - 2, WIDTH, WIDTH), "last": (WIDTH, 10)}
    return {
        name: {
            "kernel": (scale or shape[-2] ** -0.5) * jax.random.normal(k, shape),
            "bias": jnp.zeros((*shape[:-2], shape[-1])),
        }
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def dense(layer, x):
    return x @ layer["kernel"] + layer["bias"]


def loss(params, batch):
    images, labels = batch
    x = jnp.tanh(dense(params["first"], images))
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(dense(w, x)), None), x, params["hidden"])
    logits = jax.nn.log_softmax(dense(params["last"], x))
    return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], axis=1))


def batch(key):
    rows = jax.random.bits(key, (BATCH,), jnp.uint32) % len(LABELS)
    return jnp.asarray(IMAGES)[rows], jnp.asarray(LABELS)[rows]


@jax.jit
def train(tx, params, key):
    """The losses, and the monitor's state with the parameters."""
    tx = funcopt.monitor(tx, layer_axis={"hidden": 0})

    def step(carry, i):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params, batch(jax.random.fold_in(key, i)))
        return funcopt.step(tx, grads, state, params, value=value), value

    return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(STEPS))


def arrives(params):
    """The norm of what comes back to each layer before training, from its bias's gradient."""
    grads = jax.jit(jax.grad(loss))(params, batch(jax.random.key(1)))
    hidden = np.linalg.norm(grads["hidden"]["bias"], axis=1)
    first, last = (np.linalg.norm(grads[name]["bias"]) for name in ("first", "last"))
    return np.array([first, *hidden, last])


def draw(runs, norms, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for (name, losses), colour in zip(runs.items(), ("#D55E00", "#E69F00", "#0072B2"), strict=True):
        right.plot(losses, color=colour, label=name, linewidth=1.2)
        if "adam" not in name:  # whose weights are those of the first
            label = name.partition(", ")[2]
            left.semilogy(range(1, LAYERS + 1), norms[name], "o-", color=colour, label=label)
    left.set_title("What arrives at each layer before training", loc="left", fontsize=10)
    left.set(xlabel="layer, 1 is the first", ylabel="norm of the bias's gradient")
    right.set_title("An adaptive rate eases it, initialisation cures it", loc="left", fontsize=10)
    right.set(xlabel="step", ylabel="loss")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False, loc="lower right")
    right.legend(frameon=False, loc="center right")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("funcopt-out"), help="for the picture")
    out = parser.parse_args(arguments).out

    sgd = funcopt.sgd(0.1)
    adam = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(1e-3))
    ways = {
        "sgd, small weights": (sgd, 0.1),
        "clip + adam, small weights": (adam, 0.1),
        "sgd, weights of 1/√inputs": (sgd, None),
    }
    start, data = jax.random.split(jax.random.key(0))
    runs, norms = {}, {}
    for name, (tx, scale) in ways.items():
        params = init(start, scale)
        norm = norms[name] = arrives(params)
        (params, state), losses = train(tx, params, data)
        runs[name] = np.asarray(losses)
        share = f"{100 * norm[0] / norm[-1]:.1g} %"
        print(f"{name}: {share} of the gradient arrives at the first layer")
        print(
            f"  loss {runs[name][-20:].mean():.2f} (guessing {CHANCE:.2f}); "
            f"the monitor: {funcopt.health(state, params).verdict}"
        )
    picture = out / "vanishing_deep_net.png"
    draw(runs, norms, picture)
    print(f"wrote {picture}")
    return runs, norms


if __name__ == "__main__":
    main()
