"""Arrays of a fixed size that remember: running means, the run, and the last steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..math.choice import where
from ..math.counts import counted
from ..math.dtypes import cast
from ..math.one_loop import packed
from .columns import NORMS, absent, largest, tidy

SCALARS = ("grad_norm", "z", "value", "lr", "clip_ratio", "skipped", "noise_scale")
"""What is recorded of a step as a whole."""

LAST_STEPS = 128


def exponents(dtype: Any) -> float:
    """What stands for the log2 of infinity, and with a minus for that of 0."""
    return 200.0 if jnp.finfo(dtype).bits <= 32 else 1100.0


def log_dtype(dtype: Any) -> Any:
    """In which logarithms over time are kept, of numbers of this type."""
    return jnp.float16 if jnp.finfo(dtype).bits <= 32 else jnp.float32


class Run(NamedTuple):
    """Records of the whole run, every `stride`-th of them: when they are full, half is dropped.

    There are `rows` of them. `norms` are log2 of gradient norms, and of update norms over parameter
    norms.
    """

    rows: Int[Array, ""]
    stride: Int[Array, ""]
    step: Int[Array, " history"]
    scalars: Float[Array, "history scalars"]
    norms: Float[Array, "history 2 rows"]

    @property
    def grad(self) -> Array:
        return self.norms[..., 0, :]

    @property
    def ratio(self) -> Array:
        return self.norms[..., 1, :]


def no_steps(dtype: Any) -> Float[Array, "last scalars"]:
    """The flight recorder: step s is in row s mod `LAST_STEPS`."""
    return jnp.full((LAST_STEPS, len(SCALARS)), absent(dtype), dtype)


def no_run(history: int, rows: int, dtype: Any) -> Run:
    return Run(
        rows=jnp.int32(0),
        stride=jnp.int32(1),
        step=jnp.full(history, -1, jnp.int32),
        scalars=jnp.full((history, len(SCALARS)), absent(dtype), dtype),
        norms=jnp.zeros((history, 2, rows), log_dtype(dtype)),
    )


def scalars(found: dict[str, Any], dtype: Any) -> Float[Array, " scalars"]:
    """Those of `SCALARS` that were found, in order; without NaN, see `largest` and `absent`."""
    return tidy(packed([cast(found.get(name, absent(dtype)), dtype) for name in SCALARS]))


def log2(x: Array) -> Array:
    """log2 of what is not negative, within ±`exponents`."""
    most = exponents(x.dtype)
    positive = jnp.log2(where(x > 0, x, 1))
    inside = where(x > 0, jnp.clip(positive, -most, most), -most)
    return where(x >= largest(x.dtype), most, inside)


def add_mean(mean: Array, latest: Array, count: Array, decay: float) -> Array:
    """Running means of all columns, of norms in log2; what is absent or not finite is left out.

    A norm of 0 has no logarithm: it stands for the mean only until another one comes.
    """
    is_norm = jnp.arange(latest.shape[1]) < NORMS
    x = where(is_norm, log2(latest), latest)

    def is_zero(x: Array) -> Array:
        return is_norm[None, :] & (x <= -exponents(x.dtype))

    none, most = absent(x.dtype), largest(x.dtype)
    begun = (mean > none) & ~is_zero(mean)
    known = (latest > none) & (latest < most) & ~(is_zero(x) & begun)
    weight = jnp.maximum(1 - decay, 1 / (count.astype(x.dtype) + 1))
    moved = where(begun, mean + weight * (x - mean), x)
    return where(known, moved, mean)


def add_record(run: Run, record: Array, step: Array, latest: Array, row: Array) -> Run:
    """With the `record`-th record, if it is one that is kept."""
    history = run.step.shape[0]
    left = record & (2 * run.stride - 1)  # a stride is a power of two
    is_even, is_odd = left == 0, left == run.stride
    full = (run.rows >= history) & (is_even | is_odd)

    def halved(x: Array) -> Array:
        # What is behind the rows that stay is overwritten later.
        return jnp.concatenate([x[::2], x[(history + 1) // 2 :]])

    columns = run[2:]
    kept = [where(full, halved(x), x) for x in columns]
    rows = where(full, (history + 1) // 2, run.rows)
    stride = where(full, 2 * run.stride, run.stride)
    taken = is_even | (is_odd & ~full)
    grad, update, param = (latest[:, i] for i in range(NORMS))
    ratio = where(param > 0, update / where(param > 0, param, 1), 0)
    most = largest(latest.dtype)
    norms = log2(jnp.stack([grad, where(update < most, ratio, most)]))

    def written(column: Array, new: Array) -> Array:
        old = jax.lax.dynamic_index_in_dim(column, rows, 0, keepdims=False)
        new = where(taken, new.astype(column.dtype), old)
        return jax.lax.dynamic_update_index_in_dim(column, new, rows, 0)

    columns = (written(a, b) for a, b in zip(kept, (step, row, norms), strict=True))
    return Run(counted(rows, taken), stride, *columns)
