"""An atomic step: it is taken as a whole, or nothing changes but the counts of what was skipped.

A step is skipped if the loss, a gradient, a rate or (on request) an update is not finite, or if the
norm of the gradients is a spike beside their running baseline. It is skipped by the gate through
which every transformation renews its slots, so a step that is taken costs no second pass over
memory, and the sum of squares that finds what is not finite is the one that a global-norm clip
needs.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int
from optax import OptState, Params, Updates

from ..core.answers import Skipped
from ..core.arguments import AxisName, Base, ConstantDecay, ConstantThreshold, Flag, Numeric, Steps
from ..core.leaves import gradients_beside
from ..core.metrics import reports
from ..core.step import apply_updates
from ..core.transformation import transformation, where_open
from ..core.wrapper import Beginning, Inside, Wrapper
from ..math.choice import where
from ..math.counts import counted
from ..math.global_norm import Facts, square_sums, total
from ..math.one_loop import packed
from ..math.varying import AxisNames
from .agreement import everywhere, whole_norm
from .baseline import Baseline, SpikeLimits, judge, no_baseline
from .loss_scale import refuse_loss_scale
from .rates import rates_are_finite


class GuardState(NamedTuple):
    """What a guard keeps, in few arrays, because each costs time in every call of a compiled step.

    `z` and `skipped` are of the last step looked at, `grad_norm` of the last finite one. Nothing
    here is ever NaN or infinite, but in a state inside that began so.
    """

    inner: OptState
    numbers: Float[Array, "4"]
    counts: Int[Array, "6"]

    @classmethod
    def of(
        cls,
        inner: OptState,
        baseline: Baseline,
        *,
        grad_norm: Float[Array, ""],
        z: Float[Array, ""],
        skipped: Bool[Array, ""],
        nonfinite: Int[Array, ""],
        spikes: Int[Array, ""],
        rebased: Int[Array, ""],
    ) -> "GuardState":
        numbers = baseline.mean, baseline.variance, grad_norm, z
        counts = baseline.seen, baseline.streak, nonfinite, spikes, rebased
        return cls(inner, packed(numbers), packed([*counts, skipped.astype(jnp.int32)]))

    @property
    def baseline(self) -> Baseline:
        return Baseline(
            *(_at(self.numbers, i) for i in (0, 1)), *(_at(self.counts, i) for i in (0, 1))
        )

    @property
    def grad_norm(self) -> Any:
        return _at(self.numbers, 2)

    @property
    def z(self) -> Any:
        return _at(self.numbers, 3)

    @property
    def nonfinite(self) -> Any:
        return _at(self.counts, 2)

    @property
    def spikes(self) -> Any:
        return _at(self.counts, 3)

    @property
    def rebased(self) -> Any:
        return _at(self.counts, 4)

    @property
    def skipped(self) -> Any:
        last = _at(self.counts, 5)
        return last > 0 if last is not self.counts else last

    def skips(self) -> Skipped:
        return Skipped(self.skipped, self.nonfinite + self.spikes)

    def metrics(self) -> dict[str, Array]:
        below = {each.name for each in reports(self.inner)}
        norm = {} if "grad_norm" in below else {"grad_norm": self.grad_norm}
        return {
            **norm,
            "grad_norm_z": self.z,
            "skipped": self.skipped,
            "skipped_nonfinite": self.nonfinite,
            "skipped_spikes": self.spikes,
            "rebased": self.rebased,
        }


def _at(line: Any, place: int) -> Any:
    """One of the numbers; in a tree of what is no array, as of shardings, what is there of all."""
    return line[..., place] if isinstance(line, jax.Array | np.ndarray) else line


@dataclass(frozen=True)
class Guard(Wrapper[GuardState]):
    spike: Numeric
    patience: Numeric
    decay: Numeric
    check_value: bool
    check_updates: bool
    axis_name: AxisNames

    state = GuardState

    def first(self, start: Beginning) -> GuardState:
        refuse_loss_scale(self.name, start.inner)
        none, zero = jnp.zeros([], jnp.int32), jnp.zeros([], start.real)
        return GuardState.of(
            start.inner,
            no_baseline(start.real),
            grad_norm=zero,
            z=zero,
            skipped=jnp.zeros([], bool),
            nonfinite=none,
            spikes=none,
            rebased=none,
        )

    def step(
        self, updates: Updates, state: GuardState, inside: Inside
    ) -> tuple[Updates, GuardState]:
        leaves, _ = gradients_beside(updates, None, ())
        grads = [leaf.grad for leaf in leaves if jnp.size(leaf.grad)]
        facts = self._facts(grads, inside.facts)
        # Squares that overflow would overflow in every second moment too.
        finite = everywhere(
            jnp.isfinite(facts.square_sum)
            & self._value_is_finite(inside.value)
            & rates_are_finite(self.inner, state.inner),
            self.axis_name,
        )
        norm = facts.norm
        known = facts if self.axis_name is None else inside.facts
        limits = SpikeLimits(self.spike, self.patience, self.decay)
        judged = judge(state.baseline, where(finite, norm, jnp.nan), limits)
        taken = finite & ~judged.outlier
        new_updates, inner = inside.run(updates, state.inner, gate=taken, facts=known)
        if self.check_updates:
            finite &= everywhere(_land_finite(new_updates, inside.params), self.axis_name)
            taken &= finite
            inner = jax.tree.map(lambda a, b: where(taken, a, b), inner, state.inner)
            new_updates = where_open(taken, new_updates)

        kept_norm = norm.astype(state.grad_norm.dtype)
        return new_updates, GuardState.of(
            inner,
            judged.baseline,
            grad_norm=where(jnp.isfinite(kept_norm), kept_norm, state.grad_norm),
            z=judged.z,
            skipped=~taken,
            nonfinite=counted(state.nonfinite, ~finite),
            spikes=counted(state.spikes, finite & judged.outlier),
            rebased=counted(state.rebased, judged.rebased),
        )

    def _facts(self, grads: list[Any], known: Facts | None) -> Facts:
        """What is known of the gradients, on all devices where their axes have a name."""
        if known is not None and self.axis_name is None:
            return known
        squares = square_sums(grads)
        return Facts(total(squares), whole_norm(squares, self.axis_name))

    def limits(self) -> SpikeLimits | None:
        alone = self.axis_name is None
        return SpikeLimits(self.spike, self.patience, self.decay) if alone else None

    def _value_is_finite(self, value: ArrayLike | None) -> Bool[Array, ""]:
        if value is None or not self.check_value:
            return jnp.ones([], bool)
        return jnp.isfinite(jnp.asarray(value)).all()


def _land_finite(updates: Updates, params: Params | None) -> Bool[Array, ""]:
    """Whether updates are finite, and add up to finite numbers with finite parameters."""
    leaves, _ = gradients_beside(updates, params, ())
    fine = [jnp.ones([], bool)]
    for update, param, _ in leaves:
        fine.append(jnp.isfinite(update).all())
        if param is not None:
            landed = jnp.asarray(apply_updates(param, update))
            fine.append((jnp.isfinite(landed) | ~jnp.isfinite(param)).all())
    return jnp.stack(fine).all()


@transformation
def guard(
    inner: Base,
    *,
    spike: ConstantThreshold = 6.0,
    patience: Steps = 8,
    decay: ConstantDecay = 0.99,
    check_value: Flag = True,
    check_updates: Flag = False,
    axis_name: AxisName = None,
):
    """Skip steps that are not finite or whose gradient norm spikes; a skipped step changes nothing.

    A step is skipped when the loss (`value=`), a gradient or a learning rate is not finite, when
    the squares of the gradients overflow, or when their norm is a spike: its logarithm is more than
    `spike` standard deviations above its running mean. A skipped step changes nothing inside: no
    parameter, slot, count, schedule or accumulator. A non-finite step is never taken, however many
    come; a schedule that is not finite at some step therefore stays there.

    Args:
        inner: the transformation that is guarded, funcopt's or optax's. A clip belongs inside and
            shares the norm.
        spike: how many standard deviations are too many, above 0; infinity looks at finiteness
            only. The standard deviation is at least 0.05 and starts at 1, so that the second step
            may already be a spike: of exp(6), or 400 times the first norm.
        patience: spikes in a row that are skipped, at least 1. The next one is taken as the new
            level, and the baseline starts again from it.
        decay: of the baseline, in [0, 1). Outliers enter it cut off at 3 standard deviations.
        check_value: whether a `value` that is not finite makes the step one to skip. A metric that
            is evaluated rarely, and NaN in between, is given as `metric=`, which is not judged.
        check_updates: whether updates that are not finite do so too, and those that take a finite
            parameter out of the range of its type. They are known only after the step, which is
            then selected against the old state, at the cost of a pass over both.
        axis_name: mapped axes over which the decision is made together: a step that is bad on one
            device is skipped on all. The norm is that of what all devices hold, where the types of
            `shard_map` tell that gradients are parts, else the largest of the devices' norms.

    Reports `skipped` (the last step, 0 or 1), `skipped_nonfinite` and `skipped_spikes` (how many so
    far), `rebased`, `grad_norm` (the last that was finite) and `grad_norm_z`, see
    `funcopt.metrics`.

    Raises:
        ValueError: an argument is out of its range, or a `loss_scale` is inside, where it would
            never see an overflow.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.adam(0.1)))
    >>> params = jnp.array([1.0, 2.0])
    >>> bad = jnp.array([jnp.nan, 0.0])
    >>> params, state = funcopt.step(tx, bad, tx.init(params), params)
    >>> params
    Array([1., 2.], dtype=float32)
    >>> int(funcopt.metrics(state)["skipped_nonfinite"])
    1
    """
    return Guard(inner, spike, patience, decay, check_value, check_updates, axis_name)


@transformation
def skip_nonfinite(
    inner: Base,
    *,
    check_value: Flag = True,
    check_updates: Flag = False,
    axis_name: AxisName = None,
):
    """Skip steps whose loss or gradients are not finite: a `guard` that minds no spikes.

    However many come in a row, none is taken. Its arguments, its state and what it reports are
    those of `guard`.

    Raises:
        ValueError: a `loss_scale` is inside, where it would never see an overflow.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.skip_nonfinite(funcopt.sgd(1.0))
    >>> params, state = jnp.array([1.0]), tx.init(jnp.array([1.0]))
    >>> for grad in (jnp.inf, 0.5):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    ...     print(params)
    [1.]
    [0.5]
    """
    never = float("inf")
    return Guard(inner, never, 1, 0.99, check_value, check_updates, axis_name)
