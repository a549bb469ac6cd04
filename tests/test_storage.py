"""Slots in few bits under transformations: which they are, how they round, and what that keeps."""

from dataclasses import replace

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import funcopt
from funcopt.core.again import by_chance
from funcopt.core.rule import DECAY_OF, mean_decay
from funcopt.storage import BFloat16, ByKind, ByPath, Dynamic8, Int8, Log4, Log8
from funcopt.storage.kept import Coded, decoded

SHAPES = {
    "wte": (80, 64),
    "h/up/kernel": (64, 96),
    "h/odd/kernel": (50, 100),
    "h/small": (8, 8),
    "h/ln/scale": (64, 64),
    "bias": (5000,),
}
FULL = ByKind("dynamic8", "log8", min_size=0, min_ndim=0, full=None)
FOURS = ByKind("dynamic4", "log4", min_size=0, min_ndim=0, full=None)


def arrays(seed, shapes=SHAPES, scale=1.0):
    random = np.random.default_rng(seed)
    return {
        name: jnp.asarray(np.float32(scale * random.standard_normal(shape)))
        for name, shape in shapes.items()
    }


PARAMS = arrays(0)


def kept(tree):
    """The name of how each slot is kept, in order of the names of parameters."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Coded))
    return [x.codec.name if isinstance(x, Coded) else x.dtype.name for x in leaves]


def wide(tree):
    return jax.tree.map(
        lambda x: decoded(x, jnp.float32), tree, is_leaf=lambda x: isinstance(x, Coded)
    )


def jitted(tx):
    return jax.jit(lambda grads, state, params: funcopt.step(tx, grads, state, params))


# --- which slots ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "mu", "nu"),
    [
        ("8bit", "dynamic8", "log8"),
        ("4bit", "dynamic4", "log4"),
        ("16bit", "bfloat16", "bfloat16"),
        ("int8", "int8", "float32"),
        ("log8", "float32", "log8"),
        (ByKind("dynamic4", "log8"), "dynamic4", "log8"),
        ({"mu": "int8", "nu": "log4"}, "int8", "log4"),
        ({"nu": Log4(), "": "8bit"}, "dynamic8", "log4"),
        ({"mu": "8bit"}, "dynamic8", "float32"),
    ],
    ids=str,
)
def test_matrices_are_coded_and_the_rest_is_not(storage, mu, nu):
    """In order: bias, h/ln/scale, h/odd/kernel, h/small, h/up/kernel, wte."""
    state = jax.eval_shape(funcopt.adam(1e-3, storage=storage).init, PARAMS)
    here = [False, False, True, False, True, False]
    everywhere = isinstance(storage, dict) and isinstance(storage.get("nu"), Log4)
    assert kept(state.mu) == [mu if flag else "float32" for flag in here]
    assert kept(state.nu) == [nu if flag or everywhere else "float32" for flag in here]


def test_everything_is_coded_where_that_is_told():
    state = funcopt.adam(1e-3, storage=FULL).init({**PARAMS, "number": jnp.ones([])})
    assert set(kept(state.mu)) == {"dynamic8"}
    assert set(kept(state.nu)) == {"log8"}


@pytest.mark.parametrize("storage", [FULL, FOURS], ids=["8", "4"])
def test_leaves_of_every_shape_and_size(storage):
    """No axes, no elements, odd ones, zeros alone, and elements of all magnitudes in one block."""
    shapes = {
        "number": (),
        "none": (0,),
        "rows": (3, 0),
        "odd": (5, 7),
        "zeros": (2, 64),
        "huge": (2, 64),
    }
    grads = arrays(3, shapes) | {"zeros": jnp.zeros((2, 64))}
    grads["huge"] *= 10.0 ** jnp.linspace(-30, 18, 128).reshape(2, 64)
    tx = funcopt.adamw(1e-3, storage=storage)
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    state = tx.init(params)
    for _ in range(3):
        params, state = jitted(tx)(grads, state, params)
    for name, x in params.items():
        assert x.shape == shapes[name]
        assert bool((jnp.abs(x - 1) < 0.01).all()), name
    np.testing.assert_array_equal(wide(state.mu)["zeros"], 0)


def test_by_path():
    storage = ByPath({"h/up": "4bit", "!h/": None, "odd": {"nu": "log8"}}, otherwise="8bit")
    tx = funcopt.adamw(1e-3, storage=storage)
    state = tx.init(PARAMS)
    assert kept(state.mu) == ["float32", "float32", "float32", "float32", "dynamic4", "float32"]
    assert kept(state.nu) == ["float32", "float32", "log8", "float32", "log4", "float32"]
    assert hash(tx) == hash(eval(repr(tx), {**vars(funcopt), "ByPath": ByPath}))
    with pytest.raises(ValueError, match=r"'attn' of storage matches no parameter. The param"):
        funcopt.adam(1e-3, storage=ByPath({"attn": "8bit"})).init(PARAMS)


def test_types_by_path_stay_what_they_are():
    params = {"a": jnp.ones(4), "b": jnp.ones(4)}
    by_path = ByPath({"a": "bfloat16"})
    for storage in (by_path, ByPath({"a": {"mu": "bfloat16"}}), {"mu": by_path}, {"": by_path}):
        tx = funcopt.adam(1e-3, storage=storage)
        before = tx.init(params)
        after = jitted(tx)(params, before, params)[1]
        assert kept(before.slots) == kept(after.slots) == ["bfloat16", *["float32"] * 3], storage


def test_groups_and_chains_get_it():
    groups = {"kernel": funcopt.muon(0.02, otherwise=None), "": funcopt.adam(1e-3)}
    by_path = ByPath({"up": "4bit", "wte": FULL}, otherwise="8bit")
    for storage in (by_path, {"": by_path}):
        tx = funcopt.partition(groups, storage=storage)
        state = tx.init({"h/up/kernel": PARAMS["h/up/kernel"], "wte": PARAMS["wte"]})
        assert kept(state.inner["kernel"].trace) == ["dynamic4"]
        assert kept(state.inner[""].nu) == ["log8"]
    for storage in (ByPath({"attn": "8bit"}), {"nu": ByPath({"attn": "8bit"})}):
        with pytest.raises(ValueError, match="partition: the pattern 'attn' of storage"):
            funcopt.partition(groups, storage=storage).init(PARAMS)
    chain = funcopt.chain(funcopt.clip_by_global_norm(1.0), funcopt.average(funcopt.adam(1e-3)))
    state = funcopt.with_storage(funcopt.guard(chain), {"nu": "log8"}).init(PARAMS)
    assert sorted(set(kept(optax.tree.get(state, "nu")))) == ["float32", "log8"]
    both = funcopt.chain(funcopt.trace(0.9), funcopt.adam(1e-3))
    state = funcopt.with_storage(both, {"": ByPath({"wte": {"nu": Log8()}})}).init(PARAMS)
    assert kept(optax.tree.get(state, "nu"))[-1] == "log8"
    with pytest.raises(ValueError, match="with_storage: storage names the slot 'trace'"):
        funcopt.with_storage(chain, {"trace": "int8"})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: funcopt.adam(0.1, storage="int7"), "adam: storage must be None, one of bfloat16"),
        (lambda: funcopt.adam(0.1, storage={"nu": "int8"}), "nu is nonnegative.*or by bfloat16 or"),
        (lambda: funcopt.adam(0.1, storage={"mu": Log8()}), "mu is signed, and this keeps nonneg"),
        (lambda: funcopt.adam(0.1, storage={"nu": ByPath({"x": "int8"})}), "nu is nonnegative"),
        (lambda: funcopt.adam(0.1, storage={"m": "8bit"}), "names the slot 'm'.*only mu, nu"),
        (lambda: funcopt.adam(0.1, storage=ByPath({"x": {"m": "8bit"}})), "names the slot 'm'"),
        (lambda: funcopt.adam(0.1, storage=ByPath({"x": "int7"})), r"storage\['x'\] must be None"),
        (
            lambda: funcopt.adam(0.1, mu_dtype="bfloat16", storage=ByPath({"x": {"m": "8bit"}})),
            "names the slot 'm'",
        ),
        (
            lambda: funcopt.adam(0.1, storage={"mu": {"nu": "8bit"}}),
            r"storage\['mu'\]: a dict by slot in another one",
        ),
        (
            lambda: funcopt.adam(0.1, storage=ByPath({"x": {"mu": ByPath({"x": "8bit"})}})),
            "a ByPath in another one",
        ),
        (lambda: funcopt.dadapt_sgd(storage={"grad_sum": "8bit"}), "exact, which this does not"),
        (lambda: ByPath({"(": "8bit"}), r"ByPath: '\(' is not a regular expression"),
        (
            lambda: ByKind("log8"),
            "ByKind: signed='log8' keeps nonnegative slots only. Take bfloat16",
        ),
        (lambda: ByKind("int7"), "ByKind: signed must be a codec, None or one of bfloat16"),
        (lambda: ByKind(min_size=-1), "ByKind: min_size must be an integer >= 0"),
        (lambda: ByKind(full="("), "is not a regular expression"),
    ],
)
def test_what_cannot_be_is_told(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_what_is_no_dict_of_patterns_is_told():
    for given in ({}, ("w", "8bit"), [("w", "8bit")]):
        with pytest.raises(TypeError, match="ByPath takes a dict from patterns to storages"):
            ByPath(given)


def test_describe_says_how_and_why():
    found = funcopt.describe(funcopt.adamw(1e-3, storage="8bit"), PARAMS)
    rows = {row.path: row for row in found.rows}
    up = rows["h/up/kernel"]
    size, blocks = 64 * 96, 64 * 3
    assert [slot.dtype for slot in up.slots] == ["dynamic8", "log8"]
    assert up.bytes == 2 * (size + 2 * blocks)
    assert up.why == ()
    whys = {name: row.why for name, row in rows.items() if row.why}
    assert whys == {
        "wte": ("mu, nu in float32: 'wte' in its name",),
        "h/small": ("mu, nu in float32: fewer than 4096 elements",),
        "h/ln/scale": ("mu, nu in float32: 'ln' in its name",),
        "bias": ("mu, nu in float32: a vector",),
    }
    assert "mu dynamic8, nu log8" in str(found)
    exact = funcopt.describe(funcopt.prodigy(storage="8bit"), PARAMS)
    row = next(row for row in exact.rows if row.path == "h/up/kernel")
    assert row.why == ("grad_sum, init_params in float32: declared exact",)


# --- rounding ------------------------------------------------------------------------------------


def test_rounding_is_chosen_by_the_decay():
    assert by_chance(Log8(), "nonnegative", 0.999) is True
    assert by_chance(Log8(), "nonnegative", 0.5) is False
    assert by_chance(Log8(), "nonnegative", None) is True
    assert by_chance(Dynamic8(), "signed", None) is False
    assert by_chance(Dynamic8(), "signed", 0.9999) is True
    assert by_chance(Dynamic8(), "signed", 0.9) is False
    for codec, slow in ((Log8(), 0.25), (Dynamic8(), 2**-7), (Int8(), 2**-7), (BFloat16(), 2**-8)):
        assert by_chance(codec, "signed", 1 - 0.9 * slow) is True
        assert by_chance(codec, "signed", 1 - 1.1 * slow) is False
    assert by_chance(Log8(rounding="nearest"), "nonnegative", 0.999) is False
    assert by_chance(Dynamic8(rounding="stochastic"), "signed", 0.9) is True
    assert bool(by_chance(Log8(), "nonnegative", jnp.float32(0.999)))
    rules = funcopt.rules
    for rule, name, decay in (
        (rules.Adam(0.8, 0.99), "mu", 0.8),
        (rules.Adam(0.8, 0.99), "nu", 0.99),
        (rules.Lion(0.8, 0.98), "mu", 0.98),
        (rules.Ademamix(0.9, 0.99, 0.9999), "m2", 0.9999),
        (funcopt.Momentum(0.7), "trace", 0.7),
        (rules.Adagrad(), "sum_of_squares", None),
    ):
        assert mean_decay(rule, name) == decay


def test_every_declared_decay_is_one():
    from tests.catalog import ROWS

    for row in ROWS:
        for rule in getattr(row.lift, "rules", ()):
            if rule.decay_of is not DECAY_OF:
                assert set(rule.decay_of) <= set(rule.slots._fields), rule
                assert all(hasattr(rule, field) for field in rule.decay_of.values()), rule


def test_a_traced_decay_chooses_as_a_known_one():
    one = {"w": PARAMS["h/up/kernel"]}
    for decay in (0.5, 0.999):
        tx = funcopt.rmsprop(1e-3, decay=decay, storage="8bit")
        known = jax.jit(tx.update)(one, tx.init(one), one)[1]
        traced = jax.jit(lambda tx: tx.update(one, tx.init(one), one)[1])(tx)
        # A number that is traced is rounded, by which a code in thousands differs.
        differ = known.nu["w"].codes.codes != traced.nu["w"].codes.codes
        assert float(differ.mean()) < 2e-3


def test_noise_differs_by_step_path_and_slot_and_not_by_what_else_there_is():
    """Slots that hold the same numbers, just between two codes."""
    storage = {"nu": Log8(rounding="stochastic"), "nu_max": Log8(rounding="stochastic")}
    tx = funcopt.amsgrad(1e-3, b2=0.0, storage=storage)
    grads = {name: jnp.ones((16, 64)).at[:, 1:].set(0.7) for name in "ab"}
    step = jax.jit(lambda grads, state: tx.update(grads, state)[1])
    first = step(grads, tx.init(grads))
    second = step(grads, first)
    codes = [
        x.codes.codes for x in (first.nu["a"], first.nu["b"], second.nu["a"], first.nu_max["a"])
    ]
    assert len(np.unique(codes[0][:, 1:])) == 2
    for other in codes[1:]:
        assert 0.2 < float((other == codes[0])[:, 1:].mean()) < 0.8
    alone = step({"b": grads["b"]}, tx.init({"b": grads["b"]}))
    np.testing.assert_array_equal(alone.nu["b"].codes.codes, first.nu["b"].codes.codes)


@pytest.mark.parametrize("make", [funcopt.adamw, funcopt.prodigy], ids=["adamw", "prodigy"])
def test_a_closed_gate_leaves_every_bit(make):
    tx = make(1e-3, storage=FULL) if make is funcopt.adamw else make(storage=FULL)
    _, state = jitted(tx)(arrays(1), tx.init(PARAMS), PARAMS)
    closed = jax.jit(lambda g, s, p: tx.update(g, s, p, gate=jnp.array(False)))
    _, after = closed(arrays(2), state, PARAMS)
    jax.tree.map(np.testing.assert_array_equal, state, after)


@pytest.mark.parametrize("storage", [FULL, FOURS], ids=["8", "4"])
def test_a_part_of_the_codes_is_a_part_of_the_slot(storage):
    """As `shard_map` gives it to a device, of a state that was made outside."""
    tx, shapes = funcopt.adam(0.1, b2=0.5, storage=storage), {"even": (8, 96), "odd": (8, 150)}
    params = arrays(0, shapes)
    whole = tx.init(params)

    def rows(tree, there=slice(2, 4)):
        return jax.tree.map(lambda x: x[there] if x.ndim else x, tree)

    part, step = rows(whole), jitted(tx)
    for seed in range(2):
        grads = arrays(seed, shapes)
        ours, part = step(rows(grads), part, rows(params))
        params, whole = step(grads, whole, params)
        assert jax.tree.structure(part) == jax.tree.structure(whole)
        jax.tree.map(np.testing.assert_array_equal, wide(part.slots), rows(wide(whole.slots)))
        jax.tree.map(np.testing.assert_array_equal, ours, rows(params))
    half = jax.tree.map(lambda x: x[:, : x.shape[1] // 2], whole.mu["odd"])
    with pytest.raises(ValueError, match=r"has 7[45] of the 150 elements .* cuts one of its blo"):
        decoded(half, jnp.float32)


def test_float16_holds_what_is_finite():
    tx, params = funcopt.adam(1e-3, storage={"mu": "float16"}), {"w": jnp.ones(4)}
    state = tx.init(params)
    for grad in (1e9, 1e9, 1.0):
        grads = {"w": jnp.array([grad, -grad, 1.0, 0.0])}
        params, state = jitted(tx)(grads, state, params)
    assert bool(jnp.isfinite(params["w"]).all())
    assert state.mu["w"].dtype == jnp.float16
    held = 0.9 * 65504 + 0.1
    np.testing.assert_allclose(state.mu["w"], np.float16([held, -held, 0.271, 0]), rtol=1e-3)


def test_flax_saves_and_restores_codes():
    tx, other = (funcopt.sgd(0.1, momentum=0.9, storage=x) for x in ("dynamic8", "int8"))
    params = {"w": PARAMS["h/up/kernel"]}
    _, state = tx.update(params, tx.init(params), params)
    restored = flax.serialization.from_bytes(tx.init(params), flax.serialization.to_bytes(state))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)
    for wrong in (other, funcopt.with_storage(funcopt.sgd(0.1, momentum=0.9), "4bit")):
        with pytest.raises(ValueError, match="was made with another storage="):
            flax.serialization.from_bytes(wrong.init(params), flax.serialization.to_bytes(state))
    # Where an array is expected Flax takes whatever there is.
    plain = funcopt.sgd(0.1, momentum=0.9)
    as_it_came = flax.serialization.from_bytes(
        plain.init(params), flax.serialization.to_bytes(state)
    )
    for go_on in (plain.update, lambda *given: funcopt.convert_state(given[1], tx, params)):
        with pytest.raises(ValueError, match=r"dicts of codes, of dynamic8.*with another storage="):
            go_on(params, as_it_came, params)


def test_a_tree_rule_reads_what_it_will_read_again():
    """Its slots are encoded once, and the step is computed from what the codes say."""
    tx = funcopt.momo(1e-2, storage={"mu": Dynamic8(rounding="stochastic")})
    one = {"w": PARAMS["h/up/kernel"]}
    grads = {"w": arrays(1)["h/up/kernel"]}
    updates, state = tx.update(grads, tx.init(one), one, value=1.0)
    mu, step = wide(state.mu)["w"], updates["w"]
    ratio = jnp.where(mu == 0, 0, step / jnp.where(mu == 0, 1, mu))
    seen = np.asarray(ratio[mu != 0])
    np.testing.assert_allclose(seen, np.full_like(seen, np.median(seen)), rtol=1e-5)


def test_compilers_do_not_code_the_zeros_of_init():
    """XLA folds what is known: element by element, minutes for a large matrix."""
    large = {"w": jax.ShapeDtypeStruct((4096, 1024), jnp.float32)}
    text = jax.jit(funcopt.adam(1e-3, storage="8bit").init).lower(large).as_text()
    assert text.count("optimization_barrier") == 2


def test_a_run_goes_on_as_it_would_have():
    tx = funcopt.adamw(1e-3, storage="8bit")
    step, params, state = jitted(tx), PARAMS, tx.init(PARAMS)
    for i in range(2):
        params, state = step(arrays(i), state, params)
    copied = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), (params, state))
    one, other = step(arrays(9), state, params), step(arrays(9), copied[1], copied[0])
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_slow_means_in_arrays_of_bfloat16_move():
    """A signed mean of a gradient that is always 0.7: rounded to the nearest, it stops at 0.2."""
    one = {"w": jnp.full((1, 512), 0.7)}

    def mean(b1, **kept):
        tx = funcopt.scale_by_adam(b1=b1, **kept)
        run = jax.jit(
            lambda s: jax.lax.scan(lambda s, _: (tx.update(one, s)[1], None), s, length=4000)
        )
        mu = run(tx.init(one))[0].mu["w"]
        assert mu.dtype == jnp.bfloat16
        return mu.astype(jnp.float32)

    for kept in ({"storage": "bfloat16"}, {"mu_dtype": "bfloat16"}):
        slow = mean(0.999, **kept)
        assert abs(float(slow.mean()) - 0.7 * (1 - 0.999**4000)) < 0.003
        assert len(np.unique(slow)) > 1
        assert len(np.unique(mean(0.9, **kept))) == 1


# --- what it is for ------------------------------------------------------------------------------


def tracked(codec, decay=0.999, steps=6000, count=2048):
    """√(kept / true) of a mean of squares after the gradients of half of it fell to a tenth."""
    tx = funcopt.scale_by_rms(decay=decay, storage=codec)
    scale = jnp.exp(jax.random.normal(jax.random.key(1), (1, count)))
    key, start = jax.random.key(0), jnp.zeros((1, count))

    @jax.jit
    def run():
        def body(carry, t):
            state, nu = carry
            drop = (jnp.arange(count).reshape(1, count) % 2 == 0) & (t >= steps // 2)
            noise = jax.random.normal(jax.random.fold_in(key, t), (1, count))
            g = scale * noise * jnp.where(drop, 0.1, 1.0)
            _, state = tx.update(g, state)
            return (state, decay * nu + (1 - decay) * g**2), None

        (state, nu), _ = jax.lax.scan(body, (tx.init(start), start), jnp.arange(steps))
        return jnp.sqrt(decoded(state.nu, jnp.float32) / nu)[0, ::2]

    return np.asarray(run())


def test_a_slow_mean_follows_gradients_that_shrink():
    ratios = tracked(Log8())
    assert 0.9 < np.median(ratios) < 1.1
    assert np.quantile(ratios, 0.95) < 1.3
    stuck = tracked(Log8(rounding="nearest"))
    assert np.median(stuck) > 2


def test_no_step_explodes_where_scales_differ_much():
    """Scales of neighbours in one block differ by up to 10⁷: none is divided by nearly zero."""
    random, shape = np.random.default_rng(0), (64, 256)
    scale = 1e-4 * np.exp(2.5 * random.standard_normal(shape))
    grads = jnp.asarray(np.float32(scale * random.standard_t(4, (60, *shape))))

    def largest(storage):
        tx = funcopt.scale_by_adam(storage=storage)

        def body(state, g):
            u, state = tx.update(g, state)
            return state, jnp.abs(u).max()

        return jax.jit(lambda: jax.lax.scan(body, tx.init(grads[0]), grads)[1])().max()

    exact = float(largest(None))
    assert float(largest("8bit")) < 3 * exact
    assert float(largest({"mu": "dynamic8", "nu": Log8(per_octave=20)})) < 3 * exact


def test_adamw_in_two_bytes_per_parameter():
    """GPT-2's block, and its embedding too."""
    shapes = {"wte": (50257, 768), "qkv": (768, 2304), "out": (768, 768), "up": (768, 3072),
              "down": (3072, 768), "bias": (3072,)}  # fmt: skip
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    whole = replace(FULL, min_ndim=2)
    assert funcopt.describe(funcopt.adamw(1e-3, storage=whole), params).bytes_per_parameter < 2.04
    fours = ByKind("dynamic4", "log4", full=None)
    assert funcopt.describe(funcopt.adamw(1e-3, storage=fours), params).bytes_per_parameter < 1.07
