"""The problems that optimizers are compared on, as plain functions of pytrees."""

import functools
import importlib
import importlib.resources
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ..names import look_up
from .characters import characters
from .recurrent import rnn_adding, rnn_temporal_order
from .task import Task, accuracy, cross_entropy, dense, layers
from .traps import cliff, spike


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 handwritten digits: images `uint8[1797, 8, 8]` (0 to 16), labels `uint8[1797]`.

    >>> images, labels = load_digits()
    >>> images.shape, int(images.max()), int(labels[0])
    ((1797, 8, 8), 16, 0)

    Source: `funcopt/lab/problems/data/ATTRIBUTION.md`.
    """
    packed = importlib.resources.files("funcopt.lab.problems") / "data" / "digits.npz"
    with packed.open("rb") as file, np.load(file) as arrays:
        return arrays["images"], arrays["labels"]


def split_digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The digits as (training, test): pixels in [0, 1], every fifth image is for the test."""
    images, labels = load_digits()
    pixels = images.reshape(-1, 64).astype(np.float32) / 16
    test = np.arange(len(labels)) % 5 == 0
    labels = labels.astype(np.int32)
    return (pixels[~test], labels[~test]), (pixels[test], labels[test])


def classifier(name, summary, init, logits, *, batch, target, settings) -> Task:
    """A task on the digits: minibatches of `batch` drawn with replacement, cross entropy."""
    (x, labels), (test_x, test_labels) = split_digits()

    def sample(key, step):
        # A remainder favours no row by more than 1e-6, and compiles in half the time of randint.
        bits = jax.random.bits(jax.random.fold_in(key, step), (batch,), jnp.uint32)
        rows = bits % jnp.uint32(len(x))
        return jnp.asarray(x)[rows], jnp.asarray(labels)[rows]

    def evaluate(params):
        answer = logits(params, jnp.asarray(test_x))
        labels = jnp.asarray(test_labels)
        return {"loss": cross_entropy(answer, labels), "accuracy": accuracy(answer, labels)}

    return Task(
        name=name,
        summary=summary,
        init=init,
        sample=sample,
        loss=lambda params, batch: cross_entropy(logits(params, batch[0]), batch[1]),
        evaluate=evaluate,
        chance=float(np.log(10)),
        target=target,
        settings={"batch": batch, **settings},
    )


