"""What `describe` tells of each parameter is what runs: its bytes, its rate, its decay, and why."""

from __future__ import annotations

import io
import json
import sys
import time
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

import funcopt
import funcopt.optax
from funcopt.core.description import Tells
from funcopt.rules import Rule, TreeRule
from tests.catalog import ALL, Row, each
from tests.test_conventions import DECAYING, UNMASKED, made

SHAPES = {
    "embed": (11, 4),
    "blocks": [{"kernel": (4, 6), "bias": (6,)}, {"kernel": (4, 6), "bias": (6,)}],
    "conv": (3, 3, 2, 4),
    "empty": (0, 3),
    "temperature": (),
}


def shaped(shapes):
    """Parameters without elements, some of them in half precision."""

    def one(shape):
        return jax.ShapeDtypeStruct(shape, "bfloat16" if shape in ((6,), (11, 4)) else "float32")

    return jax.tree.map(one, shapes, is_leaf=lambda x: isinstance(x, tuple))


PARAMS = shaped(SHAPES)
MATRICES = shaped({"kernel": (4, 6), "other": (11, 4)})


def ones(params):
    return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), params)


def names_of(params):
    return [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]


def bytes_by_path(state, params):
    """Of each parameter, the bytes of what lies at a path in the state that has its path in it."""
    names, found = names_of(params), dict.fromkeys(names_of(params), 0)
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        place = f"/{jax.tree_util.keystr(path, simple=True, separator='/')}/"
        mine = [name for name in names if f"/{name}/" in place]
        if mine:
            found[max(mine, key=len)] += x.size * x.dtype.itemsize
    return found


def check_bytes(tx, params, state):
    found = funcopt.describe(tx, params)
    assert {row.path: row.bytes for row in found.rows} == bytes_by_path(state, params)
    assert found.bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert found.parameters == sum(x.size for x in jax.tree.leaves(params))
    assert sum(total.bytes for total in found.by_rule) + found.other_bytes == found.bytes
    assert sum(total.parameters for total in found.by_group) == found.parameters
    return found


@each(ALL)
def test_bytes_are_those_of_the_state(row: Row):
    tx = row.make()
    try:
        params, state = PARAMS, jax.eval_shape(tx.init, PARAMS)
    except ValueError:  # without `otherwise=`, rules for matrices want matrices
        params, state = MATRICES, jax.eval_shape(tx.init, MATRICES)
    found = check_bytes(tx, params, state)
    names = {slot.name for told in found.rows for slot in told.slots}
    assert row.wraps or row.acts_on == "tree" or names <= set(row.slots)


def whole(params):
    return jax.tree.map(lambda x: len(x.shape) > 1, params)


ADAMW = funcopt.adamw(1e-3, weight_decay=0.1)
AROUND = {
    "chain": funcopt.chain(funcopt.clip_by_global_norm(1.0), ADAMW, funcopt.scale(0.5)),
    "partition": funcopt.partition(
        {"embed": None, "kernel": funcopt.muon(0.02)}, otherwise=funcopt.sgd(0.1, momentum=0.9)
    ),
    "nested groups": funcopt.partition(
        {"blocks": funcopt.partition({"kernel": ADAMW, "bias": funcopt.sgd(0.1)})}, otherwise=None
    ),
    "guard": funcopt.guard(ADAMW),
    "average": funcopt.average(ADAMW, decay=0.9),
    "lookahead": funcopt.lookahead(ADAMW, storage="bfloat16"),
    "accumulate": funcopt.accumulate(ADAMW, every=4),
    "rollback": funcopt.rollback(ADAMW),
    "loss scale": funcopt.loss_scale(ADAMW),
    "monitor": funcopt.monitor(ADAMW),
    "layerwise": funcopt.chain(
        ADAMW, funcopt.layerwise_decay(0.5, layers=2), funcopt.scale_by_path({"conv": 2.0})
    ),
    "storage": funcopt.adamw(1e-3, storage={"mu": "bfloat16"}),
    "inject_hyperparams": optax.inject_hyperparams(funcopt.adamw)(1e-3),
    "masked": optax.masked(ADAMW, whole),
    "optax around": optax.chain(
        optax.clip(1.0), optax.MultiSteps(funcopt.guard(ADAMW), 2).gradient_transformation()
    ),
    "optax inside": funcopt.guard(funcopt.chain(optax.scale_by_adam(), funcopt.descend(0.1))),
    "optax's": optax.adamw(1e-3),
    "drop-in": funcopt.optax.adamw(1e-3),
    "drop-in steps": funcopt.optax.MultiSteps(funcopt.optax.adam(1e-3), 4),
    "drop-in chain": funcopt.optax.chain(
        funcopt.optax.zero_nans(), funcopt.optax.sgd(0.1, momentum=0.9)
    ),
}


