"""A network in plain JAX: clipped AdamW with warm-up and cosine decay, and what it reports."""

import jax
import jax.numpy as jnp

import funcopt

STEPS = 500


def init(key, widths=(1, 32, 32, 1)):
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"kernel": jax.random.normal(k, (m, n)) / jnp.sqrt(m), "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def network(params, x):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return x @ params[-1]["kernel"] + params[-1]["bias"]


def mean_squared_error(params, x, y):
    return jnp.mean((network(params, x) - y) ** 2)


@jax.jit
def train_step(tx, params, state, x, y):
    loss, grads = jax.value_and_grad(mean_squared_error)(params, x, y)
    params, state = funcopt.step(tx, grads, state, params)
    return params, state, loss


def main():
    x = jnp.linspace(-1, 1, 256)[:, None]
    y = jnp.sin(6 * x)
    rate = funcopt.warmup_cosine_decay_schedule(0.0, 1e-2, warmup_steps=50, decay_steps=STEPS)
    tx = funcopt.chain(
        funcopt.clip_by_global_norm(1.0),
        funcopt.adamw(rate, weight_decay=1e-4, mask="kernel$"),
    )
    print(tx)
    params = init(jax.random.key(0))
    state = tx.init(params)
    for step in range(STEPS):
        params, state, loss = train_step(tx, params, state, x, y)
        if step % 100 == 0:
            facts = [f"{name} {value:.2g}" for name, value in funcopt.metrics(state).items()]
            print(f"step {step:3d}  loss {loss:.5f}", *facts, sep="  ")
    print(f"step {STEPS}  loss {loss:.5f}")
    return float(loss)


if __name__ == "__main__":
    main()
