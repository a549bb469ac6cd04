"""Codecs by themselves: their maps, what they keep, and how they round."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcopt.math.rounding import hash_noise
from funcopt.storage import CODECS, BFloat16, Dynamic4, Dynamic8, Int8, Log4, Log8
from funcopt.storage.blocks import block_size, scale_above

SHAPES = ((), (1,), (5,), (0,), (3, 0), (0, 3), (7, 100), (4, 129), (2, 3, 48), (8, 256))
each_codec = pytest.mark.parametrize("name", list(CODECS))


def numbers(codec, shape, spread=2.0, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * np.exp(spread * random.standard_normal(shape))
    return jnp.asarray(np.float32(x if "signed" in codec.holds else x**2))


@partial(jax.jit, static_argnums=0)
def there_and_back(codec, x, noise=None):
    return codec.decode(codec.encode(x, noise), x.shape, jnp.float32)


def dynamic_map(exponent_bits, bits):
    """bitsandbytes' `create_dynamic_map(signed=True)`, as its authors compute it."""
    entries, fraction = [], bits - 1
    for i in range(exponent_bits):
        ends = np.linspace(0.1, 1, 2 ** (i + fraction - exponent_bits) + 1)
        middles = 10.0 ** (-(exponent_bits - 1) + i) * (ends[:-1] + ends[1:]) / 2
        entries += [*middles, *-middles]
    return np.sort(np.array([*entries, 0.0, 1.0]))


@pytest.mark.parametrize(("codec", "bits"), [(Dynamic8(), (7, 8)), (Dynamic4(), (3, 4))])
def test_the_dynamic_map_is_that_of_bitsandbytes(codec, bits):
    theirs = dynamic_map(*bits)
    assert len(theirs) == 2 ** bits[1]
    codes = jnp.arange(len(theirs))
    ours = np.asarray(codec.value(codes, jnp.ones(len(theirs))))
    np.testing.assert_allclose(ours, theirs, rtol=2e-7, atol=0)
    plain = jnp.zeros(len(theirs), bool)
    np.testing.assert_array_equal(codec.code(jnp.asarray(np.float32(theirs)), None, plain), codes)


@pytest.mark.parametrize(("codec", "bits"), [(Dynamic8(), (7, 8)), (Dynamic4(), (3, 4))])
def test_the_dynamic_code_is_the_nearest(codec, bits):
    theirs, random = dynamic_map(*bits), np.random.default_rng(0)
    sizes = [random.uniform(0, 1, 20_000), 10 ** random.uniform(-8, 0, 20_000)]
    u = np.float32(np.concatenate(sizes) * random.choice([-1, 1], 40_000))
    nearest = np.abs(u[:, None].astype(np.float64) - theirs).argmin(1)
    np.testing.assert_array_equal(
        codec.code(jnp.asarray(u), None, jnp.zeros(u.shape, bool)), nearest
    )


def test_a_block_divides_the_last_axis_where_one_does():
    assert [block_size((9, n), 256) for n in (768, 640, 192, 96, 3072)] == [256, 128, 64, 32, 256]
    assert [block_size(s, 128) for s in ((768,), (100,), (129,), (3, 7), (), (2, 0))] == [
        128, 100, 128, 7, 1, 1,
    ]  # fmt: skip


def test_a_block_that_is_given_is_taken_where_rows_are_as_long():
    codec = Int8(block=48)
    assert [codec.size(s) for s in ((9, 100), (9, 48), (9, 30), (), (2, 0))] == [48, 48, 30, 1, 1]
    x = numbers(codec, (3, 100), spread=0.5)
    assert codec.encode(x).scales.shape == (3, 3)
    far = jnp.repeat(jnp.stack([jnp.abs(x[:, i : i + 48]).max(1) for i in (0, 48, 96)], 1), 48, 1)
    assert float((jnp.abs(there_and_back(codec, x) - x) / far[:, :100]).max()) < ERRORS["int8"]


