"""Clips and what stands before an optimizer: against papers, authors' code, and bad inputs."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.golden import HERE, load

GOLDEN = {
    row["key"]: row["funcopt"] for row in json.loads((HERE / "clips.json").read_text())["cases"]
}
# Programs keep some scalars as tensors, divide by the norm plus 1e-6 or add 1e-8 to it.
NEAR = {"float64": 1e-12, "float32": 2e-5}
SLACK = {"zclip": 1e-5, "adagc": 1e-6}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in load("clips")])
def test_is_its_authors(case):
    call = GOLDEN[case.id]
    with jax.enable_x64(case.dtype == "float64"):
        tx = getattr(funcopt, case.factory)(**case.kwargs)
        if "before" in call:
            names = {**vars(funcopt), "inf": float("inf")}
            tx = funcopt.chain(eval(f"{call['before']}", names), tx)
        params = {leaf: jnp.asarray(p) for leaf, p in case.inputs.p0.items()}
        gradient = jax.tree.map(jnp.asarray, case.inputs.grads or case.inputs.diagonal)
        target = jax.tree.map(jnp.asarray, case.inputs.target)

        @jax.jit
        def path(params):
            def body(carry, index):
                params, state = carry
                if case.inputs.grads is None:
                    grads = jax.tree.map(lambda d, p, t: d * (p - t), gradient, params, target)
                else:
                    grads = jax.tree.map(lambda g: g[index], gradient)
                params, state = funcopt.step(tx, grads, state, params)
                return (params, state), params

            return jax.lax.scan(body, (params, tx.init(params)), jnp.arange(len(case.rates)))[1]

        ours = jax.tree.map(np.asarray, path(params))
    near = max(NEAR[case.dtype], SLACK.get(case.name.split("-")[0], 0))
    for leaf, theirs in case.path.items():
        theirs = theirs[: call.get("until")]
        way = np.max(np.abs(theirs - case.inputs.p0[leaf]))
        assert ours[leaf].dtype == case.dtype
        assert way > 0, "nothing moved"
        off = np.max(np.abs(ours[leaf][: len(theirs)] - theirs)) / way
        assert off <= near, leaf
