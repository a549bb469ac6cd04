"""The NumPy references against optax in float64, where the two mean the same thing.

Where they do not, the last tests check the reason that docs/differences.md gives.
"""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

from tests import reference
from tests.catalog import ROWS, Row, each
from tests.golden import inputs

pytestmark = pytest.mark.default_promotion

RATE = 0.05
RATES = 0.05 * 0.9 ** np.arange(25)
# optax raises its betas to int32 powers and divides by roots; the references take NumPy's.
TOLERANCE = 2e-13


def along_optax(tx, grads, p0):
    """Parameters after each step, in double precision."""
    with jax.enable_x64(True):
        params = jax.numpy.asarray(p0)
        state = tx.init(params)
        path = []
        for g in grads:
            updates, state = tx.update(jax.numpy.asarray(g), state, params)
            params = optax.apply_updates(params, updates)
            path.append(np.asarray(params))
    return np.stack(path)


def schedule(rates):
    """The rates in float64, which `optax.exponential_decay` would give in float32."""
    return lambda step: jax.numpy.asarray(rates)[step]


def along_reference(step, grads, p0, lr=RATE, **hyper):
    return np.stack(reference.trajectory(step, p0, grads, lr, **hyper)[0])


def deviation(ours, theirs):
    """Largest difference of an element, relative to the largest magnitude on its path."""
    scale = np.abs(theirs).max(axis=0)
    return float(np.max(np.abs(ours - theirs) / np.where(scale > 0, scale, 1)))


def real():
    given = inputs("gradients", "float64")
    return given.grads["matrix"], given.p0["matrix"]


def complex_valued():
    given = inputs("gradients", "float64")
    grads, p0 = given.grads["matrix"], given.p0["matrix"]
    return grads + 1j * grads[::-1, :, ::-1], p0 + 1j * p0[::-1]


@each(
    ROWS,
    where=lambda row: (
        row.optax
        and row.acts_on == "element"
        and not row.looks_back
        and not row.wraps
        and (not row.optax_differs or row.optax_differs.startswith("for complex"))
    ),
)
def test_same_as_optax(row):
    """With the arguments of its row, under a schedule. Complex paths are compared elsewhere."""
    grads, p0 = real()
    rates = row.rate / RATE * RATES
    ours = along_reference(row.reference, grads, p0, lambda step: rates[step], **row.transcribed())
    theirs = along_optax(row.optax(schedule(rates), **row.theirs()), grads, p0)
    assert np.ptp(theirs, axis=0).max() > 0, "nothing moved"
    told = row.optax_float64 if row.optax_float64 > Row.optax_float64 else 0
    assert deviation(ours, theirs) <= max(TOLERANCE, told)


def test_amsgrad_of_the_paper_is_optax_without_corrections():
    grads, p0 = real()
    hyper = {"b1": 0.7, "b2": 0.6}
    ours = along_reference(reference.amsgrad, grads, p0, variant="paper", **hyper)
    off = {"bias_correction_mu": False, "bias_correction_nu": False}
    theirs = along_optax(optax.amsgrad(RATE, **hyper, **off), grads, p0)
    assert deviation(ours, theirs) <= TOLERANCE
    default = along_optax(optax.amsgrad(RATE, **hyper), grads, p0)
    assert deviation(ours, default) > 1e-3


def test_adam_without_corrections_is_a_chain_of_averages():
    grads, p0 = real()
    ours = along_reference(reference.adam, grads, p0, bias_correction=False)
    theirs = p0.copy()
    weights = 0.1 * 0.9 ** np.arange(len(grads))
    squares = 0.001 * 0.999 ** np.arange(len(grads))
    for index in range(len(grads)):
        past = grads[index::-1]
        m = np.tensordot(weights[: index + 1], past, 1)
        v = np.tensordot(squares[: index + 1], past**2, 1)
        theirs = theirs - RATE * m / (np.sqrt(v) + 1e-8)
    assert deviation(ours[-1:], theirs[None]) <= TOLERANCE