@pytest.mark.default_promotion  # of optax, for parameters of several types
@pytest.mark.parametrize("name", AROUND)
def test_bytes_through_what_is_around(name):
    state = AROUND[name].init(ones(PARAMS))
    check_bytes(AROUND[name], PARAMS, state)


def test_every_lift_and_wrapper_tells():
    bodies = {type(row.lift) for row in ALL} | {type(tx.body()) for tx in FUNCOPTS}
    bodies.remove(funcopt.GradientTransformation)  # a value, which is opened
    assert len(bodies) > 7
    assert [body for body in bodies if not issubclass(body, Tells)] == []


FUNCOPTS = [tx for tx in AROUND.values() if isinstance(tx, funcopt.GradientTransformation)]


def test_every_rule_with_a_decay_says_how_it_decays():
    vars(funcopt)  # loads every class
    kinds = [*Rule.__subclasses__(), *TreeRule.__subclasses__()]
    own = [x for x in kinds if x.__module__.startswith("funcopt.")]
    silent = {
        x.__name__
        for x in own
        if "weight_decay" in getattr(x, "__dataclass_fields__", ()) and not x.decays_by
    }
    assert silent == {"Mechanic"}  # its decay is of the one factor of all steps


def row_of(tx, path, params=PARAMS):
    return next(row for row in funcopt.describe(tx, params).rows if row.path == path)


TWO = {"kernel": jnp.full((4, 6), 0.01), "bias": jnp.full(6, 0.01)}


def decaying():
    """Every factory that decays; one whose decay is told as another's is left to .ci/run."""
    seen = set()
    for name in DECAYING:
        if name not in UNMASKED:
            row = row_of(made(name, weight_decay=0.5, mask="!bias"), "kernel", TWO)
            kind = row.decay, tuple(rule for rule in row.rules if "decay" in rule) or name
            marks = [pytest.mark.every_row] if kind in seen else []
            yield pytest.param(name, marks=marks)
            seen.add(kind)


@pytest.mark.parametrize("name", [*decaying()])
def test_what_is_told_to_decay_moves_where_no_gradient_is(name):
    """And nothing else does."""
    tx = made(name, weight_decay=0.5, mask="!bias")
    rows = {row.path: row for row in funcopt.describe(tx, TWO).rows}
    assert (rows["bias"].decay, rows["bias"].weight_decay) == ("", None)
    assert "no decay: matches 'bias'" in rows["bias"].why
    assert rows["kernel"].weight_decay == 0.5
    assert rows["kernel"].decay
    assert not any("decay" in why for why in rows["kernel"].why)
    params = {**TWO, "other": jnp.ones(1)}  # which the rate of some is found by
    grads = {**jax.tree.map(jnp.zeros_like, TWO), "other": jnp.ones(1)}
    state = tx.init(params)
    for _ in range(7):  # RAdam waits for six
        given = {"value": 1.0, "hessian_diagonal": grads}
        params, state = funcopt.step(tx, grads, state, params, **given)
    np.testing.assert_array_equal(params["bias"], TWO["bias"])
    assert np.all(params["kernel"] != TWO["kernel"])


