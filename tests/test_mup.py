"""muP: factors as the authors' package has them, and steps that suit all widths by them."""

from __future__ import annotations

import io
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import funcopt
from funcopt.lab import coordinate_check
from tests.golden import HERE

FROZEN = json.loads((HERE / "mup.json").read_text())["parameters"]


def ours(shape):
    """PyTorch's [outputs, inputs, ...] as [..., inputs, outputs]; the rows of embeddings stay."""
    return tuple(shape[2:]) + tuple(shape[1::-1]) if len(shape) > 1 else tuple(shape)


def shapes(which):
    def one(name, row):
        shape = row[which] if name.startswith("embed") else ours(row[which])
        return jax.ShapeDtypeStruct(tuple(shape), "float32")

    return {name: one(name, row) for name, row in FROZEN.items()}


def factor_of(factors, params):
    """By path, as `scale_by_path` applies them."""
    tx = funcopt.scale_by_path(factors)
    told = funcopt.describe(tx, params).rows
    return {row.path: row.rate_factor for row in told}


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_rates_are_those_of_the_authors_package(rule):
    params = shapes("shape")
    found = funcopt.mup(params, shapes("base"), rule, divides=True)
    expected = {name: row[rule] for name, row in FROZEN.items()}
    assert factor_of(found.rates, params) == pytest.approx(expected, rel=1e-15)


def test_initial_weights_are_those_of_the_authors_package():
    """PyTorch draws biases as it draws weights; where they are zeros, their factor is nothing."""
    params = shapes("shape")
    found = funcopt.mup(params, shapes("base"), divides=True)
    weights = {name: row["initial"] for name, row in FROZEN.items() if len(row["shape"]) > 1}
    begun = found.start({name: jnp.ones(x.shape) for name, x in params.items()})
    assert {name: float(begun[name].mean()) for name in weights} == pytest.approx(weights)


def init(key, width):
    one, two, three = jax.random.split(key, 3)
    normal = jax.random.normal
    return {
        "in": normal(one, (6, width)) / 6**0.5,
        "mid": normal(two, (width, width)) / width**0.5,
        "out": normal(three, (width, 4)) / width**0.5,
    }


RANDOM = np.random.default_rng(0)
BATCH = (
    jnp.asarray(RANDOM.standard_normal((16, 6)), "float32"),
    jnp.asarray(RANDOM.integers(0, 4, 16)),
)


def forward(params, batch, shrink=1.0):
    x, labels = batch
    first = jax.nn.relu(x @ params["in"])
    second = jax.nn.relu(first @ params["mid"])
    logits = second @ params["out"] * shrink
    loss = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))
    return loss, {"first": first, "second": second, "logits": logits}


BASE = jax.eval_shape(lambda key: init(key, 64), jax.random.key(0))
WIDTHS = (64, 128, 256)


def start(key, width):
    params = init(key, width)
    return funcopt.mup(params, BASE).start(params)


def adam(params):
    return funcopt.chain(funcopt.adam(3e-3), funcopt.scale_by_path(funcopt.mup(params, BASE).rates))


@pytest.fixture(scope="module")
def checks():
    """A small network as it usually is, and in muP."""
    plain = coordinate_check(init, forward, BATCH, funcopt.adam(3e-3), widths=WIDTHS, steps=3)
    mup = coordinate_check(start, forward, BATCH, adam, widths=WIDTHS, steps=3)
    return plain, mup


def test_a_coordinate_check_tells_the_usual_parametrization_from_mup(checks):
    plain, mup = checks
    assert not plain.passed
    assert (plain.verdicts["second"], plain.verdicts["logits"]) == ("grows", "grows")
    assert plain.headline().startswith(
        "failed: 2 of 3 activations depend on the width; logits grows"
    )
    assert mup.passed, mup.slopes
    assert max(map(abs, mup.slopes.values())) < 0.15
    assert mup.headline().startswith("passed: ")


def test_sgd_in_mup_passes_too():
    def begun(key, width):
        params = init(key, width)
        return funcopt.mup(params, BASE, "sgd").start(params)

    def sgd(params):
        rates = funcopt.mup(params, BASE, "sgd").rates
        return funcopt.chain(funcopt.sgd(0.1), funcopt.scale_by_path(rates))

    found = coordinate_check(begun, forward, BATCH, sgd, widths=(64, 256), steps=2)
    assert found.passed, found.slopes


@pytest.mark.parametrize("scaling", ["unit_rms", "moonlight"])
def test_muon_is_steady_at_the_scale_that_goes_by_the_width(scaling):
    def muon(params):
        rates = funcopt.mup(params, BASE, "muon").rates
        tx = funcopt.muon(0.02, scaling=scaling, hidden="mid", otherwise_rate=0.1)
        return funcopt.chain(tx, funcopt.scale_by_path(rates))

    found = coordinate_check(start, forward, BATCH, muon, widths=(64, 256), steps=2)
    assert found.passed is (scaling == "unit_rms"), found.slopes


