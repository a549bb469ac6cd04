"""SOAP as a reader of the paper writes it in JAX: a loop over matrices, each with its own bases.

Vyas et al., 2025 (https://arxiv.org/abs/2409.11321), Algorithms 3 and 4: the mean gradient is kept
as it is and rotated in each step. What the paper leaves open is as in the authors' program: the
first step only makes the bases, and mean squares follow the order of their eigenvectors.
"""

import jax
import jax.numpy as jnp
import optax


def plain_soap(learning_rate=3e-3, b1=0.95, b2=0.95, eps=1e-8, frequency=10):
    def init(params):
        def one(w):
            m, n = w.shape
            return {
                "M": jnp.zeros_like(w), "V": jnp.zeros_like(w),
                "L": jnp.zeros((m, m)), "R": jnp.zeros((n, n)),
                "QL": jnp.eye(m), "QR": jnp.eye(n),
            }  # fmt: skip

        return jnp.zeros([], jnp.int32), {name: one(w) for name, w in params.items()}

    def eigenvectors(kept):
        left, right = jnp.linalg.eigh(kept["L"])[1], jnp.linalg.eigh(kept["R"])[1]
        return {**kept, "QL": left[:, ::-1], "QR": right[:, ::-1]}

    def power_iteration(kept):
        left, right = kept["L"] @ kept["QL"], kept["R"] @ kept["QR"]
        rows = jnp.argsort(-jnp.sum(kept["QL"] * left, 0))
        columns = jnp.argsort(-jnp.sum(kept["QR"] * right, 0))
        return {
            **kept,
            "QL": jnp.linalg.qr(left[:, rows])[0],
            "QR": jnp.linalg.qr(right[:, columns])[0],
            "V": kept["V"][rows][:, columns],
        }

    def update(grads, state, params=None):
        del params
        t, kept = state[0] + 1, dict(state[1])
        s = jnp.maximum(t - 1, 1)
        rate = learning_rate * jnp.sqrt(1 - b2**s) / (1 - b1**s)
        updates = {}
        for name, g in grads.items():
            was = kept[name]
            left, right = was["QL"], was["QR"]
            rotated = left.T @ g @ right
            mean = jnp.where(t > 1, b1 * was["M"] + (1 - b1) * g, was["M"])
            square = jnp.where(t > 1, b2 * was["V"] + (1 - b2) * rotated**2, was["V"])
            direction = (left.T @ mean @ right) / (jnp.sqrt(square) + eps)
            updates[name] = -rate * (left @ direction @ right.T)
            now = {
                **was,
                "M": mean,
                "V": square,
                "L": b2 * was["L"] + (1 - b2) * g @ g.T,
                "R": b2 * was["R"] + (1 - b2) * g.T @ g,
            }
            now = jax.lax.cond(t == 1, eigenvectors, lambda x: x, now)
            due = (t > 1) & ((t - 1) % frequency == 0)
            kept[name] = jax.lax.cond(due, power_iteration, lambda x: x, now)
        return updates, (t, kept)

    return optax.GradientTransformation(init, update)