def test_decays_beside_a_smaller_rate_are_told_as_they_were_given():
    """A decay that sees the step of the rest is told its rate as a part of its number."""
    for decay in (0.3, funcopt.decays.decoupled(0.3), funcopt.decays.squared(0.3)):
        tx = funcopt.muon(0.02, weight_decay=decay, otherwise_rate=0.1)
        told = [row.weight_decay for row in funcopt.describe(tx, TWO).rows]
        assert told == pytest.approx([0.3, 0.3], rel=1e-12)


@pytest.mark.parametrize(
    ("tx", "decay", "number"),
    [
        (funcopt.adamw(0.1, weight_decay=funcopt.decays.l2(0.3)), "l2", 0.3),
        (funcopt.adamw(0.1, weight_decay=funcopt.decays.independent(0.3)), "independent", 0.3),
        (funcopt.adamw(0.1, weight_decay=funcopt.decays.corrected(0.3, 0.1)), "corrected", 0.3),
        (funcopt.adamw(0.1, weight_decay=funcopt.decays.decoupled(0.3)), "decoupled", 0.3),
        (funcopt.prodigy(0.1, weight_decay=funcopt.decays.l2(0.3)), "l2", 0.3),
        (funcopt.dog(0.1, weight_decay=funcopt.decays.cautious(0.3)), "cautious", 0.3),
        (funcopt.adamw(0.1, weight_decay=0.0), "", None),
        (
            funcopt.chain(funcopt.add_decayed_weights(0.3), funcopt.sgd(0.1, momentum=0.9)),
            "l2",
            0.3,
        ),
        (
            funcopt.chain(funcopt.sgd(0.1, momentum=0.9), funcopt.add_decayed_weights(-0.3)),
            "independent",
            0.3,
        ),
        (
            funcopt.chain(
                funcopt.scale_by_adam(), funcopt.add_decayed_weights(0.3), funcopt.descend(0.1)
            ),
            "decoupled",
            0.3,
        ),
        (
            funcopt.adamw(0.1, weight_decay=funcopt.linear_schedule(0.3, 0.0, 9)),
            "decoupled",
            "linear_schedule(init_value=0.3, end_value=0.0, transition_steps=9)",
        ),
    ],
)
def test_how_it_decays(tx, decay, number):
    row = row_of(tx, "kernel", TWO)
    assert (row.decay, row.weight_decay, row.learning_rate) == (decay, number, 0.1)


def test_the_rate_factor_is_by_how_much_a_step_is_longer():
    layers = {"blocks": [{"kernel": (2, 2)}, {"kernel": (2, 2)}], "stack": (2, 3), "head": (2, 2)}
    params = ones(shaped(layers))
    tx = funcopt.chain(
        funcopt.sgd(0.1),
        funcopt.layerwise_decay(0.5, layers=2, layer_axis={"stack": 0}),
        funcopt.scale_by_path({"head": 3.0}),
    )
    updates = tx.update(params, tx.init(params), params)[0]
    for row, update in zip(
        funcopt.describe(tx, params).rows, jax.tree.leaves(updates), strict=True
    ):
        factor = np.broadcast_to(np.reshape(row.rate_factor, (-1, 1)), row.shape)
        assert row.learning_rate == 0.1
        np.testing.assert_allclose(update, -0.1 * factor, rtol=1e-6)
    assert row_of(tx, "stack", params).rate_factor == (0.25, 0.5)
    muon = funcopt.muon(0.02, scaling="spectral", otherwise_rate=0.1)
    assert row_of(muon, "blocks/0/kernel").scale == pytest.approx(6**0.5)
    assert row_of(muon, "blocks/0/kernel").rate_factor == 1.0
    assert row_of(muon, "blocks/0/bias").rate_factor == 0.1


