"""Optimizers that choose their rate: their settings against papers and authors, and bad inputs.

The laws that they share with all others are in the catalogue's tests. Here is what needs a loss
that follows from the parameters, and what only some of them have: averages, losses, schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from tests import catalog, reference
from tests.compiling import OPTIMIZED
from tests.golden import Inputs, load
from tests.reference.schedule_free import rectification

STEPS = 40
SHAPES = {"a": (3,), "b": (2, 2), "c": ()}
SIZES = [int(np.prod(shape)) for shape in SHAPES.values()]
ONLY_B = np.repeat([name == "b" for name in SHAPES], SIZES)
RANDOM = np.random.default_rng(11)
P0, TARGET = RANDOM.standard_normal((2, sum(SIZES))).astype(np.float32).astype(np.float64)
DIAGONAL = np.geomspace(0.25, 4.0, sum(SIZES)).astype(np.float32).astype(np.float64)
NOISE = (0.1 * RANDOM.standard_normal((STEPS, sum(SIZES)))).astype(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Row:
    """One setting: the transformation, and its reference with its arguments.

    Below the loss `floor` it does not try to go.

    `float64` is the tolerance over `STEPS` steps in double precision, where the rectification and
    the warm-up of schedule-free methods are in single precision still: schedules always are.
    `float32` is that in single precision, of a reference whose parameters are in it too.
    """

    name: str
    tx: Any
    step: Callable
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    rate: Any = 1.0
    value: bool = False
    average: str | None = None
    floor: float = 0.0
    float64: float = 1e-12
    float32: float = 1e-6


def mechanized(rate: Any) -> Any:
    return funcopt.mechanize(funcopt.sgd(rate), 0.1, 1e-6, 1e-3)


def sf(
    name: str, factory: Callable, step: Callable, rate: Any, float64: float = 1e-12, **kwargs: Any
) -> Row:
    return Row(name, factory(rate, **kwargs), step, kwargs, rate, average="x", float64=float64)


SCHEDULED = 2e-7  # a rate that a schedule gives is in float32 always
SECOND = {"d0": 1e-2, "weight_decay": 0.05}
OURS = {"estim_lr0": 1e-2, "weight_decay": 0.05}
ROWS = (
    Row("dog", funcopt.dog(), reference.dog, average="evaluated"),
    Row(
        "dog-distance",
        funcopt.dog(0.5, ("distance", 0.1), weight_decay=0.05, average_gamma=2.0),
        reference.dog,
        {"kind": "distance", "start": 0.1, "weight_decay": 0.05, "gamma": 2.0},
        0.5,
        average="evaluated",
    ),
    Row(
        "dog-rate",
        funcopt.dog(init_step=("learning_rate", 0.01), eps=1e-3),
        reference.dog,
        {"kind": "learning_rate", "start": 0.01, "eps": 1e-3},
        average="evaluated",
    ),
    Row(
        "dowg",
        funcopt.dowg(average_gamma=8.0),
        reference.dowg,
        average="evaluated",
        float32=2e-6,
    ),
    Row(
        "dowg-start",
        funcopt.dowg(0.5, 0.01, 1e-3, 0.05),
        reference.dowg,
        {"start": 0.01, "eps": 1e-3, "weight_decay": 0.05},
        0.5,
    ),
    # Its first steps, and D-Adapted Adam's below, are a few units in the last place of parameters:
    # where one is rounded the other way, what is seen of it is another by percents.
    Row("prodigy", funcopt.prodigy(), reference.prodigy, float32=2e-5),
    Row(
        "prodigy-guarded",
        funcopt.prodigy(
            0.5,
            (0.8, 0.99),
            0.9,
            bias_correction=True,
            safeguard_warmup=True,
            growth_rate=1.2,
            estim_lr_coef=0.5,
            **OURS,
        ),
        reference.prodigy,
        {
            "b1": 0.8,
            "b2": 0.99,
            "beta3": 0.9,
            "bias_correction": True,
            "safeguard_warmup": True,
            "growth_rate": 1.2,
            "coefficient": 0.5,
            **SECOND,
        },
        0.5,
    ),
    Row("dadapt-sgd", funcopt.dadapt_sgd(), reference.dadapt_sgd),
    Row(
        "dadapt-sgd-momentum",
        funcopt.dadapt_sgd(0.5, 0.8, growth_rate=1.1, **OURS),
        reference.dadapt_sgd,
        {"momentum": 0.8, "growth_rate": 1.1, **SECOND},
        0.5,
    ),
    Row("dadapt-adagrad", funcopt.dadapt_adagrad(), reference.dadapt_adagrad),
    Row(
        "dadapt-adagrad-momentum",
        funcopt.dadapt_adagrad(0.5, 0.8, 1e-3, 1e-4, growth_rate=1.1, **OURS),
        reference.dadapt_adagrad,
        {"momentum": 0.8, "initial": 1e-3, "eps": 1e-4, "growth_rate": 1.1, **SECOND},
        0.5,
    ),
    Row("dadapt-adamw", funcopt.dadapt_adamw(), reference.dadapt_adamw, float32=1e-5),
    Row(
        "dadapt-adamw-decay",
        funcopt.dadapt_adamw(0.5, (0.8, 0.99), bias_correction=True, growth_rate=1.3, **OURS),
        reference.dadapt_adamw,
        {"b1": 0.8, "b2": 0.99, "bias_correction": True, "growth_rate": 1.3, **SECOND},
        0.5,
    ),
    sf("sf-sgd", funcopt.schedule_free_sgd, reference.schedule_free_sgd, 0.25),
    sf(
        "sf-sgd-warm",
        funcopt.schedule_free_sgd,
        reference.schedule_free_sgd,
        0.25,
        float64=SCHEDULED,
        warmup_steps=7,
        b1=0.8,
        weight_decay=0.05,
    ),
    sf("sf-adamw", funcopt.schedule_free_adamw, reference.schedule_free_adamw, 0.05),
    sf(
        "sf-adamw-warm",
        funcopt.schedule_free_adamw,
        reference.schedule_free_adamw,
        0.05,
        float64=SCHEDULED,
        warmup_steps=5,
        b1=0.95,
        b2=0.9,
        weight_decay=0.05,
    ),
    sf(
        "sf-radam",
        funcopt.schedule_free_radam,
        reference.schedule_free_radam,
        0.05,
        float64=SCHEDULED,
        b2=0.98,
        weight_decay=0.05,
    ),
    sf(
        "sf-radam-long", funcopt.schedule_free_radam, reference.schedule_free_radam, 0.05, SCHEDULED
    ),
    Row("polyak", funcopt.polyak_sgd(0.3), reference.polyak_sgd, rate=0.3, value=True),
    Row(
        "polyak-plus",
        funcopt.polyak_sgd(0.3, 0.5, 0.4, 0.1, "sps+"),
        reference.polyak_sgd,
        {"scaling": 0.5, "f_min": 0.4, "eps": 0.1, "positive": True},
        0.3,
        value=True,
        floor=0.4,
    ),
    Row("momo", funcopt.momo(), reference.momo, value=True),
    Row(
        "momo-bound",
        funcopt.momo(0.3, 0.8, -1.0, 0.05, True, bias_correction=True),
        reference.momo,
        {
            "beta": 0.8,
            "lower_bound": -1.0,
            "weight_decay": 0.05,
            "adapt_lower_bound": True,
            "bias_correction": True,
        },
        0.3,
        value=True,
    ),
    Row(
        "momo-mask",
        funcopt.momo(0.3, 0.8, -1.0, 0.5, True, bias_correction=True, mask="b"),
        reference.momo,
        {
            "beta": 0.8,
            "lower_bound": -1.0,
            "weight_decay": 0.5 * ONLY_B,
            "adapt_lower_bound": True,
            "bias_correction": True,
        },
        0.3,
        value=True,
    ),
    Row("momo-adam", funcopt.momo_adam(0.1), reference.momo_adam, rate=0.1, value=True),
    Row(
        "momo-adam-mask",
        funcopt.momo_adam(0.1, weight_decay=0.5, lower_bound=-1.0, mask="b"),
        reference.momo_adam,
        {"weight_decay": 0.5 * ONLY_B, "lower_bound": -1.0},
        0.1,
        value=True,
    ),
    Row(
        "momo-adam-bound",
        funcopt.momo_adam(0.1, 0.8, 0.9, 1e-4, -1.0, 0.05, True),
        reference.momo_adam,
        {
            "b1": 0.8,
            "b2": 0.9,
            "eps": 1e-4,
            "lower_bound": -1.0,
            "weight_decay": 0.05,
            "adapt_lower_bound": True,
        },
        0.1,
        value=True,
    ),
    Row("cocob", funcopt.cocob(), reference.cocob),
    Row(
        "cocob-part",
        funcopt.cocob(0.5, 10.0, 1e-3, 0.05),
        reference.cocob,
        {"alpha": 10.0, "eps": 1e-3, "weight_decay": 0.05},
        0.5,
    ),
    Row(
        "mechanic",
        funcopt.mechanize(funcopt.sgd(0.5)),
        reference.mechanic_sgd,
        rate=0.5,
    ),
    Row(
        "mechanic-decay",
        mechanized(0.5),
        reference.mechanic_sgd,
        {"weight_decay": 0.1, "s_init": 1e-3, "eps": 1e-6},
        0.5,
    ),
    Row(
        "mechanic-pytorch",
        funcopt.mechanize(funcopt.sgd(0.5), 0.1, 1e-6, 1e-3, variant="pytorch"),
        reference.mechanic_sgd,
        {"weight_decay": 0.1, "s_init": 1e-3, "eps": 1e-6, "pytorch": True},
        0.5,
    ),
    Row(
        "hypergradient",
        funcopt.hypergradient(funcopt.identity(), 0.01),
        reference.hypergradient_sgd,
        rate=0.01,
    ),
    Row(
        "hypergradient-additive",
        funcopt.hypergradient(funcopt.identity(), 0.1, 1e-3, "additive"),
        reference.hypergradient_sgd,
        {"hyper_rate": 1e-3, "additive": True},
        0.1,
    ),
)
each = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
listening = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name) for row in ROWS if row.value]
)
averaging = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name) for row in ROWS if row.average]
)


def tree(flat: Any, dtype: Any = None) -> Any:
    parts = np.split(np.asarray(flat, dtype), np.cumsum(SIZES)[:-1])
    return {
        leaf: jnp.asarray(part.reshape(shape))
        for (leaf, shape), part in zip(SHAPES.items(), parts, strict=True)
    }


def flat(tree: Any, axes: int = 0) -> np.ndarray:
    parts = [np.asarray(tree[leaf]) for leaf in SHAPES]
    return np.concatenate([x.reshape(*x.shape[:axes], -1) for x in parts], axis=-1)


def run(tx: Any, dtype: Any, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray, Any]:
    """Parameters and parameters to evaluate with after each step, and the last state."""
    diagonal, target = tree(DIAGONAL, dtype), tree(TARGET, dtype)

    def body(carry, noise):
        params, state = carry
        gap = jax.tree.map(lambda p, q: p - q, params, target)
        grads = jax.tree.map(lambda d, x, n: d * x + n, diagonal, gap, noise)
        loss = sum(
            jnp.sum(d * x**2) / 2
            for d, x in zip(jax.tree.leaves(diagonal), jax.tree.leaves(gap), strict=True)
        )
        params, state = funcopt.step(tx, grads, state, params, value=loss)
        return (params, state), (params, funcopt.eval_params(tx, state, params))

    def loop(params, noise):
        return jax.lax.scan(body, (params, tx.init(params)), noise)

    loop = jax.jit(loop, compiler_options=OPTIMIZED if dtype == np.float32 else {})
    noise = jax.tree.map(lambda *xs: jnp.stack(xs), *(tree(x, dtype) for x in NOISE[:steps]))
    (_, state), (path, evaluated) = loop(tree(P0, dtype), noise)
    return flat(path, 1), flat(evaluated, 1), state


def transcribed(row: Row, kept: Any = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """The same in float64, but for the parameters, which are rounded to `kept` after each step."""
    p, slots, path, averages = P0, {}, [], []
    for index, noise in enumerate(NOISE):
        g = DIAGONAL * (p - TARGET) + noise
        value = np.sum(DIAGONAL * (p - TARGET) ** 2) / 2
        loss = {"value": value} if row.value else {}
        p, slots = row.step(p, g, slots, index + 1, row.rate, **row.kwargs, **loss)
        p = p.astype(kept).astype(np.float64)
        path.append(p)
        averages.append(slots[row.average] if row.average else p)
    return np.stack(path), np.stack(averages)


def deviation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Relative to the largest way that a parameter has gone."""
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs - P0)))


