"""Breaks every algorithm in many ways, and shows which test finds each mistake.

    python -m benchmarks.mutants                 every algorithm
    python -m benchmarks.mutants yogi adam       those in funcopt/*/yogi.py and adam.py
    python -m benchmarks.mutants --changed       those whose source is not the one in the results
    python -m benchmarks.mutants --alive         again those mutants that no test found
    python -m benchmarks.mutants --most 24 --more       and those that are not in the results yet
    python -m benchmarks.mutants yogi --rows yogi       which looks through no other rows first
    python -m benchmarks.mutants --most 12       so many mutants of each file, evenly spread

`tests/mutants.py` makes the mutants. The tests are those of the rows, against the references in
NumPy, against frozen trajectories, and the laws; then the file's own doctests and some that name
what it defines. They are collected once, in one process, which imports everything and computes
nothing; mutants are tried in forks of it, in which the function with the mistake is put in the
place of the right one (no file changes), and the tests of what runs through its lines are run, the
quickest first, until one fails. Which rows those are is found out before, by tracing a step of
each. Test files that make arrays when they are imported are collected in the fork, when all others
have passed. A test that fails without the mistake too finds nothing.

Writes `results/mutants.json`. A mutant that no test finds is either listed with its reason in
`tests/equivalent_mutants.py`, because it computes the same, or is a test that is missing.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs of mutants are not worth keeping; those that are kept are read.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "3600"

import pytest

from benchmarks.mutant_tests import (
    ROOT,
    Collected,
    by_row,
    explored,
    late_naming,
    live_functions,
    naming,
    relative,
    tests_in_this_process,
)
from benchmarks.mutant_trials import TOO_LONG, Trial, forked, outcomes
from tests.equivalent_mutants import reason
from tests.mutants import FOLDERS, digest, sources

OUT = ROOT / "benchmarks" / "results" / "mutants.json"
BATCH = 25  # mutants that are tried in one process first


class Run:
    """A plugin of pytest that, in place of running the collected tests, runs them on mutants."""

    def __init__(self, paths: list[Path], given: argparse.Namespace):
        self.paths, self.out, self.most, self.rows = paths, given.out, given.most, given.rows
        self.alive, self.more, self.sound = given.alive, given.more, {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        import jax

        if jax._src.xla_bridge._backends:  # pyright: ignore[reportAttributeAccessIssue]
            raise RuntimeError("JAX has started, so that no fork would live: see makes_arrays.")
        started = time.time()
        rows, cases = by_row(session.items, self.rows)
        watched = {str(path) for path in self.paths}
        told = dict(forked(lambda: explored(cases, watched), TOO_LONG))
        if len(told) < len(cases):
            missing = next(name for name in cases if name not in told)
            raise RuntimeError(f"A step of {missing} cannot be traced.")
        print(f"{len(told)} rows and cases, {time.time() - started:.0f} s", flush=True)
        texts, late, live = naming(session.items), late_naming(), live_functions(watched)
        collected = Collected(session, rows, cases, told, live, texts, late)
        for path in self.paths:
            self.of_file(path, collected)
        return True

    def of_file(self, path: Path, collected: "Collected") -> None:
        name, started = relative(path), time.time()
        trials, before = collected.trials(path), read(self.out).get(name, {})
        made, kept = len(trials), {}
        chosen = [i * made // self.most for i in range(self.most)] if self.most else range(made)
        chosen = set(range(made)) if made <= len(chosen) else set(chosen)
        if (self.alive or self.more) and before.get("source") == digest(path.read_text()):
            known = matched(trials, before["each"])
            for each in known.values():
                if each and not each["killed_by"]:
                    each["equivalent"] = reason(name, *called(each))
            kept = {i: x for i, x in known.items() if x and (x["killed_by"] or x["equivalent"])}
            if self.alive:
                chosen = set(known)
        found = [*kept.values(), *self.tried(name, [trials[i] for i in sorted(chosen - set(kept))])]
        alive = [each for each in found if each["killed_by"] is None]
        equivalent = [each for each in alive if each["equivalent"]]
        result = {
            "source": digest(path.read_text()),
            "made": made,
            "mutants": len(found),
            "killed": len(found) - len(alive),
            "equivalent": len(equivalent),
            "survivors": len(alive) - len(equivalent),
            "seconds": round(time.time() - started + (before["seconds"] if kept else 0), 1),
            "each": sorted(found, key=lambda each: each["line"]),
        }
        write(self.out, {**read(self.out), name: result})
        counts = f"{len(found) - len(alive)} of {len(found)} found, {len(equivalent)} equivalent"
        print(f"{name}: {counts}, {time.time() - started:.0f} s", flush=True)

    def tried(self, name: str, trials: list[Trial]) -> list[dict[str, Any]]:
        """An entry of the results for each of them."""
        entries = []
        for begin in range(0, len(trials), BATCH):
            batch = trials[begin : begin + BATCH]
            for trial, outcome in zip(batch, outcomes(batch, self.sound), strict=True):
                each = trial.mutant
                entry = {
                    "line": each.line,
                    "function": each.function,
                    "what": each.what,
                    "killed_by": outcome.killed_by,
                    "how": outcome.how,
                    "seconds": round(outcome.seconds, 2),
                }
                if outcome.killed_by is None:
                    entry["equivalent"] = reason(name, each.function, each.what)
                    print(f"  {name}:{each.line} {each.function}: {each.what}", flush=True)
                entries.append(entry)
        return entries


def matched(trials: list[Trial], entries: list[dict[str, Any]]) -> dict[int, dict[str, Any] | None]:
    """The entry of each trial that has one, by its place.

    None where several are called the same and some have no entry: which these are is not known.
    """
    places, known = defaultdict(list), defaultdict(list)
    for i, trial in enumerate(trials):
        places[trial.mutant.function, trial.mutant.what].append(i)
    for entry in entries:
        known[called(entry)].append(entry)
    found = {}
    for key, same in known.items():
        clear = len(places[key]) == len(same)
        found |= dict(zip(places[key], same if clear else [None] * len(places[key]), strict=True))
    return found


def called(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["function"], entry["what"]


def files(names: Iterable[str] = ()) -> list[Path]:
    """The sources of algorithms; all of them if there are no names."""
    found = sources(ROOT)
    unknown = set(names) - {path.stem for path in found}
    if unknown:
        raise SystemExit(f"There is no {', '.join(sorted(unknown))} in funcopt/{FOLDERS}.")
    return [path for path in found if not names or path.stem in set(names)]


def read(out: Path) -> dict[str, Any]:
    return json.loads(out.read_text())["files"] if out.exists() else {}


def write(out: Path, results: dict[str, Any]) -> None:
    """JSON with one line for each mutant."""

    def lines(found: dict[str, Any]) -> str:
        head = json.dumps({name: x for name, x in found.items() if name != "each"})[:-1]
        each = ",\n".join(json.dumps(x, ensure_ascii=False) for x in found["each"])
        return f'{head}, "each": [\n{each}\n]}}'

    every = {relative(x) for x in files()}
    kept = sorted(each for each in results if each in every)
    text = ",\n".join(f"{json.dumps(name)}: {lines(results[name])}" for name in kept)
    out.write_text(f'{{"files": {{\n{text}\n}}}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("algorithms", nargs="*", help="names of source files; all if none")
    parser.add_argument("--changed", action="store_true", help="only what has no result yet")
    parser.add_argument("--alive", action="store_true", help="only mutants that no test found")
    parser.add_argument("--more", action="store_true", help="none that some test has found")
    parser.add_argument("--most", type=int, help="of each file, evenly spread; all if not told")
    parser.add_argument("--rows", default="", help="a pattern that their names must have")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    paths, kept = files(given.algorithms), read(given.out)
    if given.changed:
        paths = [
            x for x in paths if kept.get(relative(x), {}).get("source") != digest(x.read_text())
        ]
    if given.alive:
        paths = [x for x in paths if kept.get(relative(x), {}).get("survivors")]
    if paths:
        options = ["-q", "-q", "-n", "0", "-m", "", "-o", "timeout=0", "-p", "no:cacheprovider"]
        os.chdir(ROOT)
        given.out = given.out.resolve()
        run = Run(paths, given)
        code = pytest.main([*options, *tests_in_this_process()], plugins=[run])
        if code != 0:
            raise SystemExit(int(code))
    kept = read(given.out).values()
    total, left = (sum(x[name] for x in kept) for name in ("mutants", "survivors"))
    print(f"{total} mutants, {left} that no test finds and no reason excuses")


if __name__ == "__main__":
    main()