def test_why_a_leaf_is_not_for_muon():
    told = {row.path: row for row in funcopt.describe(funcopt.muon(0.02), PARAMS).rows}
    assert {row.rule for row in told.values() if not row.why} == {"muon"}
    assert {path: row.why[0] for path, row in told.items() if row.why} == {
        "blocks/0/bias": "a vector, no matrix",
        "blocks/1/bias": "a vector, no matrix",
        "conv": "4 axes, of which none is told, no matrix",
        "embed": "not hidden: 'embed' in its name",
        "temperature": "a scalar, no matrix",
    }
    tx = funcopt.muon(0.02, matrices={"conv": ((0, 1, 2), 3), "kernel": None}, hidden="!embed")
    rows = {row.path: row for row in funcopt.describe(tx, PARAMS).rows}
    assert rows["conv"].matrix == ((0, 1, 2), (3,))
    assert rows["blocks/0/kernel"].why == ("no matrix: matches 'kernel'",)
    assert rows["embed"].why == ("not hidden: matches 'embed'",)
    stack = funcopt.describe(
        funcopt.muon(0.02, layer_axis={"w": 0}), shaped({"w": (3, 4, 5), "b": (5,)})
    )
    assert (stack.rows[1].stacked, stack.rows[1].matrix) == ((0,), ((1,), (2,)))


def test_rules_are_named_as_users_name_them():
    tx = funcopt.partition({"kernel": funcopt.muon(0.02), "embed": None}, otherwise=ADAMW)
    tx = funcopt.guard(funcopt.chain(funcopt.clip_by_global_norm(1.0), tx))
    rows = {row.path: row for row in funcopt.describe(tx, PARAMS).rows}
    assert rows["blocks/0/kernel"].rule == "muon"
    assert rows["blocks/0/kernel"].rules[0] == "clip_by_global_norm"
    assert (rows["blocks/0/bias"].rule, rows["blocks/0/bias"].group) == ("adamw", "otherwise")
    assert rows["embed"].rule == "frozen"
    assert (rows["embed"].slots, rows["embed"].bytes, rows["embed"].learning_rate) == ((), 0, None)
    assert row_of(funcopt.sgd(0.1), "embed").rule == "sgd"
    assert row_of(funcopt.lift(funcopt.rules.Adam()), "embed").rule == "adam"
    assert row_of(funcopt.average(funcopt.sgd(0.1)), "embed").rule == "sgd > average"
    left_out = row_of(AROUND["masked"], "blocks/0/bias")
    assert left_out.rule == "none"
    assert left_out.why == ("left out by masked, which passes its gradient on as it is",)


def test_numbers_that_optax_injects_are_known():
    row = row_of(AROUND["inject_hyperparams"], "kernel", TWO)
    assert row.rule == "adamw"
    assert (row.learning_rate, row.weight_decay) == pytest.approx((0.001, 0.0001), rel=1e-6)


class Shadowed(NamedTuple):
    inner: Any
    shadow: Any


@funcopt.transformation
def shadowed(inner: optax.GradientTransformation):
    """A transformation of a user's own, without a base of funcopt's."""

    class Body:
        def init(self, params):
            return Shadowed(inner.init(params), jax.tree.map(jnp.zeros_like, params))

        def update(self, updates, state, params=None, **extra_args):
            updates, new = inner.update(updates, state.inner, params, **extra_args)
            return updates, Shadowed(new, state.shadow)

    return Body()


def test_a_transformation_of_a_user_s_own():
    row = row_of(shadowed(ADAMW), "kernel", TWO)
    assert (row.rule, row.decay, row.weight_decay) == ("adamw > shadowed", "decoupled", 0.1)
    assert [slot.name for slot in row.slots] == ["mu", "nu", "shadow"]


def test_what_only_optax_sees():
    tx = optax.multi_transform({"a": ADAMW, "b": optax.set_to_zero()}, {"kernel": "a", "bias": "b"})
    row = row_of(tx, "bias", TWO)
    assert (row.rule, row.why) == ("none", ("optax's own rules alone, which keep nothing of it",))


