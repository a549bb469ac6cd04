"""What benchmarks.mutants has found: each mistake in an algorithm is found or computes the same."""

from __future__ import annotations

import json
from pathlib import Path

from tests.equivalent_mutants import REASONS, reason
from tests.mutants import digest, mutants, sources

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "mutants.json").read_text())["files"]
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in sources(ROOT)}
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


def test_every_algorithm_was_broken_in_several_ways():
    """In a dozen, or all that there are: none where nothing is computed."""
    assert {name: SOURCES[name] for name in set(SOURCES) - set(RESULTS)} == {}
    for name, found in RESULTS.items():
        assert found["mutants"] == len(found["each"]) >= min(found["made"], 12), name
        if not found["made"]:
            assert mutants(SOURCES[name], name) == []


def test_no_mistake_lives():
    living = [
        f"{file}:{each['line']} {each['what']}"
        for file, found in RESULTS.items()
        for each in found["each"]
        if each["killed_by"] is None and reason(file, each["function"], each["what"]) is None
    ]
    assert living == []


def test_most_results_are_of_the_sources_that_are_there():
    """`benchmarks.mutants --changed` brings them up to date, before they are too many."""
    late = [name for name, found in RESULTS.items() if found["source"] != digest(SOURCES[name])]
    assert len(late) <= len(RESULTS) // 10, late


def test_words_and_format_are_not_looked_at():
    told = 'def f(x):\n    """Told."""\n    return -x\n'
    assert digest(told) == digest("def f(x): return - x") != digest("def f(x): return x")


def test_what_is_excused_is_there():
    for (file, function), reasons in REASONS.items():
        made = [each.what for each in mutants(SOURCES[file], file) if each.function == function]
        for beginning, _ in reasons:
            assert any(what.startswith(beginning) for what in made), (file, function, beginning)
