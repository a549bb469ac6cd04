"""The first backward pass through depth, before training is wasted."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from optax import Params

from ..core.given import keyed, one_batch, trained
from ..core.leaves import gradients_beside
from ..core.paths import path_names
from .columns import COLUMNS, EDGES, NEGLIGIBLE
from .health import Health, judged
from .placement import gathered
from .readings import HealthEvent, Readings, Series, in_depth, resolution_of
from .recorder import SCALARS
from .thresholds import Thresholds

EXAMPLES = 16


def diagnose_init(
    loss_fn: Callable[..., Array],
    params: Any,
    batch: Any,
    thresholds: Thresholds | None = None,
) -> Health:
    """Diagnose an initialisation by one backward pass: does a gradient arrive at every layer?

    Gradients that explode, vanish or are not finite, layers that are dead, and layers that are
    saturated, which only gradients of single examples show: the mean over a batch hides that each
    example trains a few units only. Where the arrays of `batch` share their first axis, 16 of its
    examples are looked at one by one, each as a batch of one.

    Args:
        loss_fn: `loss_fn(params, batch)`, a number; or `loss_fn(params, batch, key)`, for dropout.
        params: as they are initialised; or a whole model, such as an Equinox module, of which the
            floating-point arrays are looked at.
        batch: one batch, as `loss_fn` takes it; or a loader or generator, which gives its first.
        thresholds: limits beyond which there is a verdict, `funcopt.Thresholds(...)`.

    Returns:
        A `Health` without a past. What to try is in its verdicts.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> keys = jax.random.split(jax.random.key(0), 20)
    >>> params = [(0.05 * jax.random.normal(key, (32, 32)), jnp.zeros(32)) for key in keys]
    >>> def loss(params, x):
    ...     for kernel, bias in params:
    ...         x = jnp.tanh(x @ kernel + bias)
    ...     return jnp.mean((x - 1) ** 2)
    >>> funcopt.diagnose_init(loss, params, jax.random.normal(jax.random.key(1), (8, 32)))
    <Health at the first backward pass: VANISHING>
    """
    params, whole = trained(params)
    batch = one_batch(batch)

    with_key = keyed(loss_fn)

    def of_params(params: Params, batch: Any) -> Array:
        return with_key(whole(params), batch, jax.random.key(0))

    loss, grads = jax.jit(jax.value_and_grad(of_params))(params, batch)
    leaves, _ = gradients_beside(grads, params, ())
    beside = [np.asarray(leaf.param) for leaf in leaves]
    names = path_names(grads)
    order, series = in_depth(names)
    columns = [_measured(np.asarray(g.grad), p) for g, p in zip(leaves, beside, strict=True)]
    zero, negligible = _by_example(of_params, params, batch, columns)
    latest = {
        name: np.array([column.get(name, np.nan) for column in columns], float)[order]
        for name in COLUMNS
    }
    latest["zero"], latest["negligible"] = zero[order], negligible[order]
    position = {int(row): i for i, row in enumerate(order)}
    with np.errstate(divide="ignore"):
        grad = np.log10(latest["grad_norm"])[None]
    broken = np.array([column["broken"] for column in columns], int)[order]
    layers = tuple(names[i] for i in order)
    now = {name: np.full(1, np.nan) for name in SCALARS}
    now |= {"value": np.array([float(loss)])}
    return judged(
        Readings(
            steps=0,
            records=1,
            possible_records=1,
            layers=layers,
            sizes=np.array([max(p.size, 1) for p in beside], int)[order],
            ndims=np.array([p.ndim for p in beside], int)[order],
            series=tuple(np.array([position[row] for row in rows]) for rows in series),
            latest=latest,
            mean=latest,
            above=np.array([column["above"] for column in columns]).reshape(-1, len(EDGES))[order],
            broken=broken,
            run=Series(np.zeros(1, int), now),
            grad=np.where(np.isneginf(grad), np.nan, grad),
            ratio=np.full_like(grad, np.nan),
            last=Series(np.zeros(1, int), now),
            events=_events(float(loss), broken, layers),
            events_seen=int(not np.isfinite(float(loss)) or broken.any()),
            resolution=np.array([resolution_of(p) for p in beside], float)[order],
            shrinks=np.zeros(len(layers), int),
        ),
        thresholds,
    )


def _measured(grad: np.ndarray, param: np.ndarray) -> dict[str, Any]:
    """The columns of one leaf, exactly: in float64, where nothing overflows."""
    g, p = (np.abs(x).astype(np.float64).ravel() for x in (grad, param))
    finite = np.isfinite(g)
    norm = float(np.sqrt(np.sum(g[finite] ** 2))) if finite.all() else np.inf
    least = NEGLIGIBLE * norm / max(g.size, 1) ** 0.5
    return {
        "grad_norm": norm,
        "param_norm": float(np.sqrt(np.sum(p**2))),
        "zero": float(np.mean(g == 0)) if g.size else 0.0,
        "negligible": float(np.mean((g > 0) & (g < least))) if g.size else 0.0,
        "nonfinite": float(np.mean(~finite)) if g.size else 0.0,
        "broken": int(np.sum(~finite)),
        "above": [float(np.mean(g >= edge)) if g.size else 0.0 for edge in EDGES],
    }


def _by_example(
    loss_fn: Callable, params: Params, batch: Any, columns: list[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of zero and of negligible gradients, in single examples where there are any.

    Zero is only what is so in the whole batch: a ReLU unit may well be off for one example.
    """
    zero, negligible = (
        np.array([column[name] for column in columns], float) for name in ("zero", "negligible")
    )
    sizes = {jnp.shape(x)[:1] for x in jax.tree.leaves(batch)}
    if len(sizes) != 1 or sizes == {()} or sizes == {(1,)} or not columns:
        return zero, negligible

    def shares(example: Any) -> Array:
        alone = jax.tree.map(lambda x: x[None], example)
        rows = []
        for g in jax.tree.leaves(jax.grad(loss_fn)(params, alone)):
            g = jnp.abs(g).astype(jnp.float32)
            largest = jnp.max(g, initial=0)
            g = g / jnp.where(largest > 0, largest, 1)
            rms = jnp.sqrt(jnp.mean(g**2)) if g.size else jnp.float32(0)
            flat = jnp.mean((g < NEGLIGIBLE * rms) & (g > 0)) if g.size else jnp.float32(0)
            none = jnp.mean(g == 0) if g.size else jnp.float32(0)
            rows.append(jnp.stack([none, flat]))
        return jnp.stack(rows)

    few = jax.tree.map(lambda x: gathered(lambda x: x[:EXAMPLES], jnp.asarray(x)), batch)
    none, flat = np.asarray(jax.jit(lambda few: jax.lax.map(shares, few))(few)).mean(0).T
    # Smooth activations underflow to zero, too, where they are flat: beside many elements that
    # are negligible but not zero, zeros of single examples count as flat.
    smooth = flat > 0.02
    return zero, np.where(smooth, np.maximum(flat + none - zero, negligible), negligible)


def _events(loss: float, broken: np.ndarray, layers: tuple[str, ...]) -> tuple[HealthEvent, ...]:
    if broken.any():
        first = int(np.argmax(broken > 0))
        return (HealthEvent(0, "nonfinite", layers[first], float((broken > 0).sum())),)
    return () if np.isfinite(loss) else (HealthEvent(0, "loss", None, loss),)