def test_slots_as_they_are_kept():
    row = row_of(funcopt.adamw(1e-3, storage="bfloat16"), "blocks/0/kernel")
    assert [slot._asdict() for slot in row.slots] == [
        {"name": "mu", "shape": (4, 6), "dtype": "bfloat16", "bytes": 48},
        {"name": "nu", "shape": (4, 6), "dtype": "float32", "bytes": 96},
    ]


def gpt(layers):
    def block():
        return {"attn": {"qkv": (64, 192), "out": (64, 64), "bias": (64,)}, "norm": (64,)}

    return shaped({"wte": (1000, 64), "blocks": [block() for _ in range(layers)]})


def test_a_thousand_arrays_take_less_than_a_second():
    params = gpt(250)
    funcopt.describe(funcopt.muon(0.02), gpt(1))
    began = time.process_time()
    found = funcopt.describe(funcopt.muon(0.02, mask="!bias|norm", weight_decay=0.1), params)
    assert time.process_time() - began < 1
    assert len(found.rows) == 1001
    text = printed(found.table(), 100)
    assert "blocks/*/attn/qkv x 250 " in text
    assert len(text.splitlines()) < 20


def test_no_array_is_made():
    """A parameter of four terabytes."""
    params = shaped({"kernel": (10**6, 10**6)})
    tx = funcopt.guard(funcopt.average(funcopt.adamw(1e-3)))
    assert funcopt.describe(tx, params).rows[0].bytes == 3 * 4 * 10**12


def printed(what, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


@pytest.mark.parametrize("width", [40, 80, 100, 140])
@pytest.mark.parametrize("name", ["partition", "layerwise", "average"])
def test_every_screen_shows_everything(name, width):
    found = funcopt.describe(AROUND[name], PARAMS)
    text = printed(found.table(), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    flat = "".join(text.split())
    for row in found.rows:
        told = [row.rule, *row.why, ", ".join(map(slot_text, row.slots))]
        assert all("".join(x.split()) in flat for x in told)


def slot_text(slot):
    return slot.name + " bf16" * (slot.dtype == "bfloat16")


def test_it_is_data():
    found = funcopt.describe(AROUND["partition"], PARAMS)
    data = json.loads(json.dumps(found.to_dict()))
    assert [row["path"] for row in data["rows"]] == names_of(PARAMS)
    assert data["bytes"] == found.bytes
    assert [group["name"] for group in data["by_group"]] == ["otherwise", "kernel", "embed"]
    assert repr(found).startswith("<Description: ")
    assert "muon" in found._repr_html_()


def test_without_rich_it_is_plain_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "funcopt.monitoring.listing", raising=False)
    assert str(funcopt.describe(ADAMW, TWO)).splitlines() == [
        "30 parameters in 2 arrays; state 248 B, 8.27 bytes per parameter",
        "bias (6,): adamw, 48 bytes",
        "kernel (4, 6): adamw, 192 bytes",
    ]


def test_it_is_told_inside_of_jit_and_changes_nothing():
    params = ones(shaped({"kernel": (2, 2)}))

    @jax.jit
    def run(params):
        assert funcopt.describe(ADAMW, params).bytes == 2 * 16 + 8
        return ADAMW.init(params)

    chex.assert_trees_all_equal(run(params), ADAMW.init(params))


def test_what_is_wrong_is_told_as_init_tells_it():
    with pytest.raises(ValueError, match="'kernle' matches no parameter"):
        funcopt.describe(funcopt.partition({"kernle": ADAMW}, otherwise=None), PARAMS)
    twice = funcopt.partition({"kernel": ADAMW, "blocks": ADAMW}, otherwise=None)
    with pytest.raises(ValueError, match=r"'blocks/0/kernel' is in 2 groups: 'blocks', 'kernel'"):
        funcopt.describe(twice, PARAMS)
    with pytest.raises(ValueError, match=r"'blocks/0/bias' has the shape"):
        funcopt.describe(funcopt.lift(funcopt.rules.Orthogonalize()), PARAMS)
    with pytest.raises(TypeError, match="describe takes a transformation"):
        funcopt.describe(PARAMS, ADAMW)
