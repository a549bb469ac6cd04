"""A wrapper that a user writes is asked by ours as ours are asked by each other."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from optax import OptState, Params

import funcopt
from funcopt.wrappers import Beginning, Inside, Skipped, Wrapper


class CheckedState(NamedTuple):
    inner: OptState
    last: Array
    seen: Array
    total: Array

    def skips(self) -> Skipped:
        return Skipped(self.last, self.total)


@dataclass(frozen=True)
class Checked(Wrapper[CheckedState]):
    """Skips a step whose first gradient is negative; `seen` is the mean of all of them."""

    state = CheckedState

    def first(self, start: Beginning) -> CheckedState:
        none = jnp.int32(0)
        return CheckedState(start.inner, jnp.zeros([], bool), jnp.zeros([], start.real), none)

    def step(self, updates, state: CheckedState, inside: Inside):
        first = jax.tree.leaves(updates)[0].ravel()[0]
        new_updates, inner = inside.run(updates, state.inner, gate=first >= 0)
        seen = 0.5 * (state.seen + first.astype(state.seen.dtype))
        return new_updates, CheckedState(inner, first < 0, seen, state.total + jnp.int32(first < 0))


@funcopt.transformation
def checked(inner: funcopt.arguments.Base):
    return Checked(inner)


def trained(tx, grads, **extra):
    params = jnp.array([1.0])
    state = tx.init(params)
    path = []
    for grad in grads:
        params, state = funcopt.step(tx, jnp.array([grad]), state, params, **extra)
        path.append(float(params[0]))
    return path, state


def test_it_skips_and_passes_on_what_came():
    path, state = trained(checked(funcopt.average(funcopt.adam(0.5), decay=0.5)), [1.0, -1.0, 1.0])
    assert path[0] == path[1] != path[2]
    assert (int(state.total), int(state.inner.count)) == (1, 2)
    needs_loss = checked(funcopt.polyak_sgd(1.0, f_min=0.0))
    assert trained(needs_loss, [1.0], value=0.25)[0] == [0.75]


@pytest.mark.parametrize("inner", [funcopt.guard(funcopt.sgd(0.25)), funcopt.sgd(0.25)])
def test_rollback_counts_what_it_skips(inner):
    tx = funcopt.rollback(checked(inner), every=100, patience=2)
    path, state = trained(tx, [1.0, -1.0, -1.0, 1.0])
    assert path == [0.75, 0.75, 0.75, 1.0]
    assert int(state.rollbacks) == 1


def test_a_monitor_records_what_it_skips():
    _, state = trained(funcopt.monitor(checked(funcopt.sgd(0.1)), every=1), [1.0, -1.0, 1.0])
    seen = funcopt.health(state, jnp.array([1.0])).readings.last.scalars
    np.testing.assert_array_equal(seen["skipped"], [0, 1, 0])


def test_a_closed_gate_leaves_its_numbers():
    tx, params = checked(funcopt.sgd(0.1)), jnp.array([1.0])
    _, state = tx.update(params, tx.init(params), params)
    _, closed = tx.update(-params, state, params, gate=jnp.array(False))
    _, opened = tx.update(-params, state, params, gate=jnp.array(True))
    jax.tree.map(np.testing.assert_array_equal, closed, state)
    assert (bool(opened.last), float(opened.seen)) == (True, -0.25)


def test_the_base_says_what_is_wrong():
    tx, params = checked(funcopt.sgd(0.1)), jnp.array([1.0])
    with pytest.raises(ValueError, match="checked got a tuple as its state, expected a CheckedSt"):
        tx.update(params, (), params)

    class Needy(Checked):
        needs_params = needs_value = True

    body = Needy(funcopt.sgd(0.1))
    with pytest.raises(ValueError, match="needy needs the parameters"):
        body.update(params, body.init(params))
    with pytest.raises(ValueError, match="needy needs the loss"):
        body.update(params, body.init(params), params)


def test_a_state_in_half_precision_goes_on_in_full():
    tx, params = checked(funcopt.sgd(0.1)), jnp.array([1.0])
    state = tx.init(params)
    state = state._replace(seen=state.seen.astype(jnp.bfloat16))
    assert tx.update(params, state, params)[1].seen.dtype == jnp.float32


class PairedState(NamedTuple):
    inner: OptState
    mean: Params
    odd: Array

    def waiting(self) -> Params:
        return self.mean


@dataclass(frozen=True)
class Paired(Wrapper[PairedState]):
    """One step for two updates, with the sum of their gradients."""

    state = PairedState
    keeps = ("mean",)
    every = 2

    def first(self, start: Beginning) -> PairedState:
        none = start.as_tree([jnp.zeros_like(x) for x in start.arrays])
        return PairedState(start.inner, none, jnp.zeros([], bool))

    def is_last(self, state: PairedState, flush):
        return state.odd | flush

    def step(self, updates, state: PairedState, inside: Inside):
        last = self.is_last(state, inside.extra_args.get("flush", False))
        total = jax.tree.map(jnp.add, state.mean, updates)
        new_updates, inner = inside.run(total, state.inner, gate=last, weight=None)
        kept = jax.tree.map(lambda x, old: jnp.where(last, 0, x), total, state.mean)
        return new_updates, PairedState(inner, kept, ~last)


@funcopt.transformation
def paired(inner: funcopt.arguments.Base):
    return Paired(inner)


def test_what_waits_in_it_is_flushed():
    tx, params = paired(funcopt.sgd(0.25)), jnp.array([1.0])
    _, state = tx.update(params, tx.init(params), params)
    params, state = funcopt.flush(tx, state, params)
    assert float(params[0]) == 0.75
    assert int(state.inner.count) == 1


def test_a_monitor_measures_once_for_each_of_its_steps():
    _, state = trained(funcopt.monitor(paired(funcopt.sgd(0.1)), every=1), [1.0, 2.0, 3.0, 4.0])
    assert funcopt.health(state, jnp.array([1.0])).readings.records == 2


class TwofoldState(NamedTuple):
    inner: OptState

    def current_scale(self) -> Array:
        return jnp.float32(4.0)


@dataclass(frozen=True)
class Twofold(Wrapper[TwofoldState]):
    state = TwofoldState

    def first(self, start: Beginning) -> TwofoldState:
        return TwofoldState(start.inner)

    def step(self, updates, state: TwofoldState, inside: Inside):
        updates, inner = inside.run(jax.tree.map(lambda g: g / 4, updates), state.inner)
        return updates, TwofoldState(inner)


@funcopt.transformation
def twofold(inner: funcopt.arguments.Base):
    return Twofold(inner)


def test_its_scale_is_known():
    tx = funcopt.monitor(twofold(funcopt.sgd(0.1)), every=1)
    _, state = trained(tx, [8.0])
    assert float(funcopt.scale_loss(0.5, state)) == 2.0
    assert funcopt.health(state, jnp.array([1.0])).readings.now("grad_norm") == 2.0
    with pytest.raises(ValueError, match=r"Put loss_scale outside|a loss_scale inside"):
        funcopt.guard(twofold(funcopt.sgd(0.1))).init(jnp.array([1.0]))