def test_both_forms_are_one_training():
    """Outputs that are divided, at larger rates, and smaller weights."""
    params = init(jax.random.key(1), 256)

    def losses(divides, rule, tx):
        found = funcopt.mup(params, BASE, rule, divides=divides)
        chained = funcopt.chain(tx, funcopt.scale_by_path(found.rates))
        x = found.start(params)
        state, out = chained.init(x), []

        @jax.jit
        def step(x, state):
            shrink = 64 / 256 if divides else 1.0
            loss, grads = jax.value_and_grad(lambda x: forward(x, BATCH, shrink)[0])(x)
            return *funcopt.step(chained, grads, state, x), loss

        for _ in range(5):
            x, state, loss = step(x, state)
            out.append(loss)
        return jnp.stack(out)

    for rule, tx in (("adam", funcopt.adam(3e-3, eps=1e-30)), ("sgd", funcopt.sgd(0.1))):
        chex.assert_trees_all_close(losses(True, rule, tx), losses(False, rule, tx), rtol=2e-5)


def test_a_check_as_a_record(checks, tmp_path):
    plain, _ = checks
    assert plain.changes.shape == (3, 3, 3)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(plain.table())
    text = console.export_text()
    assert "logits" in text
    assert "grows" in text
    lines = plain.to_csv(tmp_path / "check.csv").read_text().splitlines()
    assert lines[0] == "width,step,first,second,logits"
    assert len(lines) == 1 + 3 * 3
    axes = plain.plot()
    assert len(axes.get_lines()) == 3
    assert repr(plain) == f"<CoordinateCheck: {plain.headline()}>"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": (64,)}, "at least two different numbers"),
        ({"widths": (64, 0)}, "above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"seeds": 0}, "seeds must be at least 1"),
    ],
)
def test_bad_checks(changes, words):
    with pytest.raises(ValueError, match=words):
        coordinate_check(init, forward, BATCH, funcopt.sgd(0.1), **changes)


def test_nothing_that_changes_is_unknown():
    found = coordinate_check(init, forward, BATCH, funcopt.sgd(0.0), widths=(2, 4), steps=1)
    assert set(found.verdicts.values()) == {"unknown"}
    assert "did not change" in found.headline()


def layered(width, heads, layers=3):
    block = {
        "attn": {"query": (width, heads, 4), "out": (heads, 4, width)},
        "up": (width, 2 * width),
    }
    return jax.tree.map(
        lambda shape: jnp.ones(shape),
        {
            "blocks": [block] * layers,
            "embed": (11, width),
            "scale": (width,),
            "stack": (5, width, width),
        },
        is_leaf=lambda x: isinstance(x, tuple),
    )


AXES = {"query": (0, (1, 2)), "attn/out": ((0, 1), 2)}


def test_paths_that_differ_in_numbers_are_one_pattern():
    wide, base = layered(32, 8), layered(8, 2)
    found = funcopt.mup(wide, base, matrices=AXES, layer_axis={"stack": 0})
    assert found.rates == {
        r"^(?:blocks/\d+/attn/out|blocks/\d+/attn/query|blocks/\d+/up|stack)$": 0.25
    }
    assert found.initial == {"": 1.0}
    assert found.kinds["embed"] == "input"
    one = funcopt.chain(funcopt.sgd(1.0), funcopt.scale_by_path(found.rates))
    other = funcopt.partition(
        {pattern: funcopt.sgd(1.0 * factor) for pattern, factor in found.rates.items()},
        otherwise=funcopt.sgd(1.0),
    )
    first, second = (tx.update(wide, tx.init(wide), wide)[0] for tx in (one, other))
    chex.assert_trees_all_equal(first, second)
    deeper = {"blocks": [{"w": jnp.ones((8, 8))}, {"w": jnp.ones((4, 4))}]}
    shallow = {"blocks": [{"w": jnp.ones((4, 4))}, {"w": jnp.ones((4, 4))}]}
    assert funcopt.mup(deeper, shallow).rates == {"^blocks/0/w$": 0.5}
    assert funcopt.mup(wide, wide, matrices=AXES).rates == {"": 1.0}


@pytest.mark.parametrize(
    ("params", "base", "words"),
    [
        ({"a": jnp.ones(2)}, {"b": jnp.ones(2)}, "Only in the base: b. Only in params: a"),
        ({"a": jnp.ones(2)}, {"a": jnp.ones((2, 1))}, r"'a' has the shape \(2,\), and \(2, 1\)"),
        (layered(32, 8), layered(8, 2), r"'blocks/0/attn/out' of shape .* along the axes \(0, 2\)"),
    ],
)
def test_bad_models(params, base, words):
    with pytest.raises(ValueError, match=words):
        funcopt.mup(params, base)


def test_bad_rules():
    with pytest.raises(ValueError, match=r"rule must be one of adam, sgd, muon, got 'lamb'"):
        funcopt.mup(BASE, BASE, "lamb")
    with pytest.raises(ValueError, match="different models"):
        funcopt.mup(BASE, BASE).start({"in": jnp.ones((6, 32))})