@each
def test_is_its_paper_s_in_float64(row):
    with jax.enable_x64(True):
        path, evaluated, _ = run(row.tx, np.float64)
    reference, averages = transcribed(row)
    assert deviation(path, reference) < row.float64
    if row.average and row.tx.arguments.get("average_gamma", 0) is not None:
        assert deviation(evaluated, averages) < row.float64


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS if not row.kwargs])
def test_is_its_paper_s_in_float32(row):
    path, _, _ = run(row.tx, np.float32)
    theirs, _ = transcribed(row, np.float32)
    assert np.max(np.abs(path - theirs)) < row.float32 * np.max(np.abs(theirs))


def test_what_single_precision_costs_is_the_rounding_of_parameters():
    """Prodigy begins with steps near the last place of a float32 parameter, and ends elsewhere.

    In float64 arithmetic it does so too, if only the parameters are in float32.
    """
    row = next(row for row in ROWS if row.name == "prodigy")
    exact, rounded = (transcribed(row, kept)[0] for kept in (np.float64, np.float32))
    assert 1e-3 < deviation(rounded, exact) < 0.1


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.id)
        for case in load("lr_free")
        if case.recomputed and case.dtype == "float64"
    ],
)
def test_mechanic_s_authors_recompute_the_way_by_default(case):
    """That is all in which that path is not ours: the transcription of it is theirs."""

    def joined(tree: Mapping[str, np.ndarray], axes: int = 0) -> np.ndarray:
        return np.concatenate([x.reshape(*x.shape[:axes], -1) for x in tree.values()], axis=-1)

    whole = {
        name: {"whole": joined(tree, axes=name == "grads")}
        for name, tree in vars(case.inputs).items()
        if tree is not None
    }
    given, theirs = Inputs(**whole), joined(case.path, axes=1)
    p0 = given.p0["whole"]

    def apart(**kwargs: Any) -> float:
        p, slots, path = p0, {}, []
        for index, rate in enumerate(case.rates):
            g = given.gradient(index, "whole", p)
            p, slots = reference.mechanic_sgd(p, g, slots, index + 1, rate, **kwargs)
            path.append(p)
        return np.max(np.abs(np.stack(path) - theirs)) / np.max(np.abs(theirs - p0))

    as_theirs = {"s_init": case.kwargs["s_init"], "pytorch": True}
    assert apart(**as_theirs, recomputed=True) < 1e-12
    assert apart(**as_theirs) > 5e-4


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name)
        for row in catalog.ROWS[::3]  # test_feedback.py has chains of rules
        if (row.acts_on == "tree" or row.wraps) and not row.fixed_rate
    ],
)
def test_a_performance_schedule_is_its_rates(row):
    """A rate that halves when the loss has stood still: the same as the rates that it had."""
    on_plateau = row.rate * funcopt.on_plateau(factor=0.5, patience=1)
    params = tree(P0, np.float32)
    grads = jax.tree.map(jnp.ones_like, params)

    def along(tx):
        def body(carry, _):
            params, state = funcopt.step(tx, grads, carry[1], carry[0], value=jnp.float32(2.0))
            return (params, state), funcopt.current_lr(state)

        return jax.jit(lambda: jax.lax.scan(body, (params, tx.init(params)), length=6))()

    _, rates = along(funcopt.sgd(on_plateau))
    assert len(np.unique(rates)) > 2
    (ours, _), _ = along(row.make(on_plateau))
    (theirs, _), _ = along(row.make(lambda step: rates[step]))
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-6)


