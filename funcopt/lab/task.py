"""What a task is, and the few functions that its networks share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from .told import told


@told
@dataclass(frozen=True)
class Task:
    """A problem to minimise, with what is needed to judge the result.

    - `init(key) -> params`; `sample(key, step) -> batch` (a pure function, so a run needs no
      memory of its batches); `loss(params, batch)` is minimised;
    - `evaluate(params) -> {"loss", "accuracy"}` is the verdict on one set of parameters; what
      `loss` means there is said by `scored`, and `accuracy` is NaN where there is none;
    - `chance` is the loss of the best answer that ignores the input, `target` the training loss
      that counts as solved, `optimum` the smallest training loss where it is known;
    - `settings` are the numbers that define the task.
    """

    name: str
    summary: str
    init: Callable[[jax.Array], Any]
    sample: Callable[[jax.Array, jax.Array], Any]
    loss: Callable[[Any, Any], jax.Array]
    evaluate: Callable[[Any], dict[str, jax.Array]]
    chance: float
    target: float
    optimum: float | None = None
    scored: str = "test loss"
    settings: dict[str, float] = field(default_factory=dict)

    def headline(self) -> str:
        """Its name and what it is."""
        return f"{self.name}, {self.summary}"


def keyed(loss: Callable[..., jax.Array]) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """`loss(params, batch, key)`, also of a loss that wants no key.

    >>> keyed(lambda params, batch: params * batch)(2, 3, jax.random.key(0))
    6
    """
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # what is not written in Python may have no signature
        parameters = ()
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    wanted = [each for each in parameters if each.kind in kinds and each.default is each.empty]
    return loss if len(wanted) == 3 else lambda params, batch, key: loss(params, batch)


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
