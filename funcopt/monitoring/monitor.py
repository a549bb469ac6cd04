"""Watches a transformation from outside: raw gradients go in, final updates come out.

Everything that it learns is in its state, in arrays of a fixed size, so that it goes through
`scan`, donation and checkpoints and needs no callback. On every step it looks at the sum of
squares that a clip needs too; on every `every`-th it measures each leaf. Measurements come before
the step and compute its update for themselves: an update that two things want is written to
memory, which costs more than all of this (`benchmarks/guarded_step.py`). Outside of `jit`, where it
is in memory anyway, they come after the step, in one program that is compiled once.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool
from optax import OptState, Params, Updates

from ..core.answers import Scales, Skips, answering
from ..core.arguments import AxisName, Base, Numeric, Steps, Within, is_tracer
from ..core.leaf import LayerAxis
from ..core.leaves import gradients_beside, in_full
from ..core.metrics import reports
from ..core.paths import path_names
from ..core.transformation import transformation
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.choice import where
from ..math.dtypes import common_dtype
from ..math.global_norm import Facts, norms_of, square_sums, total
from ..math.noise_scale import no_noise
from ..math.norm import norm as norm_of_array
from ..math.varying import AxisNames, mean_across
from ..safety.agreement import everywhere
from ..safety.baseline import USUAL_LIMITS, Baseline, SpikeLimits, no_baseline
from .columns import COLUMNS, EDGES, absent
from .elements import Gathered, gathered_elements
from .events import no_events
from .inside import limits_of, makes_a_step, micro_batches
from .layers import Rows, rows_of
from .measurement import Look, lengths_of, looks_together, norms_across
from .placement import beside, local_axes, varying
from .recorder import log_dtype, no_run, no_steps
from .second_moment import divisors
from .state import VERSION, Kept, MonitorState, MonitorTables
from .step import (
    OWN_CLIP,
    Came,
    Done,
    MonitorPlan,
    Numbers,
    alone,
    judged_step,
    with_measurement,
    with_step,
)
from .surges import no_surges
from .weights import steps_of, weights_of

Elements = Annotated[Numeric, Within(1, 2**16 - 1, schedule=False, integer=True)]
Records = Annotated[Numeric, Within(2, 10_000, schedule=False, integer=True)]


@dataclass(frozen=True)
class Monitor(Wrapper[MonitorState]):
    every: int
    history: int
    layer_axis: LayerAxis
    sample: int
    axis_name: AxisNames

    state = MonitorState
    keeps = ("kept", "baseline")
    needs_params = True

    @property
    def window(self) -> int:
        """How many updates there are for one measurement, at most one for each step inside."""
        return max(self.every, micro_batches(self.inner))

    def first(self, start: Beginning) -> MonitorState:
        if any(_is_on_host(x) for x in jax.tree.leaves(start.inner)):
            raise ValueError(
                "monitor: arrays of the state inside are in the memory of the host, with which a "
                "device does not compute. Put offload around the monitor: "
                "funcopt.offload(funcopt.monitor(tx))."
            )
        names, real = path_names(start.params), start.real
        rows = rows_of(names, jax.tree.leaves(start.params), self.layer_axis)
        latest, mean = (jnp.full((rows.total, len(COLUMNS)), absent(real), real) for _ in range(2))
        memory = MonitorTables(
            version=jnp.int32(VERSION),
            every=jnp.int32(self.window),
            axes=rows.kept_axes,
            latest=latest,
            mean=mean,
            means=jnp.int32(0),
            above=jnp.zeros((rows.total, len(EDGES)), log_dtype(real)),
            shrinks=jnp.zeros(rows.total, jnp.int32),
            run=no_run(self.history, rows.total, real),
            last=no_steps(real),
            surges=no_surges(real),
            events=no_events(real),
            broken=jnp.zeros(rows.total, jnp.int32),
            noise=no_noise(real),
        )
        own = memory.kept(), no_baseline(real) if limits_of(self.inner) is None else ()
        return MonitorState(start.inner, jnp.zeros([], jnp.int32), *beside(own, start.arrays))

    def varying(self, state: MonitorState, axes: frozenset[str]) -> MonitorState:
        # It decides nothing, so that what is inside is on all devices what it is without it.
        kept, baseline = varying((state.kept, state.baseline), axes)
        return state._replace(kept=kept, baseline=baseline)

    def step(
        self, updates: Updates, state: MonitorState, inside: Inside
    ) -> tuple[Updates, MonitorState]:
        gate, value, came_too = inside.gate, inside.value, inside.extra_args
        rows, leaves, state = self._checked(updates, state, inside.params)
        real = state.kept.floats.dtype
        plan = MonitorPlan(self.window, tuple(rows.axes), self.sample, self.axis_name)
        counts = jnp.ones([], bool) if gate is None else gate
        # Of constants JAX makes tracers only where it records a program.
        recorded = is_tracer(jnp.ones([], bool))

        due = counts & self._is_due(state, came_too.get("flush", False))
        squares = square_sums(leaves, each=True)
        leaf_norms, whole_norm = norms_of(squares, due)
        facts = Facts(total(squares), whole_norm)
        grads = [jax.lax.stop_gradient(x) for x in leaves]
        came = self._came(rows, grads, state, jax.lax.stop_gradient((leaf_norms, whole_norm)),
                          jnp.isfinite(facts.square_sum), value, counts, due)  # fmt: skip

        def done(tried: Updates, after: OptState) -> Done:
            tried, after = jax.tree.map(jax.lax.stop_gradient, (tried, after))
            shapes = [jnp.shape(x) for x in leaves]
            moments = divisors(self.inner, state.inner, after, rows.names, shapes)
            moved = [jnp.asarray(x) for x in jax.tree.leaves(tried)]
            weights = weights_of(jax.lax.stop_gradient(state.inner), came.params)
            moved = steps_of(weights, came.params, moved, after)
            return Done(moved, weights, moments, told_by(after))

        def alike(found: Gathered, tried: Updates, after: OptState) -> tuple[Done, list[Look]]:
            tried, after, before = jax.lax.stop_gradient((tried, after, found.state))
            shapes = [x.shape for x in found.grads.values()]
            moments = divisors(self.inner, before, after, list(found.places), shapes)
            pairs = zip(moments, found.places.values(), strict=True)
            of_leaf = {i: moment for moment, here in pairs for i in here}
            each = [of_leaf.get(i) for i in range(len(leaves))]
            looks = looks_together(found, tried, moments, real, self.axis_name)
            return Done([], came.params, each, told_by(after)), looks

        def told_by(state: OptState) -> Numbers:
            found = jax.lax.stop_gradient(_recorded(state))
            return {name: mean_across(x, self.axis_name) for name, x in found.items()}

        baseline, limits = self._judging(state)
        micro_norms = came_too.get("micro_norms")
        micro = None if micro_norms is None else _checked_norms(micro_norms, real)
        if recorded:
            axes = local_axes(self.axis_name, came, state, value)
            step = judged_step(came, baseline, limits)

            def with_measured() -> Kept:
                lengths = lengths_of(rows, self.sample)
                elements = gathered_elements(
                    self.inner, rows, grads, state.inner, self.sample, lengths
                )
                if elements is None:
                    tried = done(*inside.open().run(updates, state.inner, facts=facts)), None
                else:
                    tried = alike(elements, *elements.run(inside.open(), facts))
                return with_measurement(plan, came, state.kept, state.count, step, *tried)

            kept = jax.lax.cond(
                due,
                lambda: varying(with_measured(), axes),
                lambda: varying(state.kept, axes),
            )
            own, coming, waits = self._after(kept.is_there, state.inner, updates, gate)
            new_updates, inner = inside.run(coming, own, gate=waits, facts=facts)
            kept = with_step(plan, came, kept, state.count, step, baseline, told_by(inner), micro)
            judged = step.judged.baseline
        else:
            new_updates, inner = inside.run(updates, state.inner, facts=facts)
            kept, judged = alone(
                plan, came, state.kept, state.count, baseline, limits, done(new_updates, inner),
                micro,
            )  # fmt: skip

        if gate is not None:
            judged = jax.tree.map(lambda a, b: where(gate, a, b), judged, baseline)
        count = jnp.asarray(optax.safe_increment(state.count))
        own = judged if limits_of(self.inner) is None else ()
        return new_updates, MonitorState(inner, count, kept, own)

    def _judging(self, state: Any) -> tuple[Baseline, SpikeLimits]:
        """The baseline of norms, and by what it judges: the guard's, if that is inside."""
        limits = limits_of(self.inner)
        if limits is None:
            return state.baseline, USUAL_LIMITS
        return state.inner.baseline, limits

    def _is_due(self, state: MonitorState, flush: ArrayLike) -> Array:
        """Whether leaves are measured: once for each window, on the micro-batch that makes a step.

        A window of 1 is not simplified, so that the measurement stays a branch of its own, whose
        temporaries are small.
        """
        micro = micro_batches(self.inner)
        due = jax.lax.rem(state.count, jnp.int32(self.window)) < micro
        if micro == 1:
            return due & (state.count >= 0)
        return due & makes_a_step(self.inner, state.inner, flush)

    def _came(
        self,
        rows: Rows,
        grads: list[Array],
        state: MonitorState,
        norms: tuple[Array, Array],
        finite: Array,
        value: ArrayLike | None,
        counts: Array,
        due: Array,
    ) -> Came:
        real = state.kept.floats.dtype
        each, whole = norms
        if self.axis_name is not None:
            each = norms_across(each, grads, self.axis_name)
            whole = norm_of_array(each)
        scales = [each.current_scale() for each in answering(state.inner, Scales)]
        unscale = 1 / scales[0].astype(real) if scales else jnp.ones([], real)
        loss = jnp.array(absent(real), real)
        if value is not None:
            loss = mean_across(jax.lax.stop_gradient(jnp.asarray(value)), self.axis_name)
        return Came(
            params=[jnp.asarray(x) for x in rows.leaves],
            grads=grads,
            norms=each,
            norm=whole.astype(real) * unscale,
            loss=loss.astype(real),
            finite=everywhere(finite, self.axis_name),
            unscale=unscale,
            counts=counts,
            due=due,
        )

    def _after(
        self, measured: Array, inner: OptState, updates: Updates, gate: Array | None
    ) -> tuple[OptState, Updates, Bool[Array, ""] | None]:
        """What the step takes, as it is, in a way that makes it wait for the measurement.

        Else XLA copies everything that is measured before the step writes over it. The condition is
        always true, but not known to be. Where there is a gate it waits, which costs nothing; else
        the slots do, or the gradients where there are none.
        """
        if gate is not None or limits_of(self.inner) is not None:
            return inner, updates, measured

        def wait(x: Array) -> Array:
            return _waiting(measured, x) if jnp.ndim(x) else x

        if any(jnp.ndim(x) for x in jax.tree.leaves(inner)):
            return jax.tree.map(wait, inner), updates, None
        return inner, jax.tree.map(wait, updates), None

    def _checked(
        self, updates: Updates, state: MonitorState, params: Params | None
    ) -> tuple[Rows, list[Array], MonitorState]:
        leaves, _ = gradients_beside(updates, params, ())
        names = path_names(updates)
        params_beside = [jax.lax.stop_gradient(jnp.asarray(leaf.param)) for leaf in leaves]
        rows = rows_of(names, params_beside, self.layer_axis)
        state = _whole(state, jnp.finfo(common_dtype(jnp.float32, *params_beside)).dtype)
        own = beside((state.kept, state.baseline), params_beside)
        state = state._replace(kept=own[0], baseline=own[1])
        if isinstance(state.baseline, Baseline) != (limits_of(self.inner) is None):
            around = "around a guard" if state.baseline == () else "not around a guard"
            raise ValueError(
                f"monitor: the state is of a monitor {around}, and this one is not so. Make one "
                "with `tx.init(params)`, and put the states inside of it in their places."
            )
        kept = state.kept
        if rows.total != kept.rows or len(names) != kept.leaves:
            raise ValueError(
                f"monitor: the state is of {kept.leaves} leaves, {kept.rows} rows, "
                f"but these gradients are {len(names)} leaves, {rows.total} rows. Make the state "
                "with `tx.init(params)`."
            )
        return rows, [jnp.asarray(leaf.grad) for leaf in leaves], state


