"""Find a learning rate: train for a short while as the rate rises, and see where the loss falls."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt

from .candidates import parse
from .grid import parse_seeds
from .lr_range import CONVENTIONS, DEFAULT, FEWEST, RangeTest, nothing, read, track
from .names import look_up


def find_lr(
    loss_fn: Callable[[Any, Any], jax.Array],
    params: Any,
    batches: Any,
    tx: Any,
    *,
    lr_min: float = 1e-7,
    lr_max: float = 10.0,
    steps: int = 100,
    seeds: int | Sequence[int] = 1,
    smooth: float = 0.97,
    stop_factor: float = 4.0,
    convention: str = DEFAULT,
) -> RangeTest:
    """The learning-rate range test: one short training whose rate rises exponentially.

    Step `t` of `steps` takes the rate `lr_min (lr_max / lr_min)^(t / (steps - 1))`. Training stops
    where the loss diverges: the parameters stay as they are from there on. All of it is one
    compiled scan, mapped over the seeds; nothing that is given is changed.

    - `loss_fn(params, batch)`: the loss, a scalar.
    - `params`: where every run starts, or a function `key -> params`.
    - `batches`: a tree of arrays `[batch, ...]`, which every seed takes in an order of its own,
      over and over; or a function `(key, step) -> batch`.
    - `tx`: a transformation of funcopt with a learning rate, which is replaced; a function
      `rate -> transformation`; or a call without its rate, such as `"sgd(momentum=0.9)"`.
    - `lr_min`, `lr_max`: the range, positive. `steps`: at least 30.
    - `seeds`: how many runs, or their seeds; the answer is the median over them.
    - `smooth`: of the running mean, in [0, 1). `stop_factor`: above 1; how many times worse than
      its best the loss may be.
    - `convention`: the answer, one of `minimum/10`, `valley`, `steepest`, `slide`.

    `.suggestion` is the peak of a schedule that decays to zero. A rate that stays constant has to
    be smaller, because the noise of minibatches stays as well: `.constant`. The record has all four
    conventions. Both are None where the loss never falls, has diverged at the start, or is not
    finite; `.reason` says which.

    Raises `ValueError` and `TypeError` for arguments other than these.

    >>> from funcopt.lab import get_task
    >>> task = get_task("linear_regression")
    >>> found = find_lr(task.loss, task.init, task.sample, "adam", seeds=2)
    >>> 1e-3 < found.suggestion < 10
    True

    Source: arXiv:1506.01186, section 3.3.
    """
    make, starts = as_factory(tx), parse_seeds(seeds)
    check(lr_min, lr_max, steps, smooth, stop_factor)
    look_up("convention", convention, CONVENTIONS)
    rates = np.geomspace(lr_min, lr_max, steps)
    run = range_program(loss_fn, params, batches, make, smooth, stop_factor)
    keys = jax.vmap(jax.random.key)(jnp.asarray(starts, jnp.uint32))
    over_seeds = jax.jit(jax.vmap(run, in_axes=(0, None)))
    losses = np.asarray(over_seeds(keys, jnp.asarray(rates, jnp.float32)))
    return read(rates, losses, smooth=smooth, stop_factor=stop_factor, convention=convention)


def range_program(loss_fn, params, batches, make, smooth, stop_factor):
    """`run(key, rates) -> losses`, NaN from where the run has stopped."""

    def run(key, rates):
        start, data = jax.random.split(key)
        begin = params(start) if is_function(params) else jax.tree.map(jnp.asarray, params)
        batch_at = sampler(batches, data)

        def one(carry, now):
            params, state, memory = carry
            step, rate = now
            loss, grads = jax.value_and_grad(loss_fn)(params, batch_at(step))
            new = funcopt.step(make(rate), grads, state, params, value=loss)
            was_stopped = memory.stopped
            memory, _ = track(memory, loss, smooth, stop_factor)
            kept = jax.tree.map(
                lambda old, new: jnp.where(memory.stopped, old, new), (params, state), new
            )
            return (*kept, memory), jnp.where(was_stopped, jnp.nan, loss.astype(jnp.float32))

        carry = begin, make(rates[0]).init(begin), nothing()
        return jax.lax.scan(one, carry, (jnp.arange(len(rates)), rates))[1]

    return run


def is_function(x: Any) -> bool:
    """Whether `x` is a function rather than a tree of arrays, which may be callable as well."""
    return callable(x) and jax.tree.leaves(x) == [x]


def sampler(batches: Any, key: jax.Array) -> Callable[[Any], Any]:
    """`step -> batch`, for one run."""
    if is_function(batches):
        return lambda step: batches(key, step)
    leaves = [jnp.shape(leaf) for leaf in jax.tree.leaves(batches)]
    counts = {shape[0] for shape in leaves if shape}
    if len(counts) != 1 or not all(leaves) or 0 in counts:
        raise ValueError(
            f"batches: leaves of the shapes {leaves} given, expected arrays whose first axis "
            "counts the batches, the same for all; or a function (key, step) -> batch."
        )
    (count,) = counts
    order = jax.random.permutation(key, count)
    return lambda step: jax.tree.map(lambda leaf: jnp.asarray(leaf)[order[step % count]], batches)


def as_factory(tx: Any) -> Callable[[Any], Any]:
    """A function of the learning rate that makes `tx` with it."""
    if isinstance(tx, str):
        return parse(tx).make
    if isinstance(tx, funcopt.GradientTransformation):
        with_rate(tx, 1e-3)
        return lambda rate: with_rate(tx, rate)
    if isinstance(tx, optax.GradientTransformation) or not callable(tx):
        raise TypeError(
            f"tx: {tx!r} given, whose learning rate cannot be replaced; expected a transformation "
            "of funcopt, or a function of the rate such as lambda rate: optax.adam(rate)."
        )
    return tx


def with_rate(tx: Any, rate: Any) -> Any:
    """`tx` with another learning rate: its own, or that of the one member of a chain that has one.

    >>> clipped = funcopt.chain(funcopt.clip(1.0), funcopt.adam(1e-3))
    >>> with_rate(clipped, 0.1)
    chain(clip(max_delta=1.0), adam(learning_rate=0.1))
    """
    if "learning_rate" in tx.arguments:
        return tx.replace(learning_rate=rate)
    members = tx.arguments.get("transforms", ())
    own = [place for place, member in enumerate(members) if has_rate(member)]
    if len(own) != 1:
        raise ValueError(
            f"tx: {tx!r} has {len(own) or 'no'} learning rates that could be replaced, expected "
            "one; give a function of the rate instead, such as lambda rate: funcopt.adam(rate)."
        )
    changed = with_rate(members[own[0]], rate)
    return tx.replace(transforms=(*members[: own[0]], changed, *members[own[0] + 1 :]))


def has_rate(tx: Any) -> bool:
    if not isinstance(tx, funcopt.GradientTransformation):
        return False
    return "learning_rate" in tx.arguments or any(map(has_rate, tx.arguments.get("transforms", ())))


def check(lr_min: float, lr_max: float, steps: int, smooth: float, stop_factor: float) -> None:
    if not (0 < lr_min < lr_max and math.isfinite(lr_max)):
        raise ValueError(
            f"lr_min {lr_min}, lr_max {lr_max}: expected two finite rates, 0 < lr_min < lr_max."
        )
    if steps < 3 * FEWEST + 6:
        raise ValueError(f"steps: {steps} given, expected at least {3 * FEWEST + 6}.")
    if not 0 <= smooth < 1:
        raise ValueError(f"smooth: {smooth} given, expected a number in [0, 1).")
    if not stop_factor > 1:
        raise ValueError(f"stop_factor: {stop_factor} given, expected a number above 1.")
