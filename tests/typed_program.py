"""A program for a type checker: what is right passes, and each line marked `error` does not.

`tests/test_types.py` runs pyright on it. Nothing runs it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import funcopt


@jax.tree_util.register_dataclass
@dataclass
class Dense:
    kernel: jax.Array
    bias: jax.Array


class Pair(NamedTuple):
    first: Dense
    second: jax.Array


class Model(eqx.Module):
    dense: Dense


def trained(dense: Dense, pair: Pair, model: Model, by_name: dict[str, jax.Array]) -> jax.Array:
    tx = funcopt.guard(funcopt.adam(1e-3))
    state = tx.init(dense)
    dense, state = funcopt.step(tx, dense, state, dense, value=1.0)
    updates, state = tx.update(dense, state, dense)
    dense = funcopt.apply_updates(dense, updates)
    pair, _ = funcopt.step(tx, pair, tx.init(pair), pair)
    model, _ = funcopt.step(tx, model, tx.init(model), model)
    by_name, other = funcopt.step(optax.sgd(0.1), by_name, tx.init(by_name), by_name)
    average = funcopt.eval_params(tx, state, dense)
    scalars = funcopt.metrics(state), funcopt.current_lr(state), funcopt.global_norm(pair)
    del updates, other, scalars
    first = pair.first.kernel + model.dense.kernel + by_name["kernel"] + average.bias
    return first + dense.kernell  # error


def made() -> list[funcopt.GradientTransformation]:
    mistyped = [
        funcopt.amsgrad(1e-3, variant="pytroch"),  # error
        funcopt.adam(funcopt.cyclic_schedule(0.1, 1.0, mode="triangle")),  # error
        funcopt.sgd(0.1 * funcopt.on_plateau(mode="minimum")),  # error
        funcopt.adam("fast"),  # error
        funcopt.adam(1e-3, b3=0.9),  # error
        funcopt.sgd(0.1, momentum="high"),  # error
        funcopt.rmsprop(0.1, momentum=[0.9]),  # error
        funcopt.adamw(1e-3, mask=3),  # error
        funcopt.dog(weight_decay="none"),  # error
        funcopt.dog(init_step=("far", 1e-4)),  # error
        funcopt.prodigy(betas=("x", 0.9)),  # error
        funcopt.clip_by_norm("big"),  # error
        funcopt.adam(funcopt.adam),  # error
        funcopt.sgd(funcopt.linear_schedule(1.0, 0.0, 10) * "half"),  # error
        funcopt.with_rate(funcopt.sgd(0.1), "fast"),  # error
        funcopt.chain(funcopt.clip(1.0), "adam"),  # error
        funcopt.sgd(funcopt.schedules.product(0.1, "cosine")),  # error
        funcopt.guard(funcopt.sgd(0.1), patience="long"),  # error
        funcopt.accumulate(funcopt.sgd(0.1), "four"),  # error
        funcopt.optimizer(funcopt.rules.Adam(b1="x"), learning_rate=0.1),  # error
    ]
    masked = [
        funcopt.adamw(1e-3, mask="kernel$"),
        funcopt.adamw(1e-3, mask=["kernel$", "!head"]),
        funcopt.adamw(1e-3, mask=lambda path, leaf: leaf.ndim > 1),
        funcopt.adamw(1e-3, mask={"kernel": True, "bias": False}),
        funcopt.adamw(1e-3, mask=Dense(jnp.array(True), jnp.array(False))),
        funcopt.adamw(1e-3, mask=Model(ones())),
        funcopt.sgd(0.1, momentum=funcopt.linear_schedule(0.5, 0.9, 100)),
        funcopt.sgd(0.1, momentum=lambda step: 0.9),
        funcopt.sgd(0.1, momentum=jnp.array([0.5, 0.9])),
    ]
    steps = jnp.array(4)
    masked += [
        funcopt.accumulate(funcopt.sgd(0.1), steps),
        funcopt.sgd(funcopt.schedules.total(0.1, lambda step: 0.1 / (step + 1))),
        funcopt.sgd(0.5 * funcopt.schedules.product(0.1, funcopt.on_plateau())),
    ]
    rate = funcopt.cosine_decay_schedule(1.0, 10).replace(decay_steps=20)
    return [
        *mistyped,
        *masked,
        funcopt.adam(rate).replace(b1=0.95),
        funcopt.with_rate(mistyped[0], 0.1),
    ]


@funcopt.rule(acts_on="element")
class Damp(funcopt.Rule):
    factor: funcopt.arguments.DecayRate = 0.5
    power: funcopt.arguments.Positive = 1

    def update(self, grad: jax.Array, slots, param: jax.Array, clock: funcopt.Clock):
        half: jax.Array = self.factor
        damped: jax.Array = grad * half**self.power + (1 - self.factor)
        self.factor(clock.t)  # error
        return damped, slots


def damped() -> list[Damp]:
    return [
        Damp(),
        Damp(lambda step: 0.5),
        Damp(jnp.array(0.5), 2),
        Damp(factor="half"),  # error
        Damp(power=lambda step: 2.0),  # error
        Damp(None),  # error
    ]


def ones() -> Dense:
    return Dense(jnp.ones(2), jnp.ones(2))