def _whole(state: MonitorState, real: np.dtype) -> MonitorState:
    """The state in its own types, also where it was cast, as half-precision checkpoints are."""
    kept, least = state.kept, jnp.finfo(real).bits
    wide = jnp.issubdtype(kept.floats.dtype, jnp.floating)
    if not wide or not jnp.issubdtype(kept.integers.dtype, jnp.integer):
        raise ValueError(
            f"monitor: the numbers of the state came as {kept.floats.dtype.name} and "
            f"{kept.integers.dtype.name}, expected {real.name} and int32. Restore it in the types "
            "that it was saved with: give `tx.init(params)` as the target."
        )
    if 32 <= jnp.finfo(kept.floats.dtype).bits < least:
        raise ValueError(
            f"monitor: the state is in {kept.floats.dtype.name}, made for parameters that are no "
            f"wider, but these are {real.name}. Make one with `tx.init(params)`."
        )
    kept = Kept(kept.integers, in_full(kept.floats), kept.halves.astype(log_dtype(real)))
    return state._replace(kept=kept, baseline=in_full(state.baseline))


def _is_on_host(x: Array) -> bool:
    return jax.typeof(x).memory_space == jax.memory.Space.Host


# Arrays of the same shape share a trace, as in `lift`.
@jax.jit
def _waiting(there: Array, x: Array) -> Array:
    return where(there, x, jnp.zeros_like(x))


