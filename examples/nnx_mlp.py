"""A Flax NNX network: funcopt's optimizer inside nnx.Optimizer."""

import jax.numpy as jnp
from flax import nnx

import funcopt

STEPS = 500


class Network(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(1, 32, rngs=rngs)
        self.second = nnx.Linear(32, 32, rngs=rngs)
        self.last = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.tanh(self.second(nnx.tanh(self.first(x)))))


def mean_squared_error(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(mean_squared_error)(model, x, y)
    optimizer.update(model, grads)
    return loss


def main():
    x = jnp.linspace(-1, 1, 256)[:, None]
    y = jnp.sin(6 * x)
    model = Network(nnx.Rngs(0))
    rate = funcopt.cosine_decay_schedule(1e-2, STEPS)
    tx = funcopt.adamw(rate, weight_decay=1e-4, mask="kernel$")
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for step in range(STEPS):
        loss = train_step(model, optimizer, x, y)
        if step % 100 == 0:
            print(f"step {step:3d}  loss {loss:.5f}")
    print(f"step {STEPS}  loss {loss:.5f}")
    return float(loss)


if __name__ == "__main__":
    main()