def digits() -> Task:
    """A 64-64-64-10 ReLU network on the handwritten digits, He initialisation, batches of 64."""

    def logits(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(dense(layer, x))
        return dense(params[-1], x)

    return classifier(
        "digits",
        "ReLU network 64-64-64-10 on 8x8 handwritten digits",
        lambda key: layers(key, [64, 64, 64, 10], lambda inputs: float(np.sqrt(2 / inputs))),
        logits,
        batch=64,
        target=0.1,
        settings={"layers": 3, "width": 64},
    )


def deep_tanh() -> Task:
    """A plain 20-layer tanh network of width 32 on the digits, whose gradients vanish.

    The weights are 0.1 times standard normal numbers, so that one layer multiplies the variance
    of what passes through it, forwards and backwards, by about 32 * 0.1^2 = 0.32. There are no
    skip connections and no normalisation.
    """

    def logits(params, x):
        for layer in params[:-1]:
            x = jnp.tanh(dense(layer, x))
        return dense(params[-1], x)

    return classifier(
        "deep_tanh",
        "plain 20-layer tanh network on the digits: gradients vanish",
        lambda key: layers(key, [64] + [32] * 19 + [10], lambda inputs: 0.1),
        logits,
        batch=64,
        target=2.0,  # less than guessing gives: the gradients came through
        settings={"layers": 20, "width": 32, "scale": 0.1},
    )


def stacked_tanh(depth: int = 20, scale: float | None = 0.1) -> Task:
    """`deep_tanh` of any depth from 3 on, its hidden layers stacked in one leaf.

    They are run by a scan, which compiles in the time of one layer. With `scale=None` the standard
    deviation of a weight is one over the root of the layer's inputs, which keeps the variance of
    what passes through.
    """

    def init(key):
        ends = jax.random.split(key, 3)
        sizes = {"first": (64, 32), "hidden": (depth - 2, 32, 32), "last": (32, 10)}
        return {
            name: {
                "kernel": (scale or size[-2] ** -0.5) * jax.random.normal(k, size),
                "bias": jnp.zeros((*size[:-2], size[-1])),
            }
            for k, (name, size) in zip(ends, sizes.items(), strict=True)
        }

    def logits(params, x):
        x = jnp.tanh(dense(params["first"], x))
        step = lambda x, layer: (jnp.tanh(dense(layer, x)), None)  # noqa: E731
        return dense(params["last"], jax.lax.scan(step, x, params["hidden"])[0])

    return classifier(
        "deep_tanh",
        f"plain {depth}-layer tanh network on the digits: gradients vanish",
        init,
        logits,
        batch=32,
        target=float(np.log(10) / 2),
        settings={"layers": depth, "width": 32, **({} if scale is None else {"scale": scale})},
    )


def logistic_digits() -> Task:
    """Multinomial logistic regression on the digits with an l2 penalty: convex, full batch.

    Minimises `mean cross entropy + l2/2 ||kernel||^2` with `l2 = 0.001` over the 1,437 training
    images. The optimum comes from L-BFGS in float64 (`tests/make_lab_data.py`).
    """
    (x, labels), (test_x, test_labels) = split_digits()
    l2, optimum = 1e-3, 0.25757083133703357

    def objective(params, batch):
        penalty = l2 / 2 * jnp.sum(jnp.square(params["kernel"]))
        return cross_entropy(dense(params, batch[0]), batch[1]) + penalty

    def evaluate(params):
        answer = dense(params, jnp.asarray(test_x))
        everything = (jnp.asarray(x), jnp.asarray(labels))
        return {
            "loss": objective(params, everything),
            "accuracy": accuracy(answer, jnp.asarray(test_labels)),
        }

    return Task(
        name="logistic_digits",
        summary="multinomial logistic regression on the digits: convex, full batch",
        init=lambda key: layers(key, [64, 10], lambda inputs: 0.1)[0],
        sample=lambda key, step: (jnp.asarray(x), jnp.asarray(labels)),
        loss=objective,
        evaluate=evaluate,
        chance=float(np.log(10)),
        target=1.05 * optimum,
        optimum=optimum,
        scored="training objective",
        settings={"l2": l2},
    )


def linear_regression() -> Task:
    """Least squares with 20 features of unequal scale, 800 samples to fit and 200 to test.

    `y = x w + noise`, the features' standard deviations fall from 1 to 0.1, the noise's is 0.1.
    The loss is the mean squared error; its optimum is the closed-form least-squares answer.
    """
    samples, features, noise = 1000, 20, 0.1
    random = np.random.RandomState(0)
    x = random.randn(samples, features) * np.logspace(0, -1, features)
    y = x @ random.randn(features) + noise * random.randn(samples)
    (train_x, test_x), (train_y, test_y) = np.split(x, [800]), np.split(y, [800])
    fitted = np.linalg.lstsq(train_x, train_y, rcond=None)[0]
    optimum = float(np.mean((train_x @ fitted - train_y) ** 2))

    def loss(params, batch):
        return jnp.mean(jnp.square(batch[0] @ params["w"] - batch[1]))

    def arrays(inputs, outputs):
        return jnp.asarray(inputs, jnp.float32), jnp.asarray(outputs, jnp.float32)

    return Task(
        name="linear_regression",
        summary="least squares, 20 features of unequal scale, full batch",
        init=lambda key: {"w": jax.random.normal(key, (features,))},
        sample=lambda key, step: arrays(train_x, train_y),
        loss=loss,
        evaluate=lambda params: {
            "loss": loss(params, arrays(test_x, test_y)),
            "accuracy": jnp.asarray(jnp.nan, jnp.float32),
        },
        chance=float(np.var(test_y)),
        target=1.1 * optimum,
        optimum=optimum,
        settings={"samples": samples, "features": features, "noise": noise},
    )


TASKS = {
    make.__name__: make
    for make in (
        digits,
        linear_regression,
        deep_tanh,
        logistic_digits,
        rnn_adding,
        rnn_temporal_order,
        characters,
        cliff,
        spike,
    )
}


@functools.cache
def get_task(name: str) -> Task:
    """The task called `name`; or one of your own, `module:name`, from this folder or a package.

    What has the name there is a `Task`, or a function without arguments that makes one. Raises
    `UnknownName` with the nearest names, or `ValueError`, where there is none.

    >>> get_task("digits").target
    0.1
    """
    return imported(name) if ":" in name else look_up("task", name, TASKS)()


def imported(name: str) -> Task:
    """The task that is `name` of a module."""
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"task: {name!r} given, expected a name such as digits, or module:name of a task of "
            f"your own: {error}."
        ) from error
    finally:
        sys.path.remove(here)
    task = found() if callable(found) else found
    if not isinstance(task, Task):
        raise ValueError(
            f"task: {name!r} is {task!r}, expected a funcopt.lab.Task or a function that makes one."
        )
    return task
