"""What a monitor keeps."""

import math
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from optax import OptState

from ..core.metrics import reports
from ..math.noise_scale import Noise
from ..safety.baseline import Baseline
from .columns import COLUMNS, EDGES
from .events import FIRST_EVENTS, LAST_EVENTS, Events
from .recorder import LAST_STEPS, SCALARS, Run
from .surges import Surges

VERSION = 4


class MonitorTables(NamedTuple):
    """What was seen: tables with a row for each leaf, or for each layer of a stacked one.

    `latest` and `mean` have the columns `funcopt.monitoring.columns.COLUMNS`; `means`
    measurements are in the mean. `every` is how many steps there are between measurements,
    `shrinks` whether what a row is divided by can shrink, and `axes` has for each leaf the axis
    along which layers are stacked, -1 for none.
    """

    version: Int[Array, ""]
    every: Int[Array, ""]
    axes: Int[Array, " leaves"]
    latest: Float[Array, "rows columns"]
    mean: Float[Array, "rows columns"]
    means: Int[Array, ""]
    above: Float[Array, "rows edges"]
    shrinks: Int[Array, " rows"]
    run: Run
    last: Float[Array, "last scalars"]
    surges: Surges
    events: Events
    broken: Int[Array, " rows"]
    noise: Noise

    def kept(self) -> "Kept":
        run, events = self.run, self.events
        history, _, rows = run.norms.shape
        alone = self.version, self.every, self.means, events.seen, run.rows, run.stride
        # The surges and the last steps come first, the measurements last: see `with_step` and
        # `is_there`.
        return Kept(
            integers=_in_line(
                self.surges.steps, *alone, self.broken, self.shrinks, run.step, events.what,
                self.axes,
            ),
            floats=_in_line(
                self.surges.numbers, self.last, *self.noise, events.value, run.scalars, self.mean,
                self.latest,
            ),
            halves=jnp.concatenate([self.above.T, run.norms.reshape(2 * history, rows)]),
        )  # fmt: skip


class Kept(NamedTuple):
    """A memory in few arrays, because each of them costs time in every call of a compiled step."""

    integers: Int[Array, " integers"]
    floats: Float[Array, " floats"]
    halves: Float[Array, "edges+2*history rows"]

    def memory(self) -> MonitorTables:
        *_, halves, rows = self.halves.shape
        history, events = (halves - len(EDGES)) // 2, FIRST_EVENTS + LAST_EVENTS
        table, scalars = (rows, len(COLUMNS)), len(SCALARS)
        steps, version, every, means, seen, taken, stride, broken, shrinks, step, what, axes = (
            _parted(
                self.integers, (Surges.STEPS,), *[()] * 6, (rows,), (rows,), (history,),
                (events, 3), (-1,),
            )
        )  # fmt: skip
        numbers, last, variance, signal, value, of_run, mean, latest = _parted(
            self.floats, (Surges.NUMBERS,), (LAST_STEPS, scalars), (), (), (events,),
            (history, scalars), table, table,
        )  # fmt: skip
        above, norms = self.halves[..., : len(EDGES), :], self.halves[..., len(EDGES) :, :]
        return MonitorTables(
            version=version,
            every=every,
            axes=axes,
            latest=latest,
            mean=mean,
            means=means,
            above=above.swapaxes(-1, -2),
            shrinks=shrinks,
            run=Run(
                rows=taken,
                stride=stride,
                step=step,
                scalars=of_run,
                norms=norms.reshape(*norms.shape[:-2], history, 2, rows),
            ),
            last=last,
            surges=Surges.of(numbers, steps),
            events=Events(seen, what, value),
            broken=broken,
            noise=Noise(variance, signal),
        )

    def with_measurement(self, memory: MonitorTables) -> "Kept":
        """With what a measurement changes, of a memory whose log is as it was.

        Counts are written into the line: XLA makes a program of its own of every part of integers
        that are put together.
        """
        run, rows = memory.run, memory.broken.shape[0]
        counts = [memory.every, memory.means, memory.events.seen, run.rows, run.stride]
        integers = _written(
            self.integers,
            (Surges.STEPS + 1, jnp.stack(counts)),
            (Surges.STEPS + 6 + rows, jnp.concatenate([memory.shrinks, run.step])),
        )
        return memory.kept()._replace(integers=integers)

    def with_log(self, memory: MonitorTables) -> "Kept":
        """With another log, of a memory whose measurements are as they were."""
        return memory.kept()._replace(halves=self.halves)

    @property
    def is_there(self) -> Bool[Array, ""]:
        """True, whatever is in it, which XLA cannot know before it has written this memory."""
        return ~(self.floats[-1] < -jnp.inf)

    def step(self, step: Int[Array, ""]) -> Float[Array, " scalars"]:
        """What the flight recorder has in the place of a step."""
        return jax.lax.dynamic_slice(self.floats, _place(step), (len(SCALARS),))

    @property
    def surges(self) -> Surges:
        return Surges.of(self.floats[: Surges.NUMBERS], self.integers[: Surges.STEPS])

    def with_step(self, step: Int[Array, ""], row: Float[Array, " scalars"]) -> "Kept":
        """With a step in the flight recorder, which does not need the rest of the memory."""
        floats = jax.lax.dynamic_update_slice(self.floats, row, _place(step))
        return self._replace(floats=floats)


class MonitorState(NamedTuple):
    """What a monitor saw is in `memory`. Around a guard the baseline is the guard's."""

    inner: OptState
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    kept: Kept
    baseline: Baseline | tuple[()]

    @property
    def memory(self) -> MonitorTables:
        return self.kept.memory()

    def metrics(self) -> dict[str, Array]:
        memory = self.memory
        below = {each.name for each in reports(self.inner)}
        lost = jnp.max(memory.latest[:, COLUMNS.index("lost")], initial=0)
        own = {"events": memory.events.seen, "lost_updates": lost}
        if "grad_norm" in below:
            return own
        last = memory.last[(self.count - 1) % LAST_STEPS, SCALARS.index("grad_norm")]
        return {"grad_norm": jnp.where(self.count > 0, last, 0), **own}


def _place(step: Int[Array, ""]) -> tuple[Array]:
    """Where the flight recorder has a step."""
    return (Surges.NUMBERS + jax.lax.rem(step, jnp.int32(LAST_STEPS)) * len(SCALARS),)


def _written(line: Array, *parts: tuple[int, Array]) -> Array:
    for start, part in parts:
        line = jax.lax.dynamic_update_slice(line, part, (start,))
    return line


def _in_line(*parts: Array) -> Array:
    return jnp.concatenate([jnp.ravel(x) for x in parts])


def _parted(line: Array, *shapes: tuple[int, ...]) -> list[Array]:
    """The parts of a line that have these shapes, of which the last takes what is left."""
    starts = [0, *accumulate(math.prod(shape) for shape in shapes[:-1])]
    return [
        line[..., a:b].reshape((*line.shape[:-1], *shape))
        for a, b, shape in zip(starts, [*starts[1:], line.shape[-1]], shapes, strict=True)
    ]
