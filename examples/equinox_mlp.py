"""An Equinox network: filter the arrays out of the model, then train as usual."""

import equinox as eqx
import jax
import jax.numpy as jnp

import funcopt

STEPS = 500


@eqx.filter_value_and_grad
def mean_squared_error(model, x, y):
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


@eqx.filter_jit
def train_step(tx, model, state, x, y):
    loss, grads = mean_squared_error(model, x, y)
    model, state = funcopt.step(tx, grads, state, model)  # the whole model will do here
    return model, state, loss


def main():
    x = jnp.linspace(-1, 1, 256)[:, None]
    y = jnp.sin(6 * x)
    model = eqx.nn.MLP(1, 1, width_size=32, depth=2, activation=jnp.tanh, key=jax.random.key(0))
    tx = funcopt.nadam(funcopt.cosine_decay_schedule(1e-2, STEPS))
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    for step in range(STEPS):
        model, state, loss = train_step(tx, model, state, x, y)
        if step % 100 == 0:
            print(f"step {step:3d}  loss {loss:.5f}  rate {funcopt.current_lr(state):.5f}")
    print(f"step {STEPS}  loss {loss:.5f}")
    return float(loss)


if __name__ == "__main__":
    main()
