"""What a monitor keeps."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Float16, Int
from optax import OptState

from ..math.noise_scale import Noise
from ..transformation import metrics
from ..wrappers.baseline import Baseline
from .events import FIRST_EVENTS, LAST_EVENTS, Events
from .recorder import LAST_STEPS, SCALARS, Run
from .statistics import COLUMNS, EDGES

VERSION = 2


class Memory(NamedTuple):
    """What was seen: tables with a row for each leaf, or for each layer of a stacked one.

    `latest` and `mean` have the columns `funcopt.health.statistics.COLUMNS`; `means` measurements
    are in the mean. `every` is how many steps there are between measurements, and `axes` has for
    each leaf the axis along which layers are stacked, -1 for none.
    """

    version: Int[Array, ""]
    every: Int[Array, ""]
    axes: Int[Array, " leaves"]
    latest: Float[Array, "rows columns"]
    mean: Float[Array, "rows columns"]
    means: Int[Array, ""]
    above: Float16[Array, "rows edges"]
    run: Run
    last: Float[Array, "last scalars"]
    events: Events
    broken: Int[Array, " rows"]
    noise: Noise

    def kept(self) -> "Kept":
        run, events = self.run, self.events
        history, _, rows = run.norms.shape
        alone = self.version, self.every, self.means, events.seen, run.rows, run.stride
        return Kept(
            integers=_in_line(*alone, self.broken, run.step, events.what, self.axes),
            floats=_in_line(*self.noise, events.value),
            table=jnp.concatenate([self.latest, self.mean], axis=1),
            steps=jnp.concatenate([self.last, run.scalars]),
            halves=jnp.concatenate([self.above.T, run.norms.reshape(2 * history, rows)]),
        )


class Kept(NamedTuple):
    """A memory in few arrays, because each of them costs time in every call of a compiled step."""

    integers: Int[Array, " integers"]
    floats: Float[Array, " floats"]
    table: Float[Array, "rows 2*columns"]
    steps: Float[Array, "last+history scalars"]
    halves: Float16[Array, "edges+2*history rows"]

    def memory(self) -> Memory:
        rows, history = self.table.shape[-2], self.steps.shape[-2] - LAST_STEPS
        kept = FIRST_EVENTS + LAST_EVENTS
        sizes = [*[1] * 6, rows, history, 3 * kept]
        *alone, broken, step, what, axes = _parted(self.integers, sizes)
        version, every, means, seen, taken, stride = (x[..., 0] for x in alone)
        variance, signal, value = _parted(self.floats, [1, 1])
        norms = self.halves[..., len(EDGES) :, :]
        return Memory(
            version=version,
            every=every,
            axes=axes,
            latest=self.table[..., : len(COLUMNS)],
            mean=self.table[..., len(COLUMNS) :],
            means=means,
            above=self.halves[..., : len(EDGES), :].swapaxes(-1, -2),
            run=Run(
                rows=taken,
                stride=stride,
                step=step,
                scalars=self.steps[..., LAST_STEPS:, :],
                norms=norms.reshape(*norms.shape[:-2], history, 2, rows),
            ),
            last=self.steps[..., :LAST_STEPS, :],
            events=Events(seen, what.reshape(*what.shape[:-1], kept, 3), value),
            broken=broken,
            noise=Noise(variance[..., 0], signal[..., 0]),
        )


class MonitorState(NamedTuple):
    """What a monitor saw is in `memory`. Around a guard the baseline is the guard's."""

    inner: OptState
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    kept: Kept
    baseline: Baseline | tuple[()]

    @property
    def memory(self) -> Memory:
        return self.kept.memory()

    def metrics(self) -> dict[str, Array]:
        memory = self.memory
        below = {name.split("/")[-1] for name in metrics(self.inner)}
        if "grad_norm" in below:
            return {"events": memory.events.seen}
        last = memory.last[(self.count - 1) % LAST_STEPS, SCALARS.index("grad_norm")]
        return {"grad_norm": jnp.where(self.count > 0, last, 0), "events": memory.events.seen}


def _in_line(*parts: Array) -> Array:
    return jnp.concatenate([jnp.ravel(x) for x in parts])


def _parted(line: Array, sizes: Sequence[int]) -> list[Array]:
    """The parts of a line that are so long, and what is left."""
    starts = [0, *accumulate(sizes)]
    return [line[..., a:b] for a, b in zip(starts, [*starts[1:], line.shape[-1]], strict=True)]
