"""funcopt reproduces every frozen trajectory of PyTorch, of authors' programs and of AlgoPerf."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.golden import SOURCES, Frozen, Inputs, load


class Near(NamedTuple):
    """How far funcopt may be from a frozen path.

    Relative to the largest magnitude that each element reaches, or, if `way`, to the longest way
    that one has gone; `rounding` adds that of a parameter to this.
    """

    float64: float = 1e-13
    float32: float = 1.2e-6
    way: bool = False
    rounding: bool = False


# In float32 both programs round, and what estimates a distance amplifies it. AlgoPerf's takes
# 1 - 0.999^t in float32, which is 6e-6 off at the first step. Clips keep some scalars as tensors,
# divide by the norm plus 1e-6 or add 1e-8 to it. SOAP's eigenvectors turn with the last digits,
# those of KL-SOAP with those of a quotient of gradients, too.
# Sophia's adds 1e-15 to curvatures where the paper has a maximum.
# Polar Express takes 21 s³ from 8 s. Inverse roots are of eigenvalues that are small differences.
# How far a factor of Kron is best turned is known to half of the digits.
NEAR = {
    "lion": Near(float64=1e-14),
    "nadamw": Near(float32=3e-5),
    "muon": Near(float32=3e-6),
    "matrix": Near(float32=3e-6),
    "sophia": Near(float64=1e-11),
    "soap": Near(float32=5e-5),
    "kl_soap": Near(float64=2e-12, float32=1e-3),
    "galore": Near(float32=3e-5),
    "splus": Near(float64=5e-13, float32=1e-4),
    "matrix_authors": Near(float32=3e-6),
    "matrix_chains": Near(float32=2e-5, way=True),
    "kron": Near(float64=1e-9, float32=1e-5),
    "shampoo": Near(float64=2e-13, float32=1e-4, way=True),
    "clips": Near(1e-12, 2e-5, way=True),
    "lr_free": Near(1e-12, 1e-4, way=True, rounding=True),
}
# PyTorch's RAdam loses digits where ρ_t is a small difference of large numbers.
SLACK = {"zclip": 1e-5, "adagc": 1e-6, "radam": 1e-12}
FROZEN = [(source, case) for source in SOURCES for case in load(source) if not case.recomputed]


def cases() -> Iterator[Any]:
    """Those in float32 of what is frozen in float64, too, are left to .ci/run.

    The one says that the algorithm is the same, `test_reference.py` how ours rounds.
    """
    wide = {(source, case.name) for source, case in FROZEN if case.dtype == "float64"}
    for source, case in FROZEN:
        implied = case.dtype != "float64" and (source, case.name) in wide
        marks = [pytest.mark.every_row] if implied else []
        yield pytest.param(source, case, id=f"{source}-{case.id}", marks=marks)


def rate_of(case: Frozen) -> Any:
    """The schedule by its name; in float64 its numbers, since schedules are float32."""
    rate = case.kwargs["learning_rate"]
    if isinstance(rate, float):
        return rate
    if case.dtype == "float64":
        return lambda step: jnp.asarray(case.rates)[step]
    return getattr(funcopt, rate["schedule"])(**rate["kwargs"])


def called(factory: str, kwargs: Any, *given: Any) -> Any:
    return getattr(funcopt, factory)(*given, **kwargs)


def transformation_of(case: Frozen) -> Any:
    if case.call:
        return eval(case.call, {**vars(funcopt), "jnp": jnp})
    hyper = {name: x for name, x in case.kwargs.items() if name != "learning_rate"}
    if case.decoupled_weight_decay:
        return funcopt.chain(
            called(f"scale_by_{case.factory}", hyper),
            funcopt.add_decayed_weights(case.decoupled_weight_decay),
            funcopt.descend(rate_of(case)),
        )
    if case.base is not None:
        return called(case.factory, case.kwargs, called(**case.base))
    tx = called(case.factory, hyper, rate_of(case))
    if case.chain_weight_decay:
        tx = funcopt.chain(funcopt.add_decayed_weights(case.chain_weight_decay), tx)
    if case.before:
        tx = funcopt.chain(eval(case.before, {**vars(funcopt), "inf": float("inf")}), tx)
    return tx


def trajectory(case: Frozen) -> dict[str, np.ndarray]:
    tx = transformation_of(case)
    inputs = Inputs(*jax.tree.map(jnp.asarray, astuple(case.inputs)))

    def body(carry, index):
        params, state = carry
        grads = {leaf: inputs.gradient(index, leaf, p) for leaf, p in params.items()}
        value = {} if inputs.target is None else {"value": inputs.loss(params)}
        step = partial(funcopt.step, tx, grads, state, params, **value)
        params, state = step() if case.hessian is None else curved(step, case, inputs, index)
        return (params, state), funcopt.eval_params(tx, state, params) if case.evaluated else params

    @jax.jit
    def loop(params):
        return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(len(case.rates)))[1]

    return jax.tree.map(np.asarray, loop(inputs.p0))


def curved(step: Any, case: Frozen, inputs: Inputs, index: Any) -> Any:
    """A step that is given an estimate of the curvature, where there is one."""
    assert case.hessian is not None
    given = {
        leaf: case.hessian["batch"] * inputs.drawn(index, leaf) ** 2 for leaf in case.inputs.p0
    }
    return jax.lax.cond(
        index % case.hessian["every"] == 0,
        lambda: step(hessian_diagonal=given),
        lambda: step(hessian_diagonal=None),
    )


@cache
def exact(source: str) -> dict[str, Any]:
    return {case.name: case.path for case in load(source) if case.dtype == "float64"}


@pytest.mark.parametrize(("source", "case"), list(cases()))
def test_frozen_trajectory(source, case):
    with jax.enable_x64(case.dtype == "float64"):
        ours = trajectory(case)
    near = NEAR.get(source, Near())
    slack = [slack for name, slack in SLACK.items() if case.name.startswith(name)]
    tolerance = max(near._asdict()[case.dtype], *slack, 0)
    ways = {leaf: np.max(np.abs(x - case.inputs.p0[leaf])) for leaf, x in case.path.items()}
    assert max(ways.values()) > 0, "nothing moved"
    for leaf, theirs in case.path.items():
        assert ours[leaf].dtype == theirs.dtype == case.dtype
        theirs, found = theirs[: case.until], ours[leaf][: case.until]
        scale = ways[leaf] if near.way else np.abs(theirs).max(axis=0)
        rounding = 2 * np.finfo(case.dtype).eps * np.max(np.abs(theirs))
        off = np.abs(found - theirs)
        assert np.all(off <= tolerance * scale + rounding * near.rounding), leaf
        if near.rounding and case.dtype == "float32":  # as near as they are to what both mean
            best = exact(source)[case.name][leaf][: case.until]
            error, error_of_theirs = (np.max(np.abs(x - best)) for x in (found, theirs))
            assert error <= 2 * error_of_theirs + 4 * rounding
