"""What a monitor makes of one step: arrays in, arrays out.

Everything that it needs to know of the transformation is in a static `MonitorPlan`, so that outside
of `jit` it is one program, `alone`, that is compiled once.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..math.choice import where
from ..math.counts import counted
from ..math.noise_scale import Noise, add_noise_terms, noise_scale
from ..safety.baseline import Baseline, Judgement, SpikeLimits, judge
from .columns import absent, tidy
from .events import Ailment, add_event, diagnosed, refusal
from .layers import Rows
from .measurement import Look, looks_at, measured, norms_of_rows
from .placement import local_axes, varying
from .recorder import SCALARS, add_mean, add_record, scalars
from .sample import SecondMoment
from .state import Kept
from .surges import add_surge, is_news, surge_ratio

MEAN_DECAY = 0.8
OWN_CLIP = "own_clip_ratio"
"""By what an algorithm shortens its own steps, as StableAdamW does."""

Numbers = dict[str, Array]


@dataclass(frozen=True)
class MonitorPlan:
    """The static side of a monitor's step."""

    window: int
    layer_axes: tuple[int | None, ...]
    sample: int
    axis_name: Any

    def rows(self, params: list[Array]) -> Rows:
        return Rows([""] * len(params), params, list(self.layer_axes))


class Came(NamedTuple):
    """What came with a step, in arrays: `params` and `grads` leaf by leaf, `norms` of each of them.

    `counts` is whether the gate is open, `due` whether leaves are measured, `loss` is absent where
    it is not known, and `finite` says whether squares are.
    """

    params: list[Array]
    grads: list[Array]
    norms: Float[Array, " leaves"]
    norm: Float[Array, ""]
    loss: Float[Array, ""]
    finite: Array
    unscale: Float[Array, ""]
    counts: Array
    due: Array


class JudgedStep(NamedTuple):
    """What is known of a step before leaves are measured."""

    judged: Judgement
    ill: Ailment
    calm: Array


class Done(NamedTuple):
    """What a step was like: its updates, leaf by leaf, of the weights before it, what it divided
    by, and what inner says.
    """

    updates: list[Array]
    weights: list[Array]
    moments: list[SecondMoment | None]
    reported: Numbers


def judged_step(came: Came, baseline: Baseline, limits: SpikeLimits) -> JudgedStep:
    told = where(came.loss <= absent(came.loss.dtype), 0, came.loss)
    fine = came.finite & jnp.isfinite(told)
    judged = judge(baseline, where(fine, came.norm, jnp.nan), limits)
    ill = Ailment(came.finite, judged.outlier, came.norm, told)
    return JudgedStep(judged, ill, fine & ~ill.spike)


def with_measurement(
    plan: MonitorPlan,
    came: Came,
    kept: Kept,
    count: Array,
    step: JudgedStep,
    done: Done,
    looks: list[Look] | None = None,
) -> Kept:
    """What is kept, with the measurements of this step, of `looks` where that is given."""
    rows, memory = plan.rows(done.weights), kept.memory()
    norms = norms_of_rows(
        rows, came.grads, came.norms, memory.latest[:, 0] / came.unscale, plan.axis_name
    )
    if looks is None:
        looks = looks_at(
            rows, came.grads, done.updates, done.moments, memory.latest.dtype, plan.sample,
            plan.axis_name,
        )  # fmt: skip
    latest, above = measured(rows, looks, norms, memory.latest, came.unscale)
    latest = tidy(latest)
    good = step.calm & ~_skipped(done.reported)
    mean = add_mean(memory.mean, latest, memory.means, MEAN_DECAY)
    number = jax.lax.div(count, jnp.int32(plan.window))
    changed = memory._replace(
        every=jnp.int32(plan.window),
        latest=latest,
        mean=where(good, mean, memory.mean),
        means=counted(memory.means, good),
        above=above.astype(memory.above.dtype),
        shrinks=_shrinks(rows, done.moments),
        run=add_record(memory.run, number, count, latest, _row(came, step, done.reported)),
    )
    return kept.with_measurement(changed)


