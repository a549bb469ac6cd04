"""A Flax Linen network: funcopt's optimizer inside Flax's TrainState."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.training.train_state import TrainState

import funcopt

STEPS = 500


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(32)(x))
        x = nn.tanh(nn.Dense(32)(x))
        return nn.Dense(1)(x)


@jax.jit
def train_step(train_state, x, y):
    def loss(params):
        return jnp.mean((train_state.apply_fn(params, x) - y) ** 2)

    value, grads = jax.value_and_grad(loss)(train_state.params)
    return train_state.apply_gradients(grads=grads), value


def main():
    x = jnp.linspace(-1, 1, 256)[:, None]
    y = jnp.sin(6 * x)
    network = Network()
    train_state = TrainState.create(
        apply_fn=network.apply,
        params=network.init(jax.random.key(0), x),
        tx=funcopt.adam(funcopt.cosine_decay_schedule(1e-2, STEPS)),
    )
    for step in range(STEPS):
        train_state, loss = train_step(train_state, x, y)
        if step % 100 == 0:
            rate = funcopt.current_lr(train_state.opt_state)
            print(f"step {step:3d}  loss {loss:.5f}  rate {rate:.5f}")
    print(f"step {STEPS}  loss {loss:.5f}")
    return float(loss)


if __name__ == "__main__":
    main()