def test_nadam_dozat_is_adam_with_nesterov():
    grads, p0 = real()
    adam = along_reference(reference.adam, grads, p0, nesterov=True, b1=0.7)
    assert deviation(along_reference(reference.nadam, grads, p0, b1=0.7), adam) <= TOLERANCE


def test_difference_rmsprop_keeps_the_rate_out_of_the_momentum():
    grads, p0 = real()
    theirs = along_optax(optax.rmsprop(schedule(RATES), momentum=0.9), grads, p0)
    ours = along_reference(reference.rmsprop, grads, p0, lr=lambda step: RATES[step], momentum=0.9)
    assert deviation(ours, theirs) > 1e-3
    directions = -np.diff(
        np.concatenate([p0[None], along_reference(reference.rmsprop, grads, p0, lr=1.0)]), axis=0
    )
    buffer, p, inside = np.zeros_like(p0), p0, []
    for rate, u in zip(RATES, directions, strict=True):
        buffer = 0.9 * buffer + rate * u
        p = p - buffer
        inside.append(p)
    assert deviation(np.stack(inside), theirs) <= TOLERANCE


def test_difference_adabelief_adds_eps_at_every_step():
    """Read as Adam's `eps_root`, which is added to the corrected mean, eps is another floor."""
    grads, p0 = real()
    hyper = {"b1": 0.7, "b2": 0.9, "eps": 0.0}
    every = along_reference(reference.adabelief, grads, p0, eps_root=1e-2, **hyper)
    theirs = along_optax(optax.adabelief(RATE, eps_root=1e-2, **hyper), grads, p0)
    assert deviation(every, theirs) <= TOLERANCE
    m, s, p, once = np.zeros_like(p0), np.zeros_like(p0), p0, []
    for t, g in enumerate(grads, 1):
        m = 0.7 * m + 0.3 * g
        s = 0.9 * s + 0.1 * (g - m) ** 2
        p = p - RATE * m / (1 - 0.7**t) / np.sqrt(s / (1 - 0.9**t) + 1e-2)
        once.append(p)
    assert deviation(np.stack(once), theirs) > 1e-3


def test_difference_rprop_of_optax_is_one_step_late():
    """Where no sign changes, its step t is the step t − 1 of the paper; its first is 0."""
    grads, p0 = np.full((5, 2), 3.0), np.zeros(2)
    ours = along_reference(reference.rprop, grads, p0)
    theirs = along_optax(optax.rprop(RATE), grads, p0)
    assert np.all(theirs[0] == 0)
    np.testing.assert_allclose(theirs[1:], ours[:-1], rtol=1e-12)
    grads, p0 = real()
    assert (
        deviation(
            along_reference(reference.rprop, grads, p0), along_optax(optax.rprop(RATE), grads, p0)
        )
        > 0.1
    )


def test_difference_amsgrad_of_optax_without_nu_correction_is_not_pytorch():
    grads, p0 = real()
    hyper = {"b1": 0.7, "b2": 0.6}
    ours = along_reference(reference.amsgrad, grads, p0, variant="pytorch", **hyper)
    theirs = along_optax(optax.amsgrad(RATE, **hyper, bias_correction_nu=False), grads, p0)
    assert deviation(ours, theirs) > 1e-3


def test_difference_adadelta_of_optax_squares_complex_numbers():
    grads, p0 = complex_valued()
    theirs = along_optax(optax.adadelta(RATE), grads, p0)
    assert deviation(along_reference(reference.adadelta, grads, p0), theirs) > 1e-3


def test_difference_adadelta_of_optax_ascends_without_a_rate():
    grads, p0 = real()
    ours = along_reference(reference.adadelta, -grads, p0, lr=1.0)
    assert deviation(ours, along_optax(optax.adadelta(), grads, p0)) <= TOLERANCE