def _shrinks(rows: Rows, moments: list[SecondMoment | None]) -> Array:
    """Whether what the rows are divided by can shrink."""
    known = {id(x.numbers): x.numbers for x in moments if x is not None}
    place = {key: i for i, key in enumerate(known, start=1)}
    each = [0 if x is None else place[id(x.numbers)] for x in moments]
    flags = jnp.stack([jnp.zeros([], float), *(x[-1] for x in known.values())]).astype(jnp.int32)
    return flags[np.repeat(np.array(each, int), np.array(rows.layers, int))]


def with_step(
    plan: MonitorPlan,
    came: Came,
    kept: Kept,
    count: Array,
    step: JudgedStep,
    baseline: Baseline,
    reported: Numbers,
    micro: Array | None,
) -> Kept:
    """What is kept after a step, measured or not."""
    axes = local_axes(plan.axis_name, came, kept, reported)

    def choose(new: Any, old: Any) -> Any:
        return where(came.counts, new, old)

    if micro is not None:
        memory = kept.memory()
        noise = _noise(memory.noise, came.norm, micro)
        reported = reported | {"noise_scale": noise_scale(noise)}
        kept = memory._replace(noise=jax.tree.map(choose, noise, memory.noise)).kept()

    skipped = _skipped(reported)
    passed = came.norm
    for clip in ("clip_ratio", OWN_CLIP):
        passed = passed * reported[clip].astype(passed.dtype) if clip in reported else passed
    ratio = surge_ratio(passed, baseline, came.finite & ~skipped)
    ill = ~step.calm | skipped
    news = came.counts & (ill | is_news(ratio, kept.surges.opened, count))
    kept = jax.lax.cond(
        news,
        lambda kept: varying(_logged(plan, came, kept, count, step, ill, ratio), axes),
        lambda kept: varying(kept, axes),
        kept,
    )
    row = choose(_row(came, step, reported), kept.step(count))
    return varying(kept.with_step(count, row), axes)


def _logged(
    plan: MonitorPlan,
    came: Came,
    kept: Kept,
    count: Array,
    step: JudgedStep,
    ill: Array,
    ratio: Array,
) -> Kept:
    """What is kept, with what was strange about this step, or wrong if it is `ill`."""
    rows, memory = plan.rows(came.params), kept.memory()
    here = norms_of_rows(
        rows, came.grads, came.norms, memory.latest[:, 0] / came.unscale, plan.axis_name
    )
    broken, event = diagnosed(rows, here, memory.mean, step.ill)
    event = jax.tree.map(partial(where, step.calm), refusal(came.norm), event)
    events = add_event(memory.events, count, event)
    changed = memory._replace(
        broken=counted(memory.broken, broken),
        events=jax.tree.map(partial(where, ill), events, memory.events),
        surges=add_surge(memory.surges, count, ratio, memory.last),
    )
    return kept.with_log(changed)


@partial(jax.jit, static_argnames="plan")
def alone(
    plan: MonitorPlan,
    came: Came,
    kept: Kept,
    count: Array,
    baseline: Baseline,
    limits: SpikeLimits,
    done: Done,
    micro: Array | None,
) -> tuple[Kept, Baseline]:
    """What is kept after a step that was made outside of `jit`, and the baseline."""
    step = judged_step(came, baseline, limits)
    kept = jax.lax.cond(
        came.due, lambda: with_measurement(plan, came, kept, count, step, done), lambda: kept
    )
    kept = with_step(plan, came, kept, count, step, baseline, done.reported, micro)
    return kept, step.judged.baseline


def _skipped(reported: dict[str, Array]) -> Array:
    return reported["skipped"] > 0 if "skipped" in reported else jnp.zeros([], bool)


def _row(came: Came, step: JudgedStep, reported: Numbers) -> Array:
    found = {name: reported[name] for name in SCALARS if name in reported}
    found |= {"value": came.loss, "grad_norm": came.norm, "z": step.judged.z}
    return scalars(found, came.loss.dtype)


def _noise(old: Noise, norm: Array, micro: Array) -> Noise:
    small, big = jnp.mean(micro**2), norm**2
    news = jnp.isfinite(small) & jnp.isfinite(big)
    return add_noise_terms(old, small, big, jnp.int32(micro.size), news)
