"""A task as people write it, checked before anything is compiled, as the experiments want it."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ...core.arguments import is_tracer
from ...core.given import is_inexact, keyed, trained, wants_key
from .batches import is_function, stacked
from .task import Task
from .tasks import get_task

MOST = 1000  # batches that are taken of a loader
APART = 0x5EED  # a key that no seed of a run gives
HELD_OUT = 8
UNTRACEABLE = (
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
)


def ready(task: str | Task) -> Task:
    """The task of a name or of `module:name`, or one's own, as experiments want it: its parameters
    are arrays, and its functions fit together.

    Raises `TypeError` and `ValueError` for a function of the task that cannot be compiled, or that
    does not return what it should, before any training.
    """
    if isinstance(task, str) and ":" not in task:
        return get_task(task)
    task = get_task(task) if isinstance(task, str) else task
    if not isinstance(task, Task):
        raise TypeError(f"task: {task!r} given, expected a name or a funcopt.lab.Task(...).")
    key, step = jax.eval_shape(lambda: (jax.random.key(0), jnp.int32(0)))
    for name in ("init", "loss", "evaluate"):
        if not callable(getattr(task, name)) and (name != "evaluate" or task.evaluate is not None):
            raise _wrong(task, name, f"is {getattr(task, name)!r}, expected a function")
    init, whole = _beginning(task, key)
    params = _shapes(task, "init", init, key)
    if not jax.tree.leaves(params):
        raise _wrong(task, "init", "returned no array of floating-point numbers, nothing to train")
    loss = keyed(task.loss)

    def fits(batch: Any) -> bool:
        try:
            jax.eval_shape(lambda p, b, k: loss(whole(p), b, k), params, batch, key)
        except Exception:  # whatever a user's loss raises where a batch is not one of its own
            return False
        return True

    batch_at = _sampler(task.sample, fits)
    _shapes(task, "sample", batch_at, key, step)
    sample: Callable[[Any, Any], Any] = batch_at
    if wants_key(task.loss):

        def with_key(key: jax.Array, step: jax.Array) -> Any:
            return batch_at(key, step), jax.random.fold_in(key, step)

        sample = with_key

        def of_params(params: Any, batch: Any) -> jax.Array:
            return loss(whole(params), *batch)

    else:

        def of_params(params: Any, batch: Any) -> jax.Array:
            return task.loss(whole(params), batch)

    told = _shapes(task, "loss", lambda p, k, s: of_params(p, sample(k, s)), params, key, step)
    if not is_inexact(told) or told.shape:
        raise _wrong(task, "loss", f"returned {_said(told)}, expected a floating-point scalar")

    def held_out(params: Any) -> jax.Array:
        apart = jax.random.key(APART)
        return jnp.mean(
            jax.lax.map(lambda step: of_params(params, sample(apart, step)), jnp.arange(HELD_OUT))
        )

    verdict = held_out if task.evaluate is None else _of_model(task.evaluate, whole)
    told = _shapes(task, "evaluate", verdict, params)
    told = told if isinstance(told, dict) else {"loss": told}
    if "loss" not in told or any(
        jnp.shape(told[each]) for each in ("loss", "accuracy") if each in told
    ):
        found = ", ".join(f"{name!r}: {_said(x)}" for name, x in told.items())
        raise _wrong(
            task,
            "evaluate",
            f'returned {{{found}}}, expected {{"loss": a scalar}}, and "accuracy" where there is '
            "one",
        )
    own = task.evaluate is not None
    return replace(
        task,
        init=init,
        sample=sample,
        loss=of_params,
        evaluate=_complete(verdict),
        chance=_known(task.chance),
        target=_known(task.target),
        scored=task.scored if own or task.scored != "test loss" else "held-out loss",
    )


def _of_model(evaluate: Callable[[Any], Any], whole: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda params: evaluate(whole(params))


def _complete(verdict: Callable[[Any], Any]) -> Callable[[Any], dict[str, jax.Array]]:
    """A verdict with a loss and an accuracy, which is NaN where there is none."""

    def evaluate(params: Any) -> dict[str, jax.Array]:
        told = verdict(params)
        told = told if isinstance(told, dict) else {"loss": told}
        return {"accuracy": jnp.asarray(jnp.nan, jnp.float32), **told}

    return evaluate


def _beginning(task: Task, key: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`init(key)`, the parameters alone, and the function that puts them into a whole model."""
    models = []

    def init(key: jax.Array) -> Any:
        model = task.init(key)
        models.append(model)
        return trained(model)[0]

    _shapes(task, "init", init, key)
    if any(is_tracer(x) and not is_inexact(x) for x in jax.tree.leaves(models[0])):
        # Keys and counts of a model are as the first seed has them.
        models = [task.init(jax.random.key(0))]
    model = models[0]

    def whole(params: Any) -> Any:
        is_none = lambda x: x is None  # noqa: E731
        return jax.tree.map(lambda p, x: x if p is None else p, params, model, is_leaf=is_none)

    return lambda key: trained(task.init(key))[0], whole


def _sampler(sample: Any, fits: Callable[[Any], bool]) -> Callable[[Any, Any], Any]:
    """`(key, step) -> batch`, also of batches."""
    data = stacked(sample, MOST, fits)
    if is_function(data):
        return data
    count = jax.tree.leaves(data)[0].shape[0]

    def draw(key: jax.Array, step: jax.Array) -> Any:
        bits = jax.random.bits(jax.random.fold_in(key, step), (), jnp.uint32)
        place = bits % jnp.uint32(count)
        return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, place, 0, False), data)

    return draw


def _shapes(task: Task, name: str, function: Callable, *given: Any) -> Any:
    """What a function of the task returns, in shapes; its own errors say where they come from."""
    try:
        return jax.eval_shape(function, *given)
    except UNTRACEABLE as error:
        hint = (
            "batches of NumPy or of a loader are given as they are, `sample=loader`, or made "
            "arrays of JAX first, `jnp.asarray(x)[step % len(x)]`"
            if name == "sample"
            else "use jax.numpy instead of NumPy, and no Python branches on its numbers"
        )
        raise _wrong(task, name, f"cannot be compiled: {hint}", TypeError) from error
    except Exception as error:
        error.add_note(f"This came from {name} of the task {task.name!r}.")
        raise


def _known(number: float | None) -> float | None:
    return None if number is None or math.isnan(number) else float(number)


def _said(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x)


def _wrong(task: Task, name: str, what: str, kind: type[Exception] = ValueError) -> Exception:
    return kind(f"The task {task.name!r}: {name} {what}.")
