"""Find a learning rate: train for a short while as the rate rises, and see where the loss falls."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcopt

from ...core.given import is_inexact, keyed, trained
from ...core.with_rate import nested
from ..names import look_up
from ..problems.batches import batch_at, finite, is_function, stacked
from ..training.candidates import factory, parse, tried
from ..training.grid import parse_seeds
from .range_test import CONVENTIONS, DEFAULT, FEWEST, Convention, RangeTest, nothing, read, track


def find_lr(
    loss_fn: Callable[..., jax.Array],
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
    convention: Convention = DEFAULT,
) -> RangeTest:
    """The learning-rate range test: one short training whose rate rises exponentially.

    Step `t` of `steps` takes the rate `lr_min (lr_max / lr_min)^(t / (steps - 1))`. Training stops
    where the loss diverges: the parameters stay as they are from there on. All of it is one
    compiled scan, mapped over the seeds; nothing that is given is changed.

    A batch with numbers that are not finite is left out, and a step after which parameters would
    not be finite does not count; one alone is no divergence. The answer says how many there were.

    - `loss_fn(params, batch)`: the loss, a scalar; or `loss_fn(params, batch, key)`.
    - `params`: where every run starts: parameters, a whole model (of which the floating-point
      arrays are trained), or a function `key -> params`.
    - `batches`: a loader, a generator or a list of batches, of which `steps` are taken and those
      of another shape than the first are left out; or a tree of arrays `[batch, ...]`; every seed
      takes them in an order of its own, over and over. Or a function `(key, step) -> batch`.
    - `tx`: the transformation of funcopt that will train, guarded, monitored, partitioned, whose
      learning rate is replaced (rates of groups that differ keep their ratios to the largest, of
      which the answer is); a function `rate -> transformation`; or a call without its rate, such
      as `"sgd(momentum=0.9)"`. Behind `accumulate` a step takes as many batches as an update.
    - `lr_min`, `lr_max`: the range, positive. `steps`: at least 30.
    - `seeds`: how many runs, or their seeds; the answer is the median over them.
    - `smooth`: of the running mean, in [0, 1). `stop_factor`: above 1; how many times worse than
      its best the loss may be.
    - `convention`: the answer, one of `minimum/10`, `valley`, `steepest`, `slide`.

    `.suggestion` is the peak of a schedule that decays to zero. A rate that stays constant has to
    be smaller, because the noise of minibatches stays as well: `.constant`. The record has all four
    conventions. Both are None where the loss never falls, has diverged at the start, or is not
    finite; `.reason` says which. `funcopt.with_rate(tx, found.suggestion)` takes it over.

    Raises `ValueError` and `TypeError` for arguments other than these.

    >>> from funcopt.lab import get_task
    >>> task = get_task("linear_regression")
    >>> found = find_lr(task.loss, task.init, task.sample, "adam", seeds=2)
    >>> 1e-3 < found.suggestion < 10
    True

    Source: arXiv:1506.01186, section 3.3.
    """
    if not callable(loss_fn):
        raise TypeError(f"loss_fn: {loss_fn!r} given, expected a function (params, batch) -> loss.")
    make, starts = as_factory(tx), parse_seeds(seeds)
    check(lr_min, lr_max, steps, smooth, stop_factor)
    look_up("convention", convention, CONVENTIONS)
    rates = np.geomspace(lr_min, lr_max, steps)
    loss, every = keyed(loss_fn), in_an_update(tx)
    fixed, model_at = beginning(params)

    def fits(batch):
        try:
            jax.eval_shape(
                lambda key, batch: loss(model_at(key, fixed), batch, key), jax.random.key(0), batch
            )
        except Exception:  # whatever a user's loss raises where a batch is not one of its own
            return False
        return True

    data = stacked(batches, steps * every, fits)
    run = range_program(loss, model_at, make, smooth, stop_factor, every)
    keys = jax.vmap(jax.random.key)(jnp.asarray(starts, jnp.uint32))
    arrays = () if is_function(data) else data

    def one_seed(key, rates, fixed, arrays):
        return run(key, rates, fixed, data if is_function(data) else arrays)

    over_seeds = jax.jit(jax.vmap(one_seed, (0, None, None, None)))
    done = over_seeds(keys, jnp.asarray(rates, jnp.float32), fixed, arrays)
    losses, bad_batches, bad_steps = map(np.asarray, done)
    return read(
        rates,
        losses,
        smooth=smooth,
        stop_factor=stop_factor,
        convention=convention,
        bad_batches=bad_batches,
        bad_steps=bad_steps,
    )


def beginning(params: Any) -> tuple[Any, Callable[[jax.Array, Any], Any]]:
    """The arrays that every run starts from, and `model_at(key, arrays)`."""
    if is_function(params):
        return (), lambda key, fixed: params(key)
    arrays, whole = trained(params)
    return jax.tree.map(jnp.asarray, arrays), lambda key, fixed: whole(fixed)


def range_program(loss_fn, model_at, make, smooth, stop_factor, every):
    """`run(key, rates, fixed, batches) -> (losses, bad batches, bad steps)`.

    The losses are those of `loss_fn(model, batch, key)`, NaN from where the run has stopped and
    where a batch or a step is bad. Each rate stays for `every` batches.
    """

    def run(key, rates, fixed, batches):
        start, data = jax.random.split(key)
        begin, whole = trained(model_at(start, fixed))
        begin = jax.tree.map(jnp.asarray, begin)
        batch_of = batch_at(batches, data)

        def differentiated(params, state, batch, key):
            loss = loss_fn(whole(params), batch, key)
            if not is_inexact(loss) or loss.shape:
                raise ValueError(
                    f"loss_fn: {loss!r} returned, expected a floating-point scalar alone; where it "
                    "has more to say, give lambda params, batch: loss_fn(params, batch)[0]."
                )
            return scaled(loss, state), loss

        def one_batch(carry, step, rate, stopped):
            params, state = carry
            batch, key = batch_of(step), jax.random.fold_in(data, step)
            slopes = jax.grad(differentiated, has_aux=True)
            grads, loss = slopes(params, state, batch, key)
            new = funcopt.step(make(rate), grads, state, params, value=loss)
            usable, sound = finite(batch), finite(new[0])
            counts = usable & sound & ~stopped
            kept = jax.tree.map(lambda old, new: jnp.where(counts, new, old), carry, new)
            return kept, loss.astype(jnp.float32), usable, sound & jnp.isfinite(loss)

        def one(carry, now):
            params, state, memory = carry
            first, rate = now

            def inner(carry, step):
                kept, *said = one_batch(carry, step, rate, memory.stopped)
                return kept, said

            before, was_stopped = (params, state), memory.stopped
            kept, (each, usable, sound) = jax.lax.scan(inner, before, first + jnp.arange(every))
            said = jnp.where(sound, each, jnp.nan)
            loss = jnp.mean(said, where=usable)
            heard, _ = track(memory, loss, smooth, stop_factor)
            memory = jax.tree.map(lambda old, new: jnp.where(usable.any(), new, old), memory, heard)
            kept = jax.tree.map(lambda old, new: jnp.where(memory.stopped, old, new), before, kept)
            bad = ~usable.all(), (usable & ~sound).any()
            told = jnp.where(was_stopped, jnp.nan, loss), *(x & ~was_stopped for x in bad)
            return (*kept, memory), told

        carry = begin, make(rates[0]).init(begin), nothing()
        return jax.lax.scan(one, carry, (every * jnp.arange(len(rates)), rates))[1]

    return run


def scaled(loss: jax.Array, state: Any) -> jax.Array:
    """The loss to differentiate: times the scale that the state of a `loss_scale` has."""
    try:
        return funcopt.scale_loss(loss, state)
    except ValueError:
        return loss


def in_an_update(tx: Any) -> int:
    """How many batches `accumulate` takes for an update."""
    if not isinstance(tx, funcopt.GradientTransformation):
        return 1
    counts = [each.arguments["every"] for each in nested(tx) if each.factory is funcopt.accumulate]
    return max([count for count in counts if isinstance(count, int)], default=1)


def as_factory(tx: Any) -> Callable[[Any], Any]:
    """A function of the learning rate that makes `tx` with it."""
    return parse(tx).make if isinstance(tx, str) else tried("tx", factory("tx", tx))


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
