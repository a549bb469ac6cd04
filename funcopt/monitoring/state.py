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
from ..math.one_loop import packed
from ..safety.baseline import Baseline
from .columns import COLUMNS, EDGES
from .events import FIRST_EVENTS, LAST_EVENTS, Events
from .recorder import LAST_STEPS, SCALARS, Run
from .surges import Surges

VERSION = 5
EVENTS = FIRST_EVENTS + LAST_EVENTS


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
        # The surges and the last steps come first, the measurements last: see `with_step` and
        # `is_there`. Integers that a measurement changes are one part: see `with_measurement`.
        return Kept(
            integers=_in_line(
                self.surges.steps, events.seen, self.broken, events.what, self.version, self.every,
                self.means, run.rows, run.stride, self.shrinks, run.step, self.axes,
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

    @property
    def rows(self) -> int:
        return self.halves.shape[-1]

    @property
    def history(self) -> int:
        return (self.halves.shape[-2] - len(EDGES)) // 2

    @property
    def leaves(self) -> int:
        numbers = Surges.STEPS + 1 + 3 * EVENTS + 5
        return self.integers.shape[-1] - numbers - 2 * self.rows - self.history

    def memory(self) -> MonitorTables:
        rows, history = self.rows, self.history
        table, scalars = (rows, len(COLUMNS)), len(SCALARS)
        steps, seen, broken, what, version, every, means, taken, stride, shrinks, step, axes = (
            _parted(
                self.integers, (Surges.STEPS,), (), (rows,), (EVENTS, 3), *[()] * 5, (rows,),
                (history,), (-1,),
            )
        )  # fmt: skip
        numbers, last, variance, signal, value, of_run, mean, latest = _parted(
            self.floats, (Surges.NUMBERS,), (LAST_STEPS, scalars), (), (), (EVENTS,),
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
        """With what a measurement changes, of a memory whose log is as it was."""
        run = memory.run
        counts = packed([memory.every, memory.means, run.rows, run.stride])
        first = Surges.STEPS + 1 + self.rows + 3 * EVENTS + 1
        return memory.kept()._replace(
            integers=_with(self.integers, first, counts, memory.shrinks, run.step)
        )

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


def _with(line: Array, first: int, *parts: Array) -> Array:
    """A line in which parts stand one after the other from a place on."""
    last = first + sum(x.size for x in parts)
    return jnp.concatenate([line[:first], *parts, line[last:]])


def _in_line(*parts: Array) -> Array:
    return jnp.concatenate([x.reshape(-1) for x in parts])


def _parted(line: Array, *shapes: tuple[int, ...]) -> list[Array]:
    """The parts of a line that have these shapes, of which the last takes what is left."""
    starts = [0, *accumulate(math.prod(shape) for shape in shapes[:-1])]
    return [
        line[..., a:b].reshape((*line.shape[:-1], *shape))
        for a, b, shape in zip(starts, [*starts[1:], line.shape[-1]], shapes, strict=True)
    ]