@listening
def test_value_is_needed_and_a_scalar(row):
    params = tree(P0, np.float32)
    state = row.tx.init(params)
    with pytest.raises(ValueError, match="value=loss"):
        row.tx.update(params, state, params)
    with pytest.raises(ValueError, match="must be a scalar"):
        row.tx.update(params, state, params, value=jnp.ones(3))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS[::4]])
def test_a_foreign_state_and_missing_parameters_are_refused(row):
    params = tree(P0, np.float32)
    with pytest.raises(ValueError, match=r"got a tuple( as its state|\. `tx\.init)"):
        row.tx.update(params, (), params, value=1.0)


def test_parameters_are_needed():
    params = tree(P0, np.float32)
    tx = funcopt.prodigy()
    with pytest.raises(ValueError, match="prodigy needs the parameters"):
        tx.update(params, tx.init(params))


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: funcopt.dog(init_step=("far", 1.0)), ValueError, "distance, learning_rate"),
        (lambda: funcopt.dog(init_step=("distance", 0.0)), ValueError, r"init_step\[1\]"),
        (lambda: funcopt.prodigy(betas=(0.9, 1.0)), ValueError, r"betas\[1\]"),
        (lambda: funcopt.prodigy(betas=0.9), TypeError, "a pair of decay rates"),
        (lambda: funcopt.prodigy(growth_rate=0.5), ValueError, "growth_rate"),
        (lambda: funcopt.dadapt_adamw(estim_lr0=0.0), ValueError, "estim_lr0"),
        (lambda: funcopt.schedule_free(funcopt.sgd), TypeError, "call it to make one"),
        (lambda: funcopt.schedule_free(funcopt.sgd(1.0), b1=0.0), ValueError, "b1"),
        (lambda: funcopt.schedule_free_sgd(warmup_steps=0), ValueError, "warmup_steps"),
        (lambda: funcopt.polyak_sgd(variant="sps-"), ValueError, "variant"),
        (lambda: funcopt.momo(beta=1.0), ValueError, "beta"),
        (lambda: funcopt.prodigy(storage="float16"), ValueError, "Take bfloat16"),
        (lambda: funcopt.dadapt_adamw(storage={"mu": "float16"}), ValueError, "Take bfloat16"),
        (lambda: funcopt.dog(storage={"mu": "bfloat16"}), ValueError, "only init_params, average"),
    ],
)
def test_bad_arguments(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def nestings(tx: Any) -> dict[str, Any]:
    return {
        "alone": tx,
        "chain": funcopt.chain(funcopt.clip_by_global_norm(1e6), tx),
        "deep chain": funcopt.chain(funcopt.chain(tx), funcopt.identity()),
        "optax chain": optax.chain(optax.clip(1e6), optax.chain(tx)),
        "masked": optax.masked(tx, {"a": True, "b": True, "c": True}),
        "multi steps": optax.MultiSteps(tx, 1),
    }


@pytest.mark.default_promotion
@averaging
def test_eval_params_through_every_nesting(row):
    params = tree(P0, np.float32)
    found = {}
    # Operation by operation, nothing is rounded differently inside another loop or branch.
    with jax.disable_jit():
        for name, tx in nestings(row.tx).items():
            new, state = params, tx.init(params)
            for _ in range(3):
                updates, state = tx.update(new, state, new)
                new = optax.apply_updates(new, updates)
            evaluated = funcopt.eval_params(tx, state, new)
            found[name] = flat(evaluated)
            assert jax.tree.structure(evaluated) == jax.tree.structure(new)
            if row.tx.arguments.get("average_gamma", 0) is not None:
                assert not np.array_equal(found[name], flat(new))
    for x in found.values():
        np.testing.assert_array_equal(x, found["alone"])


@pytest.mark.default_promotion
def test_eval_params_of_a_part_leaves_the_rest():
    tx = optax.masked(funcopt.schedule_free_sgd(0.1), {"a": True, "b": False})
    params = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
    evaluated = funcopt.eval_params(tx, state, params)
    assert np.array_equal(evaluated["b"], params["b"])
    assert not np.array_equal(evaluated["a"], params["a"])


def test_eval_params_is_the_identity_where_nothing_is_averaged():
    params = tree(P0, np.float32)
    for tx in (funcopt.adam(1e-3), funcopt.prodigy(), funcopt.dog(average_gamma=None)):
        _, state = tx.update(params, tx.init(params), params)
        assert funcopt.eval_params(tx, state, params) is params


@averaging
def test_eval_params_before_the_first_update_are_the_parameters(row):
    params = tree(P0, np.float32)
    evaluated = funcopt.eval_params(row.tx, row.tx.init(params), params)
    np.testing.assert_allclose(flat(evaluated), flat(params), rtol=1e-6)


def test_schedule_free_in_bfloat16_averages_in_float32():
    """The average moves by parts that bfloat16 rounds away."""

    def go(dtype):
        tx = funcopt.schedule_free_sgd(0.01)
        params = jnp.full(4, 3.0, dtype)
        state = tx.init(params)

        def body(carry, _):
            params, state = carry
            return funcopt.step(tx, params - jnp.ones([], dtype), state, params), None

        (params, state), _ = jax.lax.scan(body, (params, state), length=400)
        return np.asarray(funcopt.eval_params(tx, state, params), np.float64)

    np.testing.assert_allclose(go(jnp.bfloat16), go(jnp.float32), rtol=0.01)


def test_schedule_free_of_any_base():
    """An optax base does not tell its rate; given once more, it is the same."""
    kwargs = {"decay": 0.999, "bias_correction": True}
    ours = funcopt.schedule_free(funcopt.rmsprop(0.1, **kwargs))
    theirs = funcopt.schedule_free(optax.rmsprop(0.1, **kwargs), learning_rate=0.1)
    # In float64, since optax takes 1 - 0.999^t in the parameters' type.
    with jax.enable_x64(True):
        a, _, _ = run(ours, np.float64, steps=10)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            b, _, state = run(theirs, np.float64, steps=10)
    assert deviation(a, b) < 1e-12
    assert float(funcopt.current_lr(state)) == np.float32(0.1)
    params = tree(P0, np.float32)
    with pytest.raises(ValueError, match="give schedule_free its learning_rate"):
        funcopt.schedule_free(optax.sgd(0.1)).init(params)


@pytest.mark.parametrize("b2", [0.9, 0.98, 0.999, 0.9999])
def test_rectification_in_float32(b2):
    rate = funcopt.schedule_free_radam(1.0, b2=b2)
    for t in (1, 4, 5, 6, 20, 200, 5000, 100_000):
        state = rate.init(jnp.zeros(()))
        inner = state.inner[0]
        state = state._replace(inner=(inner._replace(count=jnp.int32(t - 1)),))
        _, state = rate.update(jnp.ones(()), state, jnp.zeros(()))
        lr = float(funcopt.current_lr(state))
        assert lr == pytest.approx(rectification(t, b2), rel=2e-5)


@each
def test_it_works(row):
    """From its defaults, without noise, every one comes down a quadratic."""
    tx = row.tx
    target = tree(TARGET, np.float32)

    def loss(params):
        gaps = jax.tree.map(lambda p, q: jnp.sum((p - q) ** 2), params, target)
        return sum(jax.tree.leaves(gaps)) / 2

    def body(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        return funcopt.step(tx, grads, state, params, value=value), None

    params = tree(P0, np.float32)
    (last, state), _ = jax.lax.scan(body, (params, tx.init(params)), length=1000)
    above = float(loss(funcopt.eval_params(tx, state, last))) - row.floor
    assert above < 0.05 * float(loss(params))


@pytest.mark.parametrize("make", [funcopt.dog, funcopt.dowg, funcopt.prodigy, funcopt.momo])
def test_a_mask_that_fits_nothing_is_refused_without_decay_too(make):
    tx, params = make(mask="kernle"), {"kernel": jnp.ones(2)}
    with pytest.raises(ValueError, match="'kernle' matches no parameter"):
        tx.update(params, tx.init(params), params, value=1.0)


@pytest.mark.parametrize("decay", [0.0, 0.7])
@pytest.mark.parametrize("bound", [-50.0, 0.5])
@pytest.mark.parametrize("adam", [False, True])
def test_where_a_part_decays_momo_goes_to_the_minimum_of_its_model(adam, bound, decay):
    """max(f̄ − γ + ⟨m, x⟩, ρ f*) + ρ/2 (‖x − p‖² / α + λ ‖x_b‖²), in the norm of the step."""
    g, f, alpha = DIAGONAL * (P0 - TARGET), 3.0, 0.4
    f, m, rho, D = (0.1 * f, 0.1 * g, 0.1, np.abs(g) + 1e-8) if adam else (f, g, 1.0, 1.0)
    make = funcopt.momo_adam if adam else funcopt.momo
    tx = make(alpha, lower_bound=bound, weight_decay=decay, mask="b")
    with jax.enable_x64(True):
        params = tree(P0)
        args = tree(g), tx.init(params), params
        x = flat(funcopt.step(tx, *args, value=3.0)[0])

    def model(x: np.ndarray) -> np.ndarray:
        linear = np.maximum(f + (x - P0) @ m, rho * bound)
        near = np.sum(D * (x - P0) ** 2, axis=-1) / alpha
        return linear + rho / 2 * (near + decay * np.sum(D * ONLY_B * x**2, axis=-1))

    for far in (1e-4, 1e-2, 1.0):
        beside = x + far * np.random.default_rng(1).standard_normal((1000, len(x)))
        assert np.all(model(beside) > model(x))