def _recorded(state: OptState) -> Numbers:
    """What is recorded of a step by name; clips multiply, but for those that algorithms have.

    Whether it was skipped is not told by a name, but by what may skip it.
    """
    found: Numbers = {}
    told = reports(state)
    algorithms = {each.path for each in told if each.name == "lr"}
    for name, path, _, number in told:
        x = jnp.asarray(number, jnp.float32)
        if name == "clip_ratio" and path in algorithms:
            name = OWN_CLIP
        if name in ("clip_ratio", OWN_CLIP):
            found[name] = found[name] * x if name in found else x
        else:
            found.setdefault(name, x)
    last = [each.skips().last for each in answering(state, Skips)]
    return found | ({"skipped": reduce(jnp.logical_or, last).astype(jnp.float32)} if last else {})


def _checked_norms(micro_norms: ArrayLike, real: np.dtype) -> Array:
    micro = jnp.asarray(micro_norms).astype(real)
    if micro.ndim != 1 or micro.size < 2:
        raise ValueError(
            "monitor: micro_norms must be the norms of at least two micro-batch gradients, an "
            f"array of one axis, got shape {micro.shape}."
        )
    return micro


@transformation
def monitor(
    inner: Base,
    every: Steps = 10,
    history: Records = 32,
    *,
    layer_axis: LayerAxis = None,
    sample: Elements = 1024,
    axis_name: AxisName = None,
):
    """Record statistics of an optimizer's gradients, updates and parameters, layer by layer.

    Put it around everything else. `funcopt.health(state, params)` makes a report of what it saw.
    It changes no update, and a step whose gate is closed it does not see.

    Args:
        inner: the optimizer, funcopt's or optax's.
        every: leaves are measured on every so many steps, from the first. Non-finite gradients,
            spikes and skipped steps are noticed on all of them. Around a guard, a spike is what
            the guard takes for one.
        history: how many measurements are kept, over the whole run: when they are full every
            second one is dropped, and only every second one is kept from there on. At least 2.
        layer_axis: where layers are stacked in one leaf, the axis along which they are: the axis in
            every leaf of two axes or more, or a dict from patterns, searched in the path, to axes.
            Each layer gets its own row.
        sample: of leaves with more elements, at most this many are looked at, evenly spaced along
            every axis; below 65,536. Norms of gradients are always exact.
        axis_name: mapped axes (of `shard_map`) over which parameters are split: what is measured is
            of whole parameters then, and the same on every device. Without it each device sees
            its own part.

    Extra arguments of `update`: `value`, the loss; `micro_norms`, the norms of the gradients of
    micro-batches whose mean the gradient is, from which the gradient noise scale comes. Where
    inner reports `lr`, `clip_ratio`, `skipped`, `loss_scale` or `noise_scale`, they are recorded,
    and gradients are divided by the loss scale.

    State: arrays of a fixed size, float32 and float16 (float64 and float32 where a parameter is
    float64), without NaN. It goes on under another `every` or `sample`; `history` stays what it was
    made with. It reports `events`; `lost_updates`, the share of updates that the last measurement
    found rounded away, of the layer in which it is largest; and `grad_norm` where inner does not.

    Around `master_weights` and `kahan` it looks at the weights that these keep, and their steps.

    Raises:
        ValueError: `update` was called without parameters, or a pattern matches none.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.monitor(funcopt.adam(0.1), every=1)
    >>> params = {"w": jnp.array([3.0, -4.0])}
    >>> params, state = funcopt.step(tx, params, tx.init(params), params)
    >>> print(funcopt.health(state, params).verdict)
    healthy
    """
    return Monitor(inner, int(every), int(history), layer_axis, int(sample), axis_name)
