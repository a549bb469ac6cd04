"""Watches a transformation from outside: raw gradients go in, final updates come out.

Everything that it learns is in its state, in arrays of a fixed size, so that it goes through
`scan`, donation and checkpoints and needs no callback. On every step it looks at the sum of
squares that a clip needs too; on every `every`-th it measures each leaf. Measurements come before
the step and compute its update for themselves: an update that two things want is written to
memory, which costs more than all of this (`benchmarks/guarded_step.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from optax import OptState, Params, Updates

from ..leaves import gradients_beside
from ..math.noise_scale import Noise, add_noise_terms, no_noise, noise_scale
from ..partition import path_names
from ..transformation import gated, reports, transformation
from ..tree.norm import known, norms_of, square_sums, total
from ..value import Base, Steps, Within
from ..wrappers.baseline import Judgement, judge, no_baseline
from .events import Ailment, add_event, diagnosed, no_events, refusal
from .inside import judge_of, micro_batches
from .layers import LayerAxis, Rows, rows_of
from .measurement import measured, norms_of_rows
from .recorder import (
    SCALARS,
    add_mean,
    add_record,
    no_run,
    no_steps,
    scalars,
)
from .second_moment import divisors
from .state import VERSION, Kept, Memory, MonitorState
from .statistics import ABSENT, COLUMNS, EDGES, tidy

MEAN_DECAY = 0.8
JUDGEMENT: Mapping[str, Any] = {"threshold": 6.0, "patience": 8, "decay": 0.99}

Elements = Annotated[Any, Within(1, 2**16 - 1, schedule=False, integer=True)]
Records = Annotated[Any, Within(2, 10_000, schedule=False, integer=True)]


class _Step(NamedTuple):
    """What is known of a step before leaves are measured."""

    norms: Float[Array, " leaves"]
    norm: Float[Array, ""]
    z: Float[Array, ""]
    value: ArrayLike | None
    unscale: Float[Array, ""]
    calm: Array


@dataclass(frozen=True)
class _Monitor:
    inner: Any
    every: int
    history: int
    layer_axis: Any
    sample: int

    @property
    def window(self) -> int:
        """How many updates there are for one measurement, at most one for each step inside."""
        return max(self.every, micro_batches(self.inner))

    def _judged(self, state: Any, norm: Array) -> Judgement:
        """By the baseline and the numbers of the guard, where that is what is inside."""
        guard = judge_of(self.inner)
        if guard is None:
            return judge(state.baseline, norm, **JUDGEMENT)
        return judge(
            state.inner.baseline,
            norm,
            threshold=guard.spike,
            patience=guard.patience,
            decay=guard.decay,
        )

    def init(self, params: Params) -> MonitorState:
        rows = rows_of(path_names(params), jax.tree.leaves(params), self.layer_axis)
        latest, mean = (jnp.full((rows.total, len(COLUMNS)), ABSENT, jnp.float32) for _ in range(2))
        memory = Memory(
            version=jnp.int32(VERSION),
            every=jnp.int32(self.window),
            axes=rows.kept_axes,
            latest=latest,
            mean=mean,
            means=jnp.int32(0),
            above=jnp.zeros((rows.total, len(EDGES)), jnp.float16),
            run=no_run(self.history, rows.total),
            last=no_steps(),
            events=no_events(),
            broken=jnp.zeros(rows.total, jnp.int32),
            noise=no_noise(),
        )
        return MonitorState(
            inner=self.inner.init(params),
            count=jnp.zeros([], jnp.int32),
            kept=memory.kept(),
            baseline=no_baseline() if judge_of(self.inner) is None else (),
        )

    def update(
        self,
        updates: Updates,
        state: MonitorState,
        params: Params | None = None,
        *,
        value: ArrayLike | None = None,
        gate: Array | None = None,
        micro_norms: ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[Updates, MonitorState]:
        rows, leaves = self._checked(updates, state, params)
        grads = [jax.lax.stop_gradient(x) for x in leaves]
        given = {"value": value, "micro_norms": micro_norms}
        extra_args |= {name: x for name, x in given.items() if x is not None}
        counts = jnp.ones([], bool) if gate is None else gate

        before = _said(state.inner)
        due = counts & self._is_due(state, before)
        squares = square_sums(leaves)
        leaf_norms, whole_norm = norms_of(leaves, squares, due)
        norms, raw_norm = jax.lax.stop_gradient((leaf_norms, whole_norm))
        scaled = "loss_scale" in before
        unscale = 1 / before["loss_scale"] if scaled else jnp.ones([], jnp.float32)
        norm = raw_norm.astype(jnp.float32) * unscale
        loss = jnp.float32(0) if value is None else jnp.asarray(value).astype(jnp.float32)
        finite = jnp.isfinite(total(squares))
        fine = finite & jnp.isfinite(loss)
        judged = self._judged(state, jnp.where(fine, norm, jnp.nan))
        ill = Ailment(finite, judged.outlier, norm, loss)
        calm = fine & ~ill.spike
        step = _Step(norms, norm, judged.z, value, unscale, calm)

        def stepped(updates: Updates, inner: OptState, **passed: Any) -> tuple[Updates, OptState]:
            with known(jax.tree.leaves(updates), squares, whole_norm):
                return self.inner.update(updates, inner, params, **passed, **extra_args)

        kept = jax.lax.cond(
            due,
            lambda: self._measured(rows, grads, state, step, *stepped(updates, state.inner)),
            lambda: state.kept,
        )
        own, coming, passed = self._after(kept.is_there, state.inner, updates, gate)
        new_updates, inner = stepped(coming, own, **passed)

        def choose(new: Any, old: Any) -> Any:
            return new if gate is None else jnp.where(gate, new, old)

        said = _said(inner)
        if micro_norms is not None:
            memory = kept.memory()
            noise = _noise(memory.noise, norm, micro_norms)
            said |= {"noise_scale": noise_scale(noise)}
            kept = memory._replace(noise=jax.tree.map(choose, noise, memory.noise)).kept()

        def logged(kept: Kept) -> Kept:
            memory = kept.memory()
            here = norms_of_rows(rows, grads, norms, memory.latest[:, 0] / unscale)
            broken, event = diagnosed(rows, here, memory.mean, ill)
            event = jax.tree.map(partial(jnp.where, calm), refusal(norm), event)
            events = add_event(memory.events, state.count, event)
            return memory._replace(broken=memory.broken + broken, events=events).kept()

        strange = counts & (~calm | _refused(said))
        kept = jax.lax.cond(strange, logged, lambda kept: kept, kept)

        row = choose(_row(step, said), kept.step(state.count))
        return new_updates, MonitorState(
            inner=inner,
            count=choose(jnp.asarray(optax.safe_increment(state.count)), state.count),
            kept=kept.with_step(state.count, row),
            baseline=jax.tree.map(choose, judged.baseline, state.baseline)
            if judge_of(self.inner) is None
            else (),
        )

    def _is_due(self, state: MonitorState, said: dict[str, Array]) -> Array:
        """Whether leaves are measured: once for each window, on the micro-batch that makes a step.

        A window of 1 is not simplified, so that the measurement stays a branch of its own, whose
        temporaries are small.
        """
        micro = micro_batches(self.inner)
        due = state.count % self.window < micro
        if micro == 1:
            return due & (state.count >= 0)
        return due & (said["micro_step"] + 1 == micro)

    def _after(
        self, measured: Array, inner: OptState, updates: Updates, gate: Array | None
    ) -> tuple[OptState, Updates, dict[str, Array]]:
        """What the step takes, as it is, in a way that makes it wait for the measurement.

        Else XLA copies everything that is measured before the step writes over it. The condition is
        always true, but not known to be. Where there is a gate it waits, which costs nothing; else
        the slots do, or the gradients where there are none.
        """
        if gate is not None:
            return inner, updates, {"gate": gate & measured}
        if judge_of(self.inner) is not None:
            return inner, updates, {"gate": measured}

        def wait(x: Any) -> Any:
            return jnp.where(measured, x, jnp.zeros_like(x)) if jnp.ndim(x) else x

        if any(jnp.ndim(x) for x in jax.tree.leaves(inner)):
            return jax.tree.map(wait, inner), updates, {}
        return inner, jax.tree.map(wait, updates), {}

    def _measured(
        self,
        rows: Rows,
        grads: list[Array],
        state: MonitorState,
        step: _Step,
        tried: Updates,
        after: OptState,
    ) -> Kept:
        """What is kept, with the measurements of this step, of which `tried` is the update."""
        tried, after = jax.tree.map(jax.lax.stop_gradient, (tried, after))
        said, memory = _said(after), state.memory
        moments = divisors(self.inner, state.inner, after, rows.names)
        updates = [jnp.asarray(x) for x in jax.tree.leaves(tried)]
        norms = norms_of_rows(rows, grads, step.norms, memory.latest[:, 0] / step.unscale)
        latest, above = measured(
            rows, grads, norms, updates, moments, memory.latest, step.unscale, self.sample
        )
        latest = tidy(latest)
        good = step.calm & ~_refused(said)
        mean = add_mean(memory.mean, latest, memory.means, MEAN_DECAY)
        number = state.count // self.window
        return memory._replace(
            latest=latest,
            mean=jnp.where(good, mean, memory.mean),
            means=memory.means + good.astype(jnp.int32),
            above=above,
            run=add_record(memory.run, number, state.count, latest, _row(step, said)),
        ).kept()

    def _checked(
        self, updates: Updates, state: Any, params: Params | None
    ) -> tuple[Rows, list[Array]]:
        if not isinstance(state, MonitorState):
            raise ValueError(
                f"monitor got a {type(state).__name__} as its state, expected a MonitorState: "
                "`tx.init(params)` makes one, and the order of arguments is "
                "`tx.update(grads, state, params)`."
            )
        if params is None:
            raise ValueError(
                "monitor needs the parameters: call `tx.update(grads, state, params)`, not "
                "`tx.update(grads, state)`."
            )
        leaves, _ = gradients_beside(updates, params, ())
        names = path_names(updates)
        beside = [jax.lax.stop_gradient(jnp.asarray(leaf.param)) for leaf in leaves]
        rows = rows_of(names, beside, self.layer_axis)
        memory = state.memory
        if rows.total != len(memory.latest) or len(names) != len(memory.axes):
            raise ValueError(
                f"monitor: the state is of {len(memory.axes)} leaves, {len(memory.latest)} rows, "
                f"but these gradients are {len(names)} leaves, {rows.total} rows. Make the state "
                "with `tx.init(params)`."
            )
        return rows, [jnp.asarray(leaf.grad) for leaf in leaves]


def _said(state: OptState) -> dict[str, Array]:
    """What a state reports, by the last word of each name; clips multiply."""
    said: dict[str, Array] = {}
    for name, *_, number in reports(state):
        x = jnp.asarray(number, jnp.float32)
        if name == "clip_ratio":
            said[name] = said[name] * x if name in said else x
        else:
            said.setdefault(name, x)
    return said


def _refused(said: dict[str, Array]) -> Array:
    return said["skipped"] > 0 if "skipped" in said else jnp.zeros([], bool)


def _row(step: _Step, said: dict[str, Array]) -> Array:
    found = {name: said[name] for name in SCALARS if name in said}
    found |= {} if step.value is None else {"value": jnp.asarray(step.value)}
    return scalars(found | {"grad_norm": step.norm, "z": step.z})


def _noise(old: Noise, norm: Array, micro_norms: ArrayLike | None) -> Noise:
    if micro_norms is None:
        return old
    micro = jnp.asarray(micro_norms).astype(jnp.float32)
    if micro.ndim != 1 or micro.size < 2:
        raise ValueError(
            "monitor: micro_norms must be the norms of at least two micro-batch gradients, an "
            f"array of one axis, got shape {micro.shape}."
        )
    small, big = jnp.mean(micro**2), norm**2
    news = jnp.isfinite(small) & jnp.isfinite(big)
    return add_noise_terms(old, small, big, jnp.int32(micro.size), news)


@transformation
def monitor(
    inner: Base,
    every: Steps = 10,
    history: Records = 32,
    *,
    layer_axis: LayerAxis = None,
    sample: Elements = 1024,
):
    """Watch an optimizer: what its gradients, updates and parameters are like, layer by layer.

    Put it around everything else. `funcopt.health(state, params)` makes a report of what it saw.
    It changes no update, and a step whose gate is closed it does not see.

    Args:
        inner: the optimizer, funcopt's or optax's.
        every: leaves are measured on every so many steps, from the first. Non-finite gradients,
            spikes and refused steps are noticed on all of them. Around a guard, a spike is what
            the guard takes for one.
        history: how many measurements are kept, over the whole run: when they are full every
            second one is dropped, and only every second one is kept from there on. At least 2.
        layer_axis: where layers are stacked in one leaf, the axis along which they are: an axis,
            or a dict from patterns, searched in the path, to axes. Each layer gets its own row.
        sample: of leaves with more elements, at most this many are looked at, evenly spaced along
            every axis; below 65,536. Norms of gradients are always exact.

    Extra arguments of `update`: `value`, the loss; `micro_norms`, the norms of the gradients of
    micro-batches whose mean the gradient is, from which the gradient noise scale comes. Where
    inner reports `lr`, `clip_ratio`, `skipped`, `loss_scale` or `noise_scale`, they are recorded,
    and gradients are divided by the loss scale.

    State: arrays of a fixed size, float32 and float16, without NaN. It reports `events`, and
    `grad_norm` where inner does not.

    Raises:
        ValueError: `update` was called without parameters, or a pattern matches none.

    >>> import funcopt, jax, jax.numpy as jnp
    >>> tx = funcopt.monitor(funcopt.adam(0.1), every=1)
    >>> params = {"w": jnp.array([3.0, -4.0])}
    >>> params, state = funcopt.step(tx, params, tx.init(params), params)
    >>> print(funcopt.health(state, params).verdict)
    healthy
    """
    return _Monitor(gated(inner), every, history, layer_axis, sample)
