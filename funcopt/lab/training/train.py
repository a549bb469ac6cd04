"""Train one optimizer at every learning rate and seed at once, as one compiled program."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcopt

from ...core.lift import Lifted
from ...monitoring.inside import algorithms
from ...transforms.hutchinson_diagonal import hutchinson_diagonal
from ..drawing.told import told
from ..problems.tasks import Task
from .candidates import Candidate


@told
@dataclass(frozen=True, eq=False)
class Sweep:
    """The result of one optimizer on a grid of seeds x learning rates.

    `curves[s, r, p]` is the training loss of the minibatches up to step `at[p]`, averaged since
    the point before. `loss` and `accuracy` are the task's verdict on the final parameters.
    `steps` is smaller than what was planned when the run was interrupted.
    """

    label: str
    rates: np.ndarray
    seeds: np.ndarray
    steps: int
    at: np.ndarray
    curves: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    diverged: np.ndarray
    state_bytes: float
    compile_seconds: float
    run_seconds: float

    def headline(self) -> str:
        """What was done, and the smallest loss of it."""
        grid = f"{len(self.rates)} settings x {len(self.seeds)} seeds, {self.steps} steps"
        losses = self.loss[~self.diverged]
        best = f"smallest loss {losses.min():.3g}" if losses.size else "every run diverged"
        return f"{self.label}, {grid}: {best}"


@told
@dataclass(frozen=True)
class Bench:
    """What all optimizers of one comparison share: the task, the grid and the starting points."""

    task: Task
    rates: np.ndarray
    seeds: np.ndarray
    steps: int
    keys: Any
    params: Any
    evaluate: Callable[[Any], dict[str, jax.Array]]
    start_loss: np.ndarray

    def headline(self) -> str:
        """What all optimizers of the comparison share."""
        grid = f"{len(self.rates)} settings x {len(self.seeds)} seeds, {self.steps} steps"
        return f"{self.task.name}, {grid}"


def bench(task: Task, rates: np.ndarray, seeds: np.ndarray, steps: int) -> Bench:
    """Starting parameters for every seed, copied for every rate, and the compiled verdict."""

    def start(seeds):
        keys = jax.vmap(jax.random.key)(seeds)
        keys = jax.vmap(lambda key: jax.random.split(key, 2))(keys)
        params = jax.vmap(task.init)(keys[:, 0])
        repeat = lambda leaf: jnp.repeat(leaf[:, None], len(rates), axis=1)  # noqa: E731
        return keys[:, 1], jax.tree.map(repeat, params)

    keys, params = jax.jit(start)(jnp.asarray(seeds, jnp.uint32))
    verdict: Any = task.evaluate
    evaluate = jax.jit(jax.vmap(jax.vmap(verdict)))
    return Bench(
        task=task,
        rates=rates,
        seeds=seeds,
        steps=steps,
        keys=keys,
        params=params,
        evaluate=evaluate,
        start_loss=np.asarray(evaluate(params)["loss"]),
    )


def state_bytes(make: Callable[[Any], Any], params: Any, rate: Any = 1e-3) -> float:
    """Bytes of optimizer state for each parameter, the few scalars of the state included.

    >>> state_bytes(funcopt.adam, jnp.zeros((1000, 1000)))
    8.00...
    """
    shapes = jax.eval_shape(lambda params: make(rate).init(params), params)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    return size / sum(leaf.size for leaf in jax.tree.leaves(params))


ESTIMATE_EVERY = 10


def reads_hessian(tx: Any) -> bool:
    """Whether a rule of `tx` reads `hessian_diagonal=`.

    >>> reads_hessian(funcopt.guard(funcopt.sophia(0.1))), reads_hessian(funcopt.adam(0.1))
    (True, False)
    """
    chains = (body for body in algorithms(tx) if isinstance(body, Lifted))
    return any(rule.needs_hessian for chain in chains for rule in chain.rules)


def training_program(task: Task, make: Callable[[Any], Any]):
    """`advance(carry, keys, rates, first, count) -> (carry, mean loss)` over seeds x rates.

    How many steps one call makes is an argument of the compiled program, so that every chunk of
    a run, also the last short one, is the same program. What reads the Hessian's diagonal is given
    an estimate at every tenth step.
    """

    def one_step(carry, rate, batch, key, step):
        params, state = carry
        loss, grads = jax.value_and_grad(task.loss)(params, batch)
        tx = make(rate)
        update = partial(funcopt.step, tx, grads, state, params, value=loss)
        if not reads_hessian(tx):
            return update(), loss

        def estimated():
            return hutchinson_diagonal(lambda params: task.loss(params, batch), params, key)

        carry = jax.lax.cond(
            step % ESTIMATE_EVERY == 0,
            lambda: update(hessian_diagonal=estimated()),
            lambda: update(hessian_diagonal=None),
        )
        return carry, loss

    def one_seed(carry, key, rates, step):
        # The batch depends on the seed alone: every learning rate sees the same data.
        batch = task.sample(key, step)
        drawn = jax.random.fold_in(jax.random.fold_in(key, step), 1)
        over_rates = jax.vmap(one_step, in_axes=(0, 0, None, None, None))
        return over_rates(carry, rates, batch, drawn, step)

    def advance(carry, keys, rates, first, count):
        def body(offset, carry):
            carry, total = carry
            over_seeds = jax.vmap(one_seed, in_axes=(0, 0, None, None))
            carry, loss = over_seeds(carry, keys, rates, first + offset)
            return carry, total + loss

        total = jnp.zeros((keys.shape[0], rates.shape[0]))
        carry, total = jax.lax.fori_loop(0, count, body, (carry, total))
        return carry, total / count.astype(total.dtype)

    return advance


@told
@dataclass(frozen=True)
class Prepared:
    """A candidate whose training is compiled for the shape of one grid."""

    candidate: Candidate
    make: Callable[[Any], Any]
    init: Callable[[Any, Any], Any]
    advance: Callable[..., Any]
    compile_seconds: float

    def headline(self) -> str:
        """Whose training it is."""
        return f"{self.candidate.label}, compiled in {self.compile_seconds:.1f} s"


def prepare(candidate: Candidate, shared: Bench, shape: Callable[[Any, int], Any]) -> Prepared:
    """Compile the training of `candidate`; `shape(rate, steps)` is what the optimizer gets."""

    def make(rate):
        return candidate.make(shape(rate, shared.steps))

    rates = jnp.asarray(shared.rates, jnp.float32)
    began = time.perf_counter()
    over_grid = jax.vmap(jax.vmap(lambda rate, params: make(rate).init(params)), in_axes=(None, 0))
    init = jax.jit(over_grid)
    carry = (shared.params, init(rates, shared.params))
    program = jax.jit(training_program(shared.task, make))
    zero = jnp.int32(0)
    compiled = program.lower(carry, shared.keys, rates, zero, zero).compile()
    return Prepared(candidate, make, init, compiled, time.perf_counter() - began)


def train_grid(
    candidate: Candidate,
    shared: Bench,
    shape: Callable[[Any, int], Any],
    *,
    points: int = 50,
    report: Callable[[int], None] = lambda step: None,
) -> tuple[Sweep, bool]:
    """Run `candidate` over the grid; the flag says whether all steps were made.

    `shape(rate, steps)` turns a learning rate into what the optimizer gets. `report(step)` is
    called after each of about `points` chunks. A `KeyboardInterrupt` while training ends the run
    at the last complete chunk; what was reached is evaluated and returned.
    """
    return train(prepare(candidate, shared, shape), shared, points=points, report=report)


def train(
    prepared: Prepared,
    shared: Bench,
    *,
    points: int = 50,
    report: Callable[[int], None] = lambda step: None,
) -> tuple[Sweep, bool]:
    """Run what was compiled on the rates of `shared`, which may be others than it was made for."""
    rates = jnp.asarray(shared.rates, jnp.float32)
    carry = (shared.params, prepared.init(rates, shared.params))
    ends = np.unique(np.linspace(0, shared.steps, min(points, shared.steps) + 1).astype(int))[1:]
    curve, done = [], 0
    began = time.perf_counter()
    try:
        report(0)
        for end in ends.tolist():
            count = jnp.int32(end - done)
            following, mean = prepared.advance(carry, shared.keys, rates, jnp.int32(done), count)
            mean = np.asarray(mean)
            carry, done = following, end
            curve.append(mean)
            report(done)
    except KeyboardInterrupt:
        if not curve:
            raise
    run_seconds = time.perf_counter() - began
    curves = np.stack(curve, axis=-1)
    verdict = jax.tree.map(np.asarray, shared.evaluate(carry[0]))
    done = int(ends[len(curve) - 1])
    one = jax.tree.map(lambda leaf: leaf[0, 0], shared.params)
    record = Sweep(
        label=prepared.candidate.label,
        rates=shared.rates,
        seeds=shared.seeds,
        steps=done,
        at=ends[: len(curve)],
        curves=curves,
        loss=verdict["loss"],
        accuracy=verdict["accuracy"],
        diverged=diverged(curves, verdict["loss"], shared.start_loss, shared.task.chance),
        state_bytes=state_bytes(prepared.make, one, rates[0]),
        compile_seconds=prepared.compile_seconds,
        run_seconds=run_seconds,
    )
    return record, done == shared.steps


def diverged(curves, loss, start_loss, chance: float | None) -> np.ndarray:
    """Which runs failed: a loss that is not finite, or twice as bad as guessing and starting.

    Twice as bad as a negative loss is as far above it again.
    """
    finite = np.isfinite(curves).all(axis=-1) & np.isfinite(loss)
    with np.errstate(invalid="ignore"):
        worst = np.maximum(start_loss, -np.inf if chance is None else chance)
        return ~finite | (loss > worst + np.abs(worst))
