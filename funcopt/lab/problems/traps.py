"""Two tiny problems on which training goes wrong in a way that can be seen whole."""

import jax
import jax.numpy as jnp

from .task import Task

CLIFF_STEPS = 50
NOISE = 1e-6


def no_accuracy() -> jax.Array:
    return jnp.asarray(jnp.nan, jnp.float32)


def cliff_loss(w: jax.Array, b: jax.Array) -> jax.Array:
    """The error of a network of one unit after 50 steps.

    x_{t+1} = w sigmoid(x_t) + b, x_0 = 1/2; the loss is (sigmoid(x_50) - 0.7)^2.
    """
    x = jax.lax.fori_loop(0, CLIFF_STEPS, lambda _, x: w * jax.nn.sigmoid(x) + b, 0.5 + 0 * w)
    return jnp.square(jax.nn.sigmoid(x) - 0.7)


def cliff() -> Task:
    """A recurrent network of one unit, whose error has a wall: gradients of 1000 beside 0.1.

    It starts near the wall, w about 5 and b about -2.4. On one side of the wall the unit is on, and
    the error at most 0.09; on the other it is off, and the error up to 0.49. The shape is that of
    figure 6 of Pascanu et al. 2013, arXiv:1211.5063.
    """

    def init(key):
        w, b = jax.random.uniform(key, (2,), minval=-0.25, maxval=0.25)
        return {"w": 5.0 + w, "b": -2.4 + b}

    def loss(params, batch):
        del batch  # there is one example
        return cliff_loss(params["w"], params["b"])

    return Task(
        name="cliff",
        summary="one recurrent unit, a wall in its error surface: gradients explode",
        init=init,
        sample=lambda key, step: (),
        loss=loss,
        evaluate=lambda params: {"loss": loss(params, ()), "accuracy": no_accuracy()},
        chance=0.09,
        target=0.01,
        scored="error",
        settings={"time_steps": CLIFF_STEPS},
    )


def spike() -> Task:
    """A parabola, x^2 / 2, on which Adam's loss jumps by orders of magnitude, long after it fell.

    Gradients shrink to the noise, 1e-6 times a normal number; Adam's second moment forgets the
    large ones at its own pace. While it does, steps grow, until the learning rate over the root of
    the second moment is too large for this curvature. That needs no steep place, and no large
    rate: plain gradient descent is stable up to a rate of 2. Without the noise float32 would arrive
    at exactly zero, where nothing grows. arXiv:2506.04805 has the mechanism, without noise.
    """

    def loss(params, batch):
        return 0.5 * jnp.square(params["x"] - batch)

    return Task(
        name="spike",
        summary="a parabola in one dimension: Adam's loss spikes",
        init=lambda key: {"x": jax.random.uniform(key, (), minval=0.5, maxval=2.0)},
        sample=lambda key, step: NOISE * jax.random.normal(jax.random.fold_in(key, step)),
        loss=loss,
        evaluate=lambda params: {"loss": 0.5 * params["x"] ** 2, "accuracy": no_accuracy()},
        chance=0.5,
        target=1e-8,
        optimum=0.0,
        scored="loss",
        settings={"noise": NOISE},
    )
