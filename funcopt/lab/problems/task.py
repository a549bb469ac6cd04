"""What a task is, and the few functions that its networks share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from ..drawing.told import told


@told
@dataclass(frozen=True)
class Task:
    """A problem to minimise, with what is needed to judge the result.

    - `init(key) -> params`, or a whole model, of which the floating-point arrays are trained;
    - `sample(key, step) -> batch`, a pure function, so that a run needs no memory of its batches;
      or a loader, a list or stacked arrays of batches, which are drawn with replacement;
    - `loss(params, batch)` is minimised; or `loss(params, batch, key)`, for dropout and noise;
    - `evaluate(params) -> {"loss", "accuracy"}` is the verdict on one set of parameters; what
      `loss` means there is said by `scored`. Without an accuracy there is none in the tables.
      None: the loss on 8 batches that no run sees (they are drawn with a key of their own);
    - `chance` is the loss of the best answer that ignores the input, `target` the training loss
      that counts as solved, `optimum` the smallest training loss; None where it is not known;
    - `settings` are the numbers that define the task.

    >>> from funcopt.lab import compare
    >>> task = Task(
    ...     name="mean",
    ...     summary="the mean of numbers",
    ...     init=lambda key: jnp.zeros(()),
    ...     sample=lambda key, step: jax.random.normal(jax.random.fold_in(key, step), (8,)),
    ...     loss=lambda mean, batch: jnp.mean((batch - mean - 1) ** 2),
    ... )
    >>> compare(["adam", "sgd"], task=task, lrs="0.1,0.2", seeds=1, steps=20).verdicts[0].label
    'sgd'
    """

    name: str
    summary: str
    init: Callable[[jax.Array], Any]
    sample: Callable[[jax.Array, jax.Array], Any] | Any
    loss: Callable[..., jax.Array]
    evaluate: Callable[[Any], Any] | None = None
    chance: float | None = None
    target: float | None = None
    optimum: float | None = None
    scored: str = "test loss"
    settings: dict[str, float] = field(default_factory=dict)

    def headline(self) -> str:
        """Its name and what it is."""
        return f"{self.name}, {self.summary}"


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean of `-log softmax(logits)[label]`."""
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -jnp.mean(picked)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of rows whose largest logit is at the label."""
    return jnp.mean((jnp.argmax(logits, axis=1) == labels).astype(jnp.float32))


def dense(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return x @ layer["kernel"] + layer["bias"][None, :]


def layers(key: jax.Array, sizes: list[int], scale: Callable[[int], float]) -> list:
    """Layers of normal weights with the standard deviation `scale(inputs)`, and zero biases."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"kernel": scale(m) * jax.random.normal(k, (m, n)), "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
