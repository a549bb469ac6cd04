"""Learn the learning rate, the decay and the betas by gradient: differentiate a training by `tx`.

A transformation is a pytree of its numbers, so `jax.grad(validation_loss)(tx)` is one as well: it
holds the derivative of the loss at the end of a short training by each of them.
"""

import jax
import jax.numpy as jnp

import funcopt

STEPS, ROUNDS = 60, 40
LEARNT = "learning_rate", "weight_decay", "b1", "b2"


def init(key, widths=(1, 32, 1)):
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {"kernel": jax.random.normal(k, (m, n)) / jnp.sqrt(m), "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def mean_squared_error(params, x, y):
    for layer in params[:-1]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.mean((x @ params[-1]["kernel"] + params[-1]["bias"] - y) ** 2)


def validation_loss(tx, key=0):
    """Train for `STEPS` updates with `tx`, on noisy points; the loss on points without noise."""
    start, noise = jax.random.split(jax.random.key(key))
    x, unseen = jnp.linspace(-1, 1, 64)[:, None], jnp.linspace(-1, 1, 101)[:, None]
    y = jnp.sin(4 * x) + 0.1 * jax.random.normal(noise, x.shape)

    def step(carry, _):
        params, state = carry
        grads = jax.grad(mean_squared_error)(params, x, y)
        return funcopt.step(tx, grads, state, params), None

    params = init(start)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=STEPS)
    return mean_squared_error(params, unseen, jnp.sin(4 * unseen))


def build(free):
    """The transformation at a point without bounds: logarithms of rate and decay, logits of betas.

    `eps_root` keeps the derivative of the square root finite where a gradient is zero.
    """
    return funcopt.adamw(
        jnp.exp(free["log_rate"]),
        b1=jax.nn.sigmoid(free["logit_b1"]),
        b2=jax.nn.sigmoid(free["logit_b2"]),
        weight_decay=jnp.exp(free["log_decay"]),
        eps_root=1e-8,
    )


@jax.jit
def improve(outer, free, state):
    loss, grads = jax.value_and_grad(lambda free: validation_loss(build(free)))(free)
    free, state = funcopt.step(outer, grads, state, free)
    return free, state, loss


def main():
    tx = funcopt.adamw(1e-3, b1=0.9, b2=0.999, weight_decay=0.1, eps_root=1e-8)
    slopes = jax.jit(jax.grad(validation_loss))(tx).arguments
    for name in LEARNT:
        print(f"d loss / d {name} = {slopes[name]:.3g}")

    logit = jax.scipy.special.logit
    free = {
        "log_rate": jnp.log(1e-3),
        "log_decay": jnp.log(0.1),
        "logit_b1": logit(0.9),
        "logit_b2": logit(0.999),
    }
    outer = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(0.2))
    state, losses = outer.init(free), []
    for turn in range(ROUNDS):
        tx = build(free)
        free, state, loss = improve(outer, free, state)
        losses.append((float(loss), tx))
        if turn % 10 == 0:
            print(f"round {turn:2d}  loss {loss:.5f}  {describe(tx)}")
    best, tx = min(losses, key=lambda pair: pair[0])
    print(f"best      loss {best:.5f}  {describe(tx)}")
    return losses[0][0], best, tx


def describe(tx):
    return "  ".join(f"{name} {float(tx.arguments[name]):.3g}" for name in LEARNT)


if __name__ == "__main__":
    main()
