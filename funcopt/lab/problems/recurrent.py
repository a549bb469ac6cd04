"""Sequences that a plain tanh network must remember, whose gradients explode on the way back.

    h_t = tanh(h_{t-1} W + x_t U + b),   answer = h_T V + c

The recurrent weights W are normal numbers scaled to a spectral radius, the largest modulus of an
eigenvalue. Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063.
"""

import math

import jax
import jax.numpy as jnp

from .task import Task, accuracy, cross_entropy

WIDTH, BATCH, TESTED = 32, 20, 1000


def spectral_radius(matrix: jax.Array) -> jax.Array:
    """The largest modulus of an eigenvalue, as `‖A^n‖^(1/n)` for n = 4096 (Gelfand).

    >>> float(spectral_radius(jnp.array([[0.0, 2.0], [-2.0, 0.0]])).round(2))
    2.0
    """

    def square(carry, _):
        power, log = carry
        power = power @ power
        norm = jnp.linalg.norm(power)
        return (power / norm, 2 * log + jnp.log(norm)), None

    norm = jnp.linalg.norm(matrix)
    (_, log), _ = jax.lax.scan(square, (matrix / norm, jnp.log(norm)), length=12)
    return jnp.exp(log / 4096)


def network(key: jax.Array, inputs: int, outputs: int, radius: float) -> dict[str, jax.Array]:
    """The weights; those from the inputs and to the outputs keep variances."""
    keys = jax.random.split(key, 3)
    recurrent = jax.random.normal(keys[1], (WIDTH, WIDTH))
    return {
        "input": jax.random.normal(keys[0], (inputs, WIDTH)) / math.sqrt(inputs),
        "recurrent": recurrent * (radius / spectral_radius(recurrent)),
        "bias": jnp.zeros(WIDTH),
        "output": jax.random.normal(keys[2], (WIDTH, outputs)) / math.sqrt(WIDTH),
        "output_bias": jnp.zeros(outputs),
    }


def answer(params: dict[str, jax.Array], sequences: jax.Array) -> jax.Array:
    """What the network says after the last element of `sequences[batch, time, inputs]`."""

    def step(hidden, x):
        drive = x @ params["input"] + params["bias"][None, :]
        return jnp.tanh(hidden @ params["recurrent"] + drive), None

    start = jnp.zeros((sequences.shape[0], params["bias"].shape[0]))
    hidden, _ = jax.lax.scan(step, start, jnp.moveaxis(sequences, 1, 0))
    return hidden @ params["output"] + params["output_bias"][None, :]


def somewhere(key: jax.Array, low: int, high: int, count: int) -> jax.Array:
    """`count` places from `low` to below `high`."""
    bits = jax.random.bits(key, (count,), jnp.uint32) % jnp.uint32(high - low)
    return low + bits.astype(jnp.int32)


def rnn_adding(length: int = 25, radius: float = 1.3) -> Task:
    """The adding problem: of `length` numbers in [0, 1], sum the two that are marked.

    One mark is in the first half and one in the second. Who always answers 1 has a mean squared
    error of 1/6. Hochreiter and Schmidhuber 1997, section 5.4.
    """

    def sequences(key, count):
        keys = jax.random.split(key, 3)
        numbers = jax.random.uniform(keys[0], (count, length))
        half = length // 2
        places = [somewhere(keys[1], 0, half, count), somewhere(keys[2], half, length, count)]
        marks = sum(jax.nn.one_hot(place, length) for place in places)
        return jnp.stack([numbers, marks], axis=2), jnp.sum(numbers * marks, axis=1)

    def loss(params, batch):
        return jnp.mean(jnp.square(answer(params, batch[0])[:, 0] - batch[1]))

    return Task(
        name="rnn_adding",
        summary=f"tanh RNN, adding two of {length} numbers: gradients explode",
        init=lambda key: network(key, 2, 1, radius),
        sample=lambda key, step: sequences(jax.random.fold_in(key, step), BATCH),
        loss=loss,
        evaluate=lambda params: {
            "loss": loss(params, sequences(jax.random.key(2**31), TESTED)),
            "accuracy": jnp.asarray(jnp.nan, jnp.float32),
        },
        chance=1 / 6,
        target=1 / 12,
        settings={"length": length, "width": WIDTH, "batch": BATCH, "spectral_radius": radius},
    )


def rnn_temporal_order(length: int = 30, radius: float = 1.2) -> Task:
    """Temporal order: which of A and B came first, and which second, among four distractors.

    The first is at a place in [L/10, 2L/10), the second in [5L/10, 6L/10); the four orders are the
    classes. Pascanu et al. 2013, section 4.1, who take lengths of 50 to 200.
    """

    def sequences(key, count):
        keys = jax.random.split(key, 5)
        noise = somewhere(keys[0], 2, 6, count * length).reshape(count, length)
        first, second = (somewhere(k, 0, 2, count) for k in keys[1:3])
        at, then = (
            somewhere(k, tenth * length // 10, (tenth + 1) * length // 10, count)
            for k, tenth in ((keys[3], 1), (keys[4], 5))
        )
        time = jnp.arange(length)[None, :]
        symbols = jnp.where(time == at[:, None], first[:, None], noise)
        symbols = jnp.where(time == then[:, None], second[:, None], symbols)
        return jax.nn.one_hot(symbols, 6), 2 * first + second

    def loss(params, batch):
        return cross_entropy(answer(params, batch[0]), batch[1])

    def evaluate(params):
        inputs, labels = sequences(jax.random.key(2**31), TESTED)
        said = answer(params, inputs)
        return {"loss": cross_entropy(said, labels), "accuracy": accuracy(said, labels)}

    return Task(
        name="rnn_temporal_order",
        summary=f"tanh RNN, the order of two symbols among {length}: gradients explode",
        init=lambda key: network(key, 6, 4, radius),
        sample=lambda key, step: sequences(jax.random.fold_in(key, step), BATCH),
        loss=loss,
        evaluate=evaluate,
        chance=math.log(4),
        target=math.log(4) / 2,
        settings={"length": length, "width": WIDTH, "batch": BATCH, "spectral_radius": radius},
    )
