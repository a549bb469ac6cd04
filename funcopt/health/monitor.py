"""Watches a transformation from outside: raw gradients go in, final updates come out.

Everything that it learns is in its state, in arrays of a fixed size, so that it goes through
`scan`, donation and checkpoints and needs no callback. On every step it looks at the sum of
squares that a clip needs too; on every `every`-th it measures each leaf. Measurements come before
the step and compute its update for themselves: an update that two things want is written to
memory, which costs more than all of this (`benchmarks/guarded_step.py`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Float16, Int
from optax import OptState, Params, Updates, safe_increment

from ..leaves import Leaf, gradients_beside
from ..partition import path_names, some
from ..transformation import chain, metrics, transformation
from ..tree.norm import square_sum
from ..value import Base, Steps, Within
from ..wrappers.baseline import Baseline, judge, no_baseline
from .recorder import (
    KINDS,
    LAST_STEPS,
    SCALARS,
    Events,
    Run,
    add_event,
    add_mean,
    add_record,
    add_step,
    log2,
    no_events,
    no_run,
    no_steps,
    scalars,
)
from .second_moment import divisors, is_foreign
from .statistics import (
    ABSENT,
    COLUMNS,
    EDGES,
    diagnose,
    measure,
    noise_scale_terms,
    row_norms,
    tidy,
)

MEAN_DECAY = 0.8
NOISE_DECAY = 0.95
SPIKE = 6.0
PATIENCE = 8
BASELINE_DECAY = 0.99


def _layer_axis(where: str, x: Any) -> Any:
    if x is None or (isinstance(x, int) and not isinstance(x, bool)):
        return x
    if not isinstance(x, Mapping):
        raise TypeError(
            f"{where} must be None, an axis, or a dict from patterns to axes, got {x!r}."
        )
    for pattern, axis in x.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"{where}: {pattern!r} is not a regular expression: {error}."
            ) from error
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(f"{where}[{pattern!r}] must be an axis, an integer, got {axis!r}.")
    return dict(x)


LayerAxis = Annotated[Any, _layer_axis]
Records = Annotated[Any, Within(2, 10_000, schedule=False, integer=True)]


class MonitorState(NamedTuple):
    """What was seen: tables with a row for each leaf, or for each layer of a stacked one.

    `latest` and `mean` have the columns `funcopt.health.statistics.COLUMNS`; `axes` tells for each
    leaf along which axis layers are stacked, -1 for none. `version` counts changes of this layout.
    """

    inner: OptState
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
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
    baseline: Baseline
    grad_norm: Float[Array, ""]
    noise: Float[Array, "2"]
    noises: Int[Array, ""]

    def metrics(self) -> dict[str, Array]:
        below = {name.split("/")[-1] for name in metrics(self.inner)}
        norm = {} if "grad_norm" in below else {"grad_norm": self.grad_norm}
        return {**norm, "events": self.events.seen}


@dataclass(frozen=True)
class _Rows:
    """The leaves of one step, and along which axis each is stacked."""

    leaves: list[Leaf]
    names: list[str]
    axes: list[int | None]

    @property
    def grads(self) -> list[Array]:
        return [jnp.asarray(leaf.grad) for leaf in self.leaves]

    @staticmethod
    def layers(leaf: Leaf, axis: int | None) -> int:
        return 1 if axis is None else jnp.shape(leaf.param)[axis]

    @property
    def sizes(self) -> list[int]:
        """How many elements each row stands for, at least 1."""
        sizes = []
        for leaf, axis in zip(self.leaves, self.axes, strict=True):
            layers = self.layers(leaf, axis)
            sizes += [max(jnp.size(leaf.param) // max(layers, 1), 1)] * layers
        return sizes


@dataclass(frozen=True)
class _Monitor:
    inner: optax.GradientTransformationExtraArgs
    every: int
    history: int
    layer_axis: Any
    sample: int

    def init(self, params: Params) -> MonitorState:
        axes = self._axes(path_names(params), jax.tree.leaves(params))
        rows = sum(
            1 if axis is None else jnp.shape(x)[axis]
            for x, axis in zip(jax.tree.leaves(params), axes, strict=True)
        )
        latest, mean = (jnp.full((rows, len(COLUMNS)), ABSENT, jnp.float32) for _ in range(2))
        count, means, noises = (jnp.zeros([], jnp.int32) for _ in range(3))
        return MonitorState(
            inner=self.inner.init(params),
            count=count,
            version=jnp.ones([], jnp.int32),
            every=jnp.full([], self.every, jnp.int32),
            axes=jnp.array([-1 if axis is None else axis for axis in axes], jnp.int32),
            latest=latest,
            mean=mean,
            means=means,
            above=jnp.zeros((rows, len(EDGES)), jnp.float16),
            run=no_run(self.history, rows),
            last=no_steps(),
            events=no_events(),
            broken=jnp.zeros(rows, jnp.int32),
            baseline=no_baseline(),
            grad_norm=jnp.zeros([], jnp.float32),
            noise=jnp.zeros(2, jnp.float32),
            noises=noises,
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
        rows = self._checked(updates, state, params)
        given = {"value": value, "micro_norms": micro_norms}
        extra_args |= {name: x for name, x in given.items() if x is not None}
        counts = jnp.ones([], bool) if gate is None else gate

        before = metrics(state.inner)
        scales = [x for name, x in before.items() if name.split("/")[-1] == "loss_scale"]
        unscale = 1 / scales[0] if scales else jnp.ones([], jnp.float32)
        grads = [x for x in rows.grads if jnp.size(x)]
        squares = square_sum(grads)
        norm = jnp.sqrt(squares).astype(jnp.float32) * unscale
        judged = judge(
            state.baseline, norm, threshold=SPIKE, patience=PATIENCE, decay=BASELINE_DECAY
        )
        loss_is_finite = True if value is None else jnp.isfinite(jnp.asarray(value)).all()
        finite = jnp.isfinite(squares)
        calm = finite & ~judged.outlier & loss_is_finite

        def trial() -> tuple[Updates, OptState]:
            return self.inner.update(updates, state.inner, params, **extra_args)

        due = state.count % self.every == 0
        seen = self._measured(rows, state, trial, unscale, judged.z, norm, calm, value, gate, due)

        passed = {} if gate is None else {"gate": gate}
        if seen.latest.size and (gate is not None or self.every > 1) and not is_foreign(self.inner):
            # Always true, but not known to be: the step waits for the measurement, so that XLA
            # need not copy what is measured before the step writes over it.
            passed = {"gate": counts & (seen.latest[0, 0] >= ABSENT)}
        new_updates, inner = self.inner.update(updates, state.inner, params, **passed, **extra_args)

        said = _said(inner)
        noise, noises, noise_scale = _noise(state, norm, micro_norms)
        row = _row(norm, judged.z, value, said | noise_scale)
        broken, events = jax.lax.cond(
            counts & ~(calm & ~_refused(said)),
            lambda: _diagnosed(rows, state, norm, finite, judged.outlier, value),
            lambda: (state.broken, state.events),
        )

        def choose(new: Any, old: Any) -> Any:
            return new if gate is None else jnp.where(gate, new, old)

        at = jnp.where(counts, row, state.last[state.count % LAST_STEPS])
        return new_updates, MonitorState(
            inner=inner,
            count=choose(jnp.asarray(safe_increment(state.count)), state.count),
            version=state.version,
            every=state.every,
            axes=state.axes,
            broken=broken,
            events=events,
            last=add_step(state.last, state.count, row if gate is None else at),
            baseline=jax.tree.map(choose, judged.baseline, state.baseline),
            grad_norm=choose(tidy(norm), state.grad_norm),
            noise=choose(noise, state.noise),
            noises=choose(noises, state.noises),
            **seen._asdict(),
        )

    def _measured(
        self, rows: "_Rows", state: MonitorState, trial: Any, unscale: Any, z: Any, norm: Any,
        calm: Any, value: Any, gate: Any, due: Any,
    ) -> "_Seen":  # fmt: skip
        """What is kept of measurements, with that of this step if it is one to record."""
        old = _Seen(state.latest, state.mean, state.means, state.above, state.run)

        def record() -> _Seen:
            tried, after = trial()
            said = _said(after)
            clip_ratio = said.get("clip_ratio", jnp.ones([], jnp.float32))
            found = divisors(self.inner, state.inner, after, rows.names)
            done, first = [], 0
            for leaf, update, axis, divisor in zip(
                rows.leaves, jax.tree.leaves(tried), rows.axes, found, strict=True
            ):
                grad, param = jnp.asarray(leaf.grad), jnp.asarray(leaf.param)
                last = state.latest[first : first + rows.layers(leaf, axis), 0]
                first += len(last)
                norms = row_norms(grad, last / unscale, axis)
                done.append(
                    measure(
                        grad,
                        jnp.asarray(update),
                        param,
                        None if divisor is None else divisor.moment,
                        norms,
                        unscale,
                        clip_ratio,
                        axis=axis,
                        limit=self.sample,
                        corrected=divisor is None or divisor.corrected,
                    )
                )
            latest = tidy(jnp.concatenate([jnp.zeros_like(old.latest[:0]), *(t for t, _ in done)]))
            above = jnp.concatenate([jnp.zeros_like(old.above[:0]), *(a for _, a in done)])
            good = calm & ~_refused(said)
            mean = add_mean(old.mean, latest, old.means, MEAN_DECAY)
            row = _row(norm, z, value, said)
            number = state.count // self.every
            return _Seen(
                latest,
                jnp.where(good, mean, old.mean),
                old.means + good,
                above,
                add_record(old.run, number, state.count, latest, row),
            )

        if self.every == 1 and gate is None:
            return record()
        return jax.lax.cond(due if gate is None else due & gate, record, lambda: old)

    def _checked(self, updates: Updates, state: Any, params: Params | None) -> _Rows:
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
        axes = self._axes(names, [leaf.param for leaf in leaves])
        rows = _Rows(leaves, names, axes)
        if len(rows.sizes) != state.latest.shape[0] or len(names) != state.axes.shape[0]:
            raise ValueError(
                f"monitor: the state is of {state.axes.shape[0]} leaves, "
                f"{state.latest.shape[0]} rows, but these gradients are {len(names)} leaves, "
                f"{len(rows.sizes)} rows. Make the state with `tx.init(params)`."
            )
        return rows

    def _axes(self, names: list[str], leaves: list[Any]) -> list[int | None]:
        """Along which axis each leaf is stacked."""
        if self.layer_axis is None or not names:
            return [None] * len(names)
        if isinstance(self.layer_axis, int):
            pairs: Mapping[str, int] = {"": self.layer_axis}
        else:
            pairs = self.layer_axis
        for pattern in pairs:
            if not any(re.search(pattern, name) for name in names):
                raise ValueError(
                    f"monitor: layer_axis: the pattern {pattern!r} matches no parameter. The "
                    f"parameters are: {some(names, 20)}."
                )
        axes: list[int | None] = []
        for name, leaf in zip(names, leaves, strict=True):
            axis = next((a for pattern, a in pairs.items() if re.search(pattern, name)), None)
            ndim = jnp.ndim(leaf)
            if axis is not None and not -ndim <= axis < ndim:
                raise ValueError(
                    f"monitor: layer_axis: {name!r} has {ndim} axes, and no axis {axis}."
                )
            axes.append(None if axis is None else axis % ndim)
        return axes


class _Seen(NamedTuple):
    """The part of the state that changes only when leaves are measured."""

    latest: Array
    mean: Array
    means: Array
    above: Array
    run: Run


def _said(state: OptState) -> dict[str, Array]:
    """What a state reports, by the last word of each name; clips multiply."""
    said: dict[str, Array] = {}
    for path, x in metrics(state).items():
        name = path.split("/")[-1]
        if name == "clip_ratio":
            said[name] = said[name] * x if name in said else x
        else:
            said.setdefault(name, x)
    return said


def _refused(said: dict[str, Array]) -> Array:
    return said.get("skipped", jnp.float32(0)) > 0


def _row(norm: Any, z: Any, value: Any, said: dict[str, Array]) -> Array:
    found = {name: said[name] for name in SCALARS if name in said}
    found |= {} if value is None else {"value": jnp.asarray(value)}
    return scalars(found | {"grad_norm": norm, "z": z})


def _diagnosed(
    rows: _Rows, state: MonitorState, norm: Array, finite: Array, spike: Array, value: Any
) -> tuple[Array, Events]:
    """Where non-finite gradients were so far, and the log with what is wrong with this step."""
    none = [jnp.zeros(0, jnp.float32)] * 2
    parts = [diagnose(g, axis) for g, axis in zip(rows.grads, rows.axes, strict=True)]
    broken, largest = (
        (jnp.concatenate([a, *b]) for a, b in zip(none, zip(*parts, strict=True), strict=True))
        if parts
        else none
    )
    size = jnp.sqrt(jnp.array(rows.sizes, jnp.float32))
    usual = jnp.where(state.mean[:, 0] > ABSENT, state.mean[:, 0], log2(size))
    # The row that stands out most: its largest element beside its usual norm.
    places = [
        jnp.argmax(x).astype(jnp.int32) if x.size else jnp.int32(-1)
        for x in (broken > 0, log2(largest) - usual)
    ]
    loss = jnp.float32(0) if value is None else jnp.asarray(value).astype(jnp.float32)
    cases = [(broken > 0).any(), ~finite, ~jnp.isfinite(loss), spike]
    kinds = [jnp.int32(KINDS.index(name)) for name in ("nonfinite", "overflow", "loss", "spike")]
    where_ = [places[0], places[1], jnp.int32(-1), places[1]]
    numbers = [jnp.sum(broken), norm, loss, norm]
    kind = jnp.select(cases, kinds, jnp.int32(KINDS.index("refused")))
    row = jnp.select(cases, where_, jnp.int32(-1))
    number = jnp.select(cases, numbers, norm)
    return (
        state.broken + (broken > 0),
        add_event(state.events, state.count, kind, row, number),
    )


def _noise(
    state: MonitorState, norm: Array, micro_norms: ArrayLike | None
) -> tuple[Array, Array, dict[str, Array]]:
    """Running means of the two terms of the noise scale, and their ratio where there is one."""
    if micro_norms is None:
        return state.noise, state.noises, {}
    micro = jnp.asarray(micro_norms)
    if micro.ndim != 1 or micro.size < 2:
        raise ValueError(
            "monitor: micro_norms must be the norms of at least two micro-batch gradients, an "
            f"array of one axis, got shape {micro.shape}."
        )
    terms = jnp.stack(noise_scale_terms(micro, norm))
    news = jnp.isfinite(terms).all()
    weight = jnp.maximum(1 - NOISE_DECAY, 1 / (state.noises + 1).astype(jnp.float32))
    noise = jnp.where(news, state.noise + weight * (terms - state.noise), state.noise)
    ratio = jnp.where(noise[1] > 0, noise[0] / jnp.where(noise[1] > 0, noise[1], 1), jnp.inf)
    return noise, state.noises + news, {"noise_scale": ratio}


@transformation
def monitor(
    inner: Base,
    every: Steps = 10,
    history: Records = 32,
    *,
    layer_axis: LayerAxis = None,
    sample: Steps = 16_384,
):
    """Watch an optimizer: what its gradients, updates and parameters are like, layer by layer.

    Put it around everything else. `funcopt.health(state, params)` makes a report of what it saw.
    It changes no update, and a step whose gate is closed it does not see.

    Args:
        inner: the optimizer, funcopt's or optax's.
        every: leaves are measured on every so many steps, from the first. Non-finite gradients,
            spikes and refused steps are noticed on all of them.
        history: how many measurements are kept, over the whole run: when they are full every
            second one is dropped, and only every second one is kept from there on. At least 2.
        layer_axis: where layers are stacked in one leaf, the axis along which they are: an axis,
            or a dict from patterns, searched in the path, to axes. Each layer gets its own row.
        sample: of leaves with more elements, this many are looked at, in evenly spaced rows. Norms
            of gradients are always exact.

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
    return _Monitor(chain(inner), every, history, layer_axis, sample)