@each_codec
def test_codes_have_the_shape_of_the_array_and_coding_again_changes_nothing(name):
    codec = CODECS[name]

    @jax.jit
    def coded(xs):
        once = [codec.encode(x) for x in xs]
        back = [codec.decode(each, x.shape, jnp.float32) for each, x in zip(once, xs, strict=True)]
        return once, back, [there_and_back(codec, x) for x in back]

    once, back, again = coded([numbers(codec, shape) for shape in SHAPES])
    jax.tree.map(np.testing.assert_array_equal, back, again)
    for shape, codes, x in zip(SHAPES, once, back, strict=True):
        assert x.shape == shape
        if name == "bfloat16":
            assert (codes.shape, codes.dtype) == (shape, jnp.bfloat16)
            continue
        block = codec.size(shape or (1,))
        count = -(-shape[-1] // block) if shape else 1
        bytes_ = -(-shape[-1] * codec.bits // 8) if shape else 1
        assert codes.codes.shape == ((*shape[:-1], bytes_) if shape else ())
        assert codes.scales.shape == ((*shape[:-1], count) if shape else ())
        assert (codes.codes.dtype, codes.scales.dtype) == (jnp.uint8, jnp.bfloat16)


ERRORS = {"bfloat16": 2**-8, "int8": 0.0081, "dynamic8": 0.0081, "log8": 0.046,
          "dynamic4": 0.13, "log4": 0.27}  # fmt: skip


@each_codec
def test_errors_are_within_half_a_code(name):
    """Relative to the largest of a block; of what is logarithmic, to the element."""
    codec = CODECS[name]
    x = numbers(codec, (16, 256), spread=0.5)
    x = x if "signed" in codec.holds else jnp.maximum(x, 2.0**-7 * x.max())
    y = there_and_back(codec, x)
    unit = jnp.abs(x) if name in ("bfloat16", "log8", "log4") else jnp.abs(x).max()
    assert 0 < float((jnp.abs(y - x) / unit).max()) < ERRORS[name]


@each_codec
def test_codes_do_not_depend_on_the_unit(name):
    codec, encode = CODECS[name], jax.jit(CODECS[name].encode)
    x = numbers(codec, (8, 128), spread=1.0)
    one = encode(x)
    for power in (-100, -60, 60, 100):
        other, unit = encode(x * jnp.float32(2.0**power)), jnp.bfloat16(2.0**power)
        if name == "bfloat16":
            np.testing.assert_array_equal(one * unit, other)
            continue
        np.testing.assert_array_equal(one.codes, other.codes)
        np.testing.assert_array_equal(one.scales * unit, other.scales)
    block, many = x[0] / jnp.abs(x[0]).max(), 2.0**127  # whose reciprocal is not normal
    small = np.asarray(there_and_back(codec, block), np.float64)
    wide = jax.jit(lambda x: there_and_back(codec, x))(block * jnp.float32(many))
    np.testing.assert_allclose(np.asarray(wide, np.float64) / many, small, rtol=1e-6)


@each_codec
def test_zeros_stay_zeros(name):
    codec = CODECS[name]
    zeros = jnp.zeros((4, 64))
    for noise in (None, hash_noise((4, 64), 1, 2)):
        np.testing.assert_array_equal(there_and_back(codec, zeros, noise), zeros)
    x = numbers(codec, (4, 64)).at[1, 3].set(0)
    assert float(there_and_back(codec, x)[1, 3]) == 0


@pytest.mark.parametrize("name", ["log8", "log4", "bfloat16"])
@pytest.mark.parametrize("by_chance", [False, True])
def test_what_is_positive_stays_positive(name, by_chance):
    codec = CODECS[name]
    powers = np.random.default_rng(0).uniform(-125, 126, (64, 128))
    x = jnp.asarray(np.float32(2.0**powers))
    y = there_and_back(codec, x, hash_noise(x.shape, 3, 1) if by_chance else None)
    assert float(y.min()) > 0
    assert bool(jnp.isfinite(y).all())
    tiny = jnp.full((1, 32), np.finfo(np.float32).tiny)
    assert float(there_and_back(codec, tiny).min()) > 0


@each_codec
def test_an_element_that_is_no_number_is_seen(name):
    codec = CODECS[name]
    for wrong in (jnp.nan, jnp.inf):
        x = jnp.abs(numbers(codec, (4, 128))).at[2, 5].set(wrong)
        y = there_and_back(codec, x)
        assert not bool(jnp.isfinite(y[2, 5]))
        assert bool(jnp.isfinite(y[:2]).all())


def test_scales_are_rounded_up():
    x = np.float32(np.exp(np.random.default_rng(0).uniform(-80, 80, 4096)))
    above = np.asarray(scale_above(jnp.asarray(x)).astype(jnp.float32))
    assert (above >= x).all()
    assert (above / x < 1 + 2**-7).all()
    exact = jnp.asarray([0.0, 1.0, 1.5, 2.0**-100])
    np.testing.assert_array_equal(scale_above(exact).astype(jnp.float32), exact)
    assert jnp.isfinite(scale_above(jnp.float32(np.finfo(np.float32).max)))
    assert jnp.isnan(scale_above(jnp.float32(np.nan)))


def test_scales_of_logarithmic_codes_move_no_other_element():
    x = numbers(Log8(), (4, 64), spread=1.0)
    x = jnp.maximum(x, 2.0**-6 * x.max())
    for codec in (Log8(), Log4(per_octave=1)):
        y = there_and_back(codec, x)
        assert not (np.log2(np.asarray(codec.encode(y).scales, np.float32)) % 1).any()
        grown = there_and_back(codec, y.at[:, 0].set(37 * y.max()))
        np.testing.assert_array_equal(grown[:, 1:], y[:, 1:])


def test_a_block_whose_largest_is_negative_is_as_exact_as_its_mirror():
    x = numbers(Dynamic8(), (8, 128))
    for codec in (Dynamic8(), Dynamic4()):
        y = there_and_back(codec, x)
        np.testing.assert_array_equal(there_and_back(codec, -x), -y)
        far = jnp.abs(x).max(-1, keepdims=True)
        assert float(jnp.where(jnp.abs(x) == far, jnp.abs(y - x) / far, 0).max()) < 2**-7


@each_codec
def test_by_chance_the_mean_is_right(name):
    """Within four standard errors, in every block and decade that is reached."""
    codec, draws = CODECS[name], 4096
    rows = numbers(codec, (1, 32), spread=1.0, seed=3)
    low = jnp.abs(rows).max() * (2.0**-10 if name != "log4" else 2.0**-6)
    x = jnp.where(jnp.abs(rows) < low, low, rows)
    many = jnp.broadcast_to(x, (draws, 32))
    y = np.asarray(there_and_back(codec, many, hash_noise(many.shape, 1, 9)), np.float64)
    error, deviation = y.mean(0) - np.asarray(x[0], np.float64), y.std(0)
    assert (np.abs(error) <= 4.5 * deviation / draws**0.5 + 3e-6 * np.abs(x[0])).all()
    assert (deviation[np.asarray(jnp.abs(x[0]) < jnp.abs(x[0]).max())] > 0).any()


@each_codec
def test_order_is_kept(name):
    codec = CODECS[name]
    start = 0 if "signed" not in codec.holds else -1
    x = jnp.linspace(start, 1, 128).reshape(1, 128) ** (1 if start else 3)
    assert bool((jnp.diff(there_and_back(codec, x)) >= 0).all())


def test_bad_arguments_are_told():
    for make, said in (
        (lambda: Int8(block=0), "Int8: block must be None or an integer >= 1, got 0"),
        (lambda: Log8(rounding="up"), "Log8: rounding must be 'auto', 'nearest' or 'stochastic'"),
        (lambda: Log4(per_octave=0), "Log4: per_octave must be a number from 0.14 to 14, got 0"),
        (lambda: Log8(per_octave=np.inf), "per_octave must be a number from 2.54 to 254, got inf"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
    assert hash(Dynamic8(64)) == hash(Dynamic8(64))
    assert Dynamic8() != Int8()
    assert BFloat16("nearest").rounding == "nearest"
