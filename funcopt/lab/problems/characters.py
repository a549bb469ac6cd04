"""A small transformer that predicts the next character: hidden matrices of several shapes.

    x = tokens + places                                            embeddings of 32 characters
    x ← x + attention(norm(x) W_qkv) W_out                         twice, causal, 4 heads
    x ← x + gelu(norm(x) W_up) W_down
    logits = norm(x) W_head                                        norm(x) = x / RMS(x) · scale

Vaswani et al., 2017, arXiv:1706.03762, with the normalisation first and without biases.
"""

import importlib.resources
import math

import jax
import jax.numpy as jnp
import numpy as np

from .task import Task, accuracy, cross_entropy

WIDTH, HEADS, BLOCKS, CONTEXT, BATCH, TESTED = 32, 4, 2, 32, 32, 128
LETTERS = 96  # a line's end, and what can be printed in ASCII


def load_characters() -> np.ndarray:
    """Pages of Python's reference as codes `uint8[100000]`: 0 ends a line, 1 is a space.

    >>> bytes(load_characters()[:17] + 31).decode()
    'Assert statements'

    Source: `funcopt/lab/problems/data/ATTRIBUTION.md`.
    """
    packed = importlib.resources.files("funcopt.lab.problems") / "data" / "characters.npz"
    with packed.open("rb") as file, np.load(file) as arrays:
        return arrays["codes"]


def network(key: jax.Array) -> dict:
    """The weights: each matrix keeps the variance of what passes through it."""
    keys = iter(jax.random.split(key, 3 + 4 * BLOCKS))

    def matrix(inputs: int, outputs: int) -> jax.Array:
        return jax.random.normal(next(keys), (inputs, outputs)) / math.sqrt(inputs)

    def block() -> dict[str, jax.Array]:
        return {
            "attention_scale": jnp.ones(WIDTH),
            "qkv": matrix(WIDTH, 3 * WIDTH),
            "out": matrix(WIDTH, WIDTH),
            "mlp_scale": jnp.ones(WIDTH),
            "up": matrix(WIDTH, 4 * WIDTH),
            "down": matrix(4 * WIDTH, WIDTH),
        }

    return {
        "embedding": 0.02 * jax.random.normal(next(keys), (LETTERS, WIDTH)),
        "place_embedding": 0.02 * jax.random.normal(next(keys), (CONTEXT, WIDTH)),
        "blocks": [block() for _ in range(BLOCKS)],
        "scale": jnp.ones(WIDTH),
        "head": 0.02 * jax.random.normal(next(keys), (WIDTH, LETTERS)),
    }


def normed(x: jax.Array, scale: jax.Array) -> jax.Array:
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + 1e-6) * scale[None, None, :]


def attention(x: jax.Array) -> jax.Array:
    """Causal attention; `x[batch, time, 3 * width]` is queries, keys and values."""
    queries, keys, values = jnp.split(x.reshape(*x.shape[:2], 3 * HEADS, -1), 3, axis=2)
    scores = jnp.einsum("bqhd,bkhd->bhqk", queries, keys) / math.sqrt(queries.shape[-1])
    seen = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
    weights = jax.nn.softmax(jnp.where(seen[None, None], scores, -1e9), axis=-1)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, values).reshape(*x.shape[:2], WIDTH)


def logits(params: dict, codes: jax.Array) -> jax.Array:
    """What comes after each of `codes[batch, time]`."""
    x = params["embedding"][codes] + params["place_embedding"][None]
    for block in params["blocks"]:
        x = x + attention(normed(x, block["attention_scale"]) @ block["qkv"]) @ block["out"]
        x = x + jax.nn.gelu(normed(x, block["mlp_scale"]) @ block["up"]) @ block["down"]
    return normed(x, params["scale"]) @ params["head"]


def characters() -> Task:
    """A two-block transformer of width 32 that reads Python's reference letter by letter."""
    codes = load_characters().astype(np.int32)
    train, test = np.split(codes, [len(codes) * 9 // 10])
    apart = np.linspace(0, len(test) - CONTEXT - 1, TESTED).astype(int)
    windows = test[apart[:, None] + np.arange(CONTEXT + 1)]

    def sample(key, step):
        bits = jax.random.bits(jax.random.fold_in(key, step), (BATCH, 1), jnp.uint32)
        starts = (bits % jnp.uint32(len(train) - CONTEXT)).astype(jnp.int32)
        return jnp.asarray(train)[starts + jnp.arange(CONTEXT + 1)[None]]

    def answers(params, window):
        told = logits(params, window[:, :-1])
        return told.reshape(-1, LETTERS), window[:, 1:].reshape(-1)

    def evaluate(params):
        told, after = answers(params, jnp.asarray(windows))
        return {"loss": cross_entropy(told, after), "accuracy": accuracy(told, after)}

    shares = np.bincount(train, minlength=LETTERS) / len(train)
    return Task(
        name="characters",
        summary="two-block transformer that reads Python's reference letter by letter",
        init=network,
        sample=sample,
        loss=lambda params, window: cross_entropy(*answers(params, window)),
        evaluate=evaluate,
        chance=float(-np.sum(shares * np.log(np.where(shares > 0, shares, 1)))),
        target=2.2,
        settings={"batch": BATCH, "context": CONTEXT, "width": WIDTH, "blocks": BLOCKS},
    )
