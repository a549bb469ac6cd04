"""What the lift does for rules beyond one array: reports, stacked layers, matrices, other slots."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.leaf import described
from funcopt.core.report import Largest, Mean, Norm, Reducer, Smallest, Total
from funcopt.core.rule import Accumulator, Clock, NoSlots, Rule, Signed, rule
from funcopt.storage import Codec


class Seen(NamedTuple):
    size: Norm = 0.0
    most: Largest = 0.0
    least: Smallest = 1.0
    share: Mean = 0.0
    units: Total = 0.0


@rule(acts_on="array", report=Seen)
class Unit(Rule):
    """Every array divided by its norm, which it reports."""

    def update(self, grad, slots, param, clock):
        del param, clock
        size = jnp.sqrt(jnp.sum(jnp.square(grad)))
        long = (size > 2).astype(size.dtype)
        return grad / size, slots, Seen(size, size, size, long, jnp.ones_like(size))


class RowSlots(NamedTuple):
    mu: Signed
    rows: Accumulator
    spare: Signed


@rule(acts_on="matrix", slots=RowSlots)
class ByRow(Rule):
    """Momentum whose rows are divided by what they have been: a slot of another shape."""

    def init(self, param):
        return RowSlots(jnp.zeros_like(param), jnp.zeros_like(param[:, 0]), None)

    def update(self, grad, slots, param, clock: Clock):
        del param
        assert grad.ndim == 2
        slots = clock.renew(
            slots, mu=0.5 * slots.mu + grad, rows=slots.rows + jnp.sum(jnp.square(grad), 1)
        )
        return slots.mu / (1 + slots.rows[:, None]), slots


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


PARAMS = {"block": {"kernel": normal(4, 3, 2), "bias": normal(4, 2)}, "bias": normal(3)}
MATRICES = {"otherwise": funcopt.rules.Adam(b1=0.5), "layer_axis": {"block": 0}}


def by_row(**changes: Any) -> funcopt.GradientTransformation:
    return funcopt.optimizer(ByRow(), **{"learning_rate": 0.1, **MATRICES, **changes})


def run(tx, params, steps=3, **extra):
    state = tx.init(params)
    for _ in range(steps):
        params, state = funcopt.step(tx, params, state, params, **extra)
    return params, state


def assert_close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-6), a, b)


def test_reports_of_leaves_become_one():
    grads = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.0, 1.0])}
    tx = funcopt.lift(Unit())
    before = funcopt.metrics(tx.init(grads))
    assert before == {"size": 0, "most": 0, "least": 1, "share": 0, "units": 0}
    _, state = tx.update(grads, tx.init(grads))
    assert float(state.most) == 5
    told = {name: float(x) for name, x in funcopt.metrics(state).items()}
    assert told == pytest.approx({"size": 26**0.5, "most": 5, "least": 1, "share": 0.5, "units": 2})


def test_a_report_of_a_skipped_step_is_that_of_the_last_one():
    grads = jnp.array([3.0, 4.0])
    tx = funcopt.lift(Unit())
    _, state = tx.update(grads, tx.init(grads))
    _, after = tx.update(100 * grads, state, gate=jnp.array(False))
    assert funcopt.metrics(after) == funcopt.metrics(state)


def test_reports_count_the_layers_of_a_stack():
    grads = {"stack": jnp.array([[3.0, 4.0], [0.0, 1.0]]), "alone": jnp.array([2.5])}
    tx = funcopt.lift(Unit(), layer_axis=0)
    updates, state = tx.update(grads, tx.init(grads))
    assert_close(updates["stack"], [[0.6, 0.8], [0.0, 1.0]])
    assert float(state.share) == pytest.approx(2 / 3)
    assert float(state.size) == pytest.approx((25 + 1 + 6.25) ** 0.5)


def test_an_empty_leaf_says_nothing():
    grads = {"none": jnp.zeros((0, 3)), "some": jnp.array([3.0, 4.0])}
    tx = funcopt.lift(Unit(), layer_axis=0)
    _, state = tx.update(grads, tx.init(grads))
    assert (float(state.size), float(state.share)) == (5, 1)


class Unreduced(NamedTuple):
    x: jax.Array = 0.0


class OfUnknown(NamedTuple):
    x: Annotated[jax.Array, Reducer("median")] = 0.0


class Unbegun(NamedTuple):
    x: Norm


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Unreduced, "has no reducer; annotate it with Norm, Largest"),
        (OfUnknown, "has the reducer 'median'"),
        (Unbegun, "has no default"),
    ],
)
def test_a_report_that_cannot_be_reduced_is_refused(report, words):
    with pytest.raises(TypeError, match=rf"{report.__name__}\.x {words}"):
        rule(acts_on="array", report=report)


def test_axes_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"acts_on must be one of .*'matrix'.*got 'tensor'"):
        rule(acts_on="tensor")


def test_what_is_not_returned_as_declared_is_refused():
    @rule(acts_on="array", report=Seen)
    class Silent(Rule):
        def update(self, grad, slots, param, clock):
            del param, clock
            return grad, slots

    tx = funcopt.lift(Silent())
    with pytest.raises(TypeError, match=r"Silent.update must return .*Seen\(\.\.\.\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_layers_of_a_stack_are_matrices_of_their_own():
    params, _ = run(by_row(), PARAMS)
    for layer in range(4):
        alone, _ = run(by_row(layer_axis=None), {"kernel": PARAMS["block"]["kernel"][layer]})
        assert_close(params["block"]["kernel"][layer], alone["kernel"])


@pytest.mark.parametrize(
    ("pair", "order"),
    [((1, 0), (2, 1, 0)), ((0, 1), (2, 0, 1)), ((2, 1), (0, 2, 1)), ((0, 2), (1, 0, 2))],
)
def test_axes_may_be_told(pair, order):
    """Wherever the axes and layers are, the numbers are those of their matrices."""
    params = {"w": PARAMS["block"]["kernel"]}
    ours, state = run(by_row(layer_axis=None, matrices={"w": pair}), params)
    theirs, _ = run(by_row(layer_axis=0), {"w": params["w"].transpose(order)})
    assert_close(ours["w"].transpose(order), theirs["w"])
    assert state.mu["w"].shape == params["w"].shape


def test_several_axes_make_one():
    params = {"conv": normal(2, 3, 4, 5)}
    ours, state = run(by_row(layer_axis=None, matrices={"conv": ((0, 1, 2), 3)}), params)
    theirs, _ = run(by_row(layer_axis=None), {"conv": params["conv"].reshape(24, 5)})
    assert_close(ours["conv"].reshape(24, 5), theirs["conv"])
    assert (state.mu["conv"].shape, state.rows["conv"].shape) == ((2, 3, 4, 5), (24,))


def test_the_rest_goes_otherwise_with_one_count_and_one_rate():
    tx = by_row(learning_rate=funcopt.linear_schedule(0.1, 0.0, 10))
    params, state = run(tx, PARAMS)
    rest = {"block": {"bias": PARAMS["block"]["bias"]}, "bias": PARAMS["bias"]}
    rate = funcopt.linear_schedule(0.1, 0.0, 10)
    alone, _ = run(funcopt.optimizer(funcopt.rules.Adam(b1=0.5), learning_rate=rate), rest)
    assert_close(params["bias"], alone["bias"])
    assert int(state.count) == 3
    assert float(funcopt.current_lr(state)) == pytest.approx(0.08)
    assert len([x for x in jax.tree.leaves(state) if jnp.ndim(x) == 0]) == 2
    assert eval(repr(tx), {**vars(funcopt), "ByRow": ByRow}) == tx


def test_a_matrix_rule_that_meets_a_vector_says_which():
    tx = by_row(otherwise=None, layer_axis=None)
    with pytest.raises(ValueError, match=r"ByRow acts on matrices.*'bias'.*\(3,\).*otherwise="):
        tx.init({"bias": jnp.zeros(3)})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"layer_axis": 7}, ValueError, "'block/bias' has 2 axes .* and no axis 7"),
        ({"layer_axis": {"blok": 0}}, ValueError, "'blok' matches no parameter"),
        ({"layer_axis": "block"}, TypeError, "layer_axis must be None, an integer"),
        ({"layer_axis": {"(": 0}}, ValueError, "is not a regular expression"),
        ({"layer_axis": True}, TypeError, "layer_axis must be None, an integer"),
        ({"matrices": {"kernel": 1}}, TypeError, "must be a pair"),
        ({"matrices": {"kernel": (0, 0)}}, ValueError, "no axis may be two of these"),
        ({"matrices": {"kernel": (1, 3)}}, ValueError, "'block/kernel' has 3 axes .* no axis 3"),
        ({"matrices": {"kern$": (1, 2)}}, ValueError, "'kern\\$' matches no parameter"),
        ({"matrices": 0}, TypeError, "matrices must be None or a dict"),
        ({"otherwise": funcopt.adam(0.1)}, TypeError, "otherwise must be a rule|Expected a rule"),
        ({"otherwise": 3}, TypeError, "otherwise must be a rule"),
        ({"hidden": "kern$"}, ValueError, "kern"),
    ],
)
def test_axes_that_are_not_there_are_named(changes, error, words):
    with pytest.raises(error, match=words):
        by_row(**changes).init(PARAMS)


def test_what_is_known_of_a_leaf():
    found = described(PARAMS, layer_axis={"block": 0, "kernel": 1}, matrices={"kernel": (2, 1)})
    bias, stacked, kernel = found
    assert (bias.path, bias.stacked, bias.matrix) == ("bias", (), None)
    assert (stacked.path, stacked.stacked, stacked.matrix) == ("block/bias", (0,), None)
    assert (kernel.stacked, kernel.matrix) == ((0,), ((2,), (1,)))
    assert described(PARAMS, hidden="!kernel")[2].matrix is None
    assert [each.stacked for each in described(PARAMS, layer_axis=-1)] == [(), (1,), (2,)]


class TestHoles:
    """A slot that a parameter has not is no array, wherever the state goes."""

    def test_gate_and_jit(self):
        tx = by_row()
        state = tx.init(PARAMS)
        assert jax.tree.leaves(state.slots[0].spare) == []
        _, after = jax.jit(tx.update)(PARAMS, state, PARAMS, gate=jnp.array(False))
        jax.tree.map(np.testing.assert_array_equal, state, after)

    def test_scan(self):
        tx = by_row()

        def body(carry, _):
            params, state = carry
            return funcopt.step(tx, params, state, params), None

        (params, _), _ = jax.lax.scan(body, (PARAMS, tx.init(PARAMS)), length=3)
        assert_close(params, run(tx, PARAMS)[0])

    def test_tree_map_params(self):
        tx = by_row()
        state = tx.init(PARAMS)
        marked = optax.tree_map_params(tx, lambda x: x + 1, state)
        assert float(marked.mu["block"]["kernel"].max()) == 1
        assert int(marked.count) == 0

    def test_a_state_of_another_split_is_refused(self):
        state = by_row().init(PARAMS)
        with pytest.raises(ValueError, match=r"'block/kernel'.*another shape"):
            by_row(hidden="!kernel").update(PARAMS, state, PARAMS)


@dataclass(frozen=True)
class Rounded(Codec):
    """Whole numbers times a scale."""

    def encode(self, x):
        scale = jnp.maximum(jnp.max(jnp.abs(x), initial=0), 1e-30) / 127
        return jnp.round(x / scale).astype(jnp.int8), scale

    def decode(self, codes, shape, dtype):
        del shape
        return codes[0].astype(dtype) * codes[1].astype(dtype)


@pytest.mark.parametrize(
    "make",
    [
        lambda storage: funcopt.adam(0.1, storage=storage),
        lambda storage: funcopt.prodigy(storage=storage),
        lambda storage: by_row(storage=storage),
    ],
    ids=["adam", "prodigy", "matrices"],
)
def test_a_slot_may_be_kept_as_codes(make):
    tx, whole = make({"mu": Rounded()}), make(None)
    state = tx.init(PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state.mu)} == {"int8", "float32"}
    params, after = run(tx, PARAMS)
    far = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), params, run(whole, PARAMS)[0])
    assert 0 < max(jax.tree.leaves(far)) < 0.05
    _, skipped = tx.update(PARAMS, after, PARAMS, gate=jnp.array(False))
    jax.tree.map(np.testing.assert_array_equal, after, skipped)


def test_codes_hold_what_they_are_for():
    with pytest.raises(ValueError, match="nu is nonnegative, and this keeps signed slots only"):
        funcopt.adam(0.1, storage={"nu": Rounded()})
    state = funcopt.adam(0.1, storage=Rounded()).init(PARAMS)
    assert {x.dtype.name for x in jax.tree.leaves(state.nu)} == {"float32"}


def test_a_rule_that_needs_the_path_has_one_for_each_leaf():
    @rule(acts_on="element", needs_path=True)
    class Named(Rule):
        def update(self, grad, slots, param, clock):
            del param
            return grad * 0 + clock.path.astype(grad.dtype), slots

    tx = funcopt.lift(Named())
    grads = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, _ = tx.update(grads, tx.init(grads))
    assert float(updates["a"][0]) != float(updates["b"][0])
    other, _ = tx.update({"b": jnp.ones(2)}, tx.init({"b": jnp.ones(2)}))
    assert float(other["b"][0]) == float(updates["b"][0])


def test_nothing_is_needed_of_a_rule_without_slots():
    assert NoSlots() == funcopt.lift(Unit()).init(PARAMS).slots[0]


def test_a_tree_rule_is_lifted_alone():
    polyak = funcopt.rules.PolyakSgd(1.0, 1.0, 0.0, 0.0, "sps", None)
    tx = funcopt.lift(polyak)
    ours, theirs = (run(each, PARAMS, value=1.5)[0] for each in (tx, funcopt.polyak_sgd()))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert eval(repr(tx), vars(funcopt)) == tx
    for wrong in (
        lambda: funcopt.lift(Unit(), polyak),
        lambda: funcopt.lift(polyak, layer_axis=0),
    ):
        with pytest.raises(TypeError, match="one tree rule alone"):
            wrong()


@pytest.mark.parametrize(
    ("tx", "corrections"),
    [(funcopt.adamw(0.1), 2), (funcopt.nadam(0.1), 3), (funcopt.adan(0.1), 3)],
    ids=["adamw", "nadam", "adan"],
)
def test_what_corrects_running_means_is_computed_once_for_all_leaves(tx, corrections):
    """Not for each leaf anew, of which there would be more to compile; in the same bits."""
    params = [jnp.full(n, 0.5) for n in range(1, 6)]
    state = tx.init(params)

    def step(grads, state):
        return tx.update(grads, state, params)[0]

    jaxpr = jax.make_jaxpr(step)(params, state)
    assert str(jaxpr).count("expm1") == corrections
    decays = {name: x for name, x in tx.arguments.items() if re.fullmatch(r"b\d", name)}
    by_number = tx.replace(**{name: jnp.float32(x) for name, x in decays.items()})
    many = by_number.update(params, by_number.init(params), params)[0]
    for x, y in zip(step(params, state), many, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
