"""What benchmarks.mutants has found: mistakes are found, or compute the same, or stand as open."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from tests.equivalent_mutants import REASONS
from tests.mutants import functions, mutants

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "mutants.json").read_text())["files"]
# Files of which the last run has mistakes that its tests did not find. The tests that were written
# for most of them since have not been run on them.
OPEN = (
    "clips/clip",
    "clips/clip_by_global_norm",
    "clips/clip_by_percentile",
    "clips/clip_by_zscore",
    "optimizers/calmed_gradient",
    "optimizers/orthogonalize",
    "rate_free/dowg",
    "rate_free/polyak_sgd",
    "rate_free/prodigy",
    "transforms/decay_rules",
    "transforms/hutchinson_diagonal",
    "transforms/sam_gradient",
    "transforms/scale_by_trust_ratio",
    "transforms/zero_nans",
)
RULE = """
class Rule:
    b1: float
    b2: float
    eps: float

    def update(self, grad, slots, param, clock):
        mu, nu = slots = clock.renew(slots, mu=ema(slots.mu, grad, self.b1))
        rows, columns = grad.shape
        root = jnp.sqrt(unbiased(nu, self.b2, clock.t)) + self.eps
        return -mu / root, slots


def rule(b1, b2, eps):
    return optimizer(Decay(eps), Rule(b1, b2, eps))
"""
MISTAKES = (
    "return (-mu / root, slots)  →  return (-(-mu / root), slots)",
    "return (-mu / root, slots)  →  return (grad, slots)",
    "-mu  →  mu",
    "-mu / root  →  -mu * root",
    "unbiased(nu, self.b2, clock.t)  →  nu",
    "self.b2  →  self.b1",
    "clock.t  →  clock.t + 1",
    "clock.t  →  clock.t - 1",
    "jnp.sqrt(unbiased(nu, self.b2, clock.t)) + self.eps  →  "
    "jnp.sqrt(unbiased(nu, self.b2, clock.t) + self.eps)",
    "slots.mu  →  grad",
    "optimizer(Decay(eps), Rule(b1, b2, eps))  →  optimizer(Rule(b1, b2, eps), Decay(eps))",
    "optimizer(Decay(eps), Rule(b1, b2, eps))  →  optimizer(Rule(b1, b2, eps))",
    "Rule(b1, b2, eps)  →  Rule(b2, b1, eps)",
    "rows, columns = grad.shape  →  columns, rows = grad.shape",
)


def test_which_mistakes_are_made():
    made = [each.what for each in mutants(RULE, "a.py")]
    assert set(MISTAKES) - set(made) == set()


def test_mistakes_live_in_no_file_that_is_not_open():
    living = [
        f"{file}:{each['line']} {each['what']}"
        for file, found in RESULTS.items()
        if file.removeprefix("funcopt/").removesuffix(".py") not in OPEN
        for each in found["each"]
        if each["killed_by"] is None and not each["equivalent"]
    ]
    assert living == []


def test_what_is_excused_is_there():
    for file, function in REASONS:
        names = [name for name, _ in functions(ast.parse((ROOT / file).read_text()))]
        assert function in names, (file, function)
