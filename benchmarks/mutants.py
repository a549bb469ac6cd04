"""Breaks every algorithm in many ways, and shows which test finds each mistake.

    python -m benchmarks.mutants                 every algorithm
    python -m benchmarks.mutants yogi adam       those in funcopt/*/yogi.py and adam.py
    python -m benchmarks.mutants --changed       those whose source is not the one in the results
    python -m benchmarks.mutants yogi --rows yogi       which looks through no other rows first
    python -m benchmarks.mutants --most 12       so many mutants of each file, evenly spread

`tests/mutants.py` makes the mutants. The tests are those of the rows, against the references in
NumPy, against frozen trajectories, and the laws; then some that name what the file defines. They
are collected once, in one process, which imports everything and computes nothing; mutants are tried
in forks of it, in which the function with the mistake is put in the place of the right one (no file
changes), and the tests of what runs through its lines are run, the quickest first, until one fails.
Which rows those are is found out before, by tracing a step of each.

Writes `results/mutants.json`. A mutant that no test finds is either listed with its reason in
`tests/equivalent_mutants.py`, because it computes the same, or is a test that is missing.
"""

import argparse
import ast
import functools
import gc
import hashlib
import inspect
import json
import os
import pickle
import re
import signal
import sys
import time
import types
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Programs of mutants are not worth keeping; those that are kept are read.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "3600"

import pytest
from _pytest.runner import runtestprotocol

from tests.equivalent_mutants import reason
from tests.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "benchmarks" / "results" / "mutants.json"
FOLDERS = ("optimizers", "rate_free", "transforms", "clips", "averaging")
FIRST = ("tests/test_reference.py", "tests/test_golden.py")
LAWS = "tests/test_laws.py"
# Tests that start processes, need several devices, or are of other things.
ELSEWHERE = r"subprocess|shard_map|funcopt\.lab|funcopt_cli|two_processes|jaxtyping"
OTHER = r"defects|docs|examples|public_names|reference_golden|resuming|schedule"
TOO_LONG = 90  # seconds for one test: a mistake may be a loop without an end
OF_EACH, OF_SOME, OF_LAWS = 20, 2, 1  # rows of which one test, all but laws, and laws are run
SHARED = 4  # algorithms that a file may be a part of, for the tests that name these to be tried
NAMING = 40  # tests of no row, which name what the file defines
BATCH = 25  # mutants that are tried in one process first

Lines = frozenset[tuple[str, int]]


class Told(NamedTuple):
    """Of a row or a frozen case: the lines its step runs through, and the seconds of tracing it."""

    lines: Lines
    seconds: float


def files(names: Iterable[str]) -> list[Path]:
    """The sources of algorithms; all of them if there are no names."""
    found = [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / "funcopt" / folder).glob("*.py"))
        if path.name != "__init__.py"
    ]
    unknown = set(names) - {path.stem for path in found}
    if unknown:
        raise SystemExit(f"There is no {', '.join(sorted(unknown))} in funcopt/{FOLDERS}.")
    return [path for path in found if not names or path.stem in set(names)]


def relative(path: str | Path) -> str:
    return str(Path(path).relative_to(ROOT))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


# --- in forks ------------------------------------------------------------------------------------


def forked(work: Callable[[], Iterable[Any]], seconds: float) -> Iterator[Any]:
    """What `work` yields in a fork of this process, as long as it lives."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX has started no threads yet
        child = os.fork()
    if child == 0:
        os.close(read)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            with os.fdopen(write, "wb") as pipe:
                signal.alarm(int(seconds))
                for answer in work():
                    pickle.dump(answer, pipe)
                    pipe.flush()
                    signal.alarm(int(seconds))
        finally:
            os._exit(0)
    os.close(write)

    def answers() -> Iterator[Any]:
        with os.fdopen(read, "rb") as pipe:
            while True:
                try:
                    yield pickle.load(pipe)
                except EOFError:
                    break
        os.waitpid(child, 0)

    return answers()


def failure(item: pytest.Item) -> str | None:
    """How a test fails, in a line; None if it passes."""
    for report in runtestprotocol(item, log=False, nextitem=None):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return crash.message.splitlines()[0][:120] if crash else "error"
    return None


def explored(cases: dict[str, Any], watched: set[str]) -> Iterator[tuple[str, Told]]:
    """Traces one step of each row, or frozen case, and notes the lines that this runs through."""
    import jax

    import funcopt
    from tests.row import Row
    from tests.test_golden import transformation_of
    from tests.test_reference import COMPLEX, leaves_for

    for name, case in cases.items():
        seen: set[tuple[str, int]] = set()

        def line(frame: Any, event: str, _: Any, seen: Any = seen) -> Any:
            if event == "line":
                seen.add((frame.f_code.co_filename, frame.f_lineno))
            return line

        def call(frame: Any, event: str, _: Any, line: Any = line) -> Any:
            return line if frame.f_code.co_filename in watched else None

        def once(tx: Any, params: Any) -> Any:
            state = tx.init(params)
            extra = {"value": 1.0, "hessian_diagonal": 1.0}
            params, state = funcopt.step(tx, params, state, params, **extra)
            return funcopt.eval_params(tx, state, params)

        jax.clear_caches()
        start = time.perf_counter()
        sys.settrace(call)
        try:
            with jax.enable_x64(True):
                is_row = isinstance(case, Row)
                tx = case.descending() if is_row else transformation_of(case)
                params = leaves_for(case).astype("float64").p0 if is_row else case.inputs.p0
                jax.eval_shape(functools.partial(once, tx), dict(params))
                if is_row and case.complex and case.rate is not None:
                    params = COMPLEX.only("matrix").astype("complex128").p0
                    with jax.numpy_dtype_promotion("standard"):
                        jax.eval_shape(functools.partial(once, tx), dict(params))
        finally:
            sys.settrace(None)
        yield name, Told(frozenset(seen), time.perf_counter() - start)


class Trial(NamedTuple):
    """A mutant, the tests that it is to be tried on, and the functions that it is put in."""

    mutant: Mutant
    items: list[pytest.Item]
    functions: list[types.FunctionType]


class Outcome(NamedTuple):
    """The test that fails, if one does, and how; and the seconds until then."""

    killed_by: str | None
    how: str | None
    seconds: float


def quickly(trials: list[Trial]) -> Iterator[Outcome]:
    """The first test of each of several mutants, one after the other in this process.

    At last the right code must pass, so that no mutant was taken for another.
    """
    import jax

    for trial in trials:
        start = time.perf_counter()
        right = trial.functions[0].__code__
        for each in trial.functions:
            each.__code__ = trial.mutant.code
        jax.clear_caches()
        how = failure(trial.items[0])
        for each in trial.functions:
            each.__code__ = right
        by = trial.items[0].nodeid if how else None
        yield Outcome(by, how, time.perf_counter() - start)
    jax.clear_caches()
    yield failure(trials[0].items[0])


def thoroughly(trial: Trial) -> Iterator[Outcome | None]:
    """All tests of one mutant, until one fails; None for each that does not."""
    start = time.perf_counter()
    for each in trial.functions:
        each.__code__ = trial.mutant.code
    for item in trial.items:
        how = failure(item)
        if how is not None:
            yield Outcome(item.nodeid, how, time.perf_counter() - start)
            return
        yield None
    yield Outcome(None, None, time.perf_counter() - start)


def outcomes(trials: list[Trial]) -> list[Outcome]:
    """What becomes of mutants."""
    first: list[Any] = list(forked(lambda: quickly(trials), TOO_LONG))
    sound = len(first) == len(trials) + 1 and first[-1] is None
    found = []
    for i, trial in enumerate(trials):
        if sound and first[i].killed_by:
            found.append(first[i])
            continue
        answer = list(forked(lambda trial=trial: thoroughly(trial), TOO_LONG))
        late = trial.items[min(len(answer), len(trial.items) - 1)].nodeid
        done = answer and answer[-1]
        found.append(done or Outcome(late, "it does not end", TOO_LONG))
    return found


# --- the run -------------------------------------------------------------------------------------


class Run:
    """A plugin of pytest that, in place of running the collected tests, runs them on mutants."""

    def __init__(self, paths: list[Path], out: Path, most: int | None, rows: str):
        self.paths, self.out, self.most, self.rows = paths, out, most, rows

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        import jax

        if jax._src.xla_bridge._backends:  # pyright: ignore[reportAttributeAccessIssue]
            raise RuntimeError("JAX has started, so that no fork would live: see makes_arrays.")
        started = time.time()
        rows, cases = by_row(session.items, self.rows)
        texts = naming(session.items)
        watched = {str(path) for path in self.paths}
        told = dict(forked(lambda: explored(cases, watched), TOO_LONG))
        if len(told) < len(cases):
            missing = next(name for name in cases if name not in told)
            raise RuntimeError(f"A step of {missing} cannot be traced.")
        print(f"{len(told)} rows and cases, {time.time() - started:.0f} s", flush=True)
        functions = live_functions(watched)
        for path in self.paths:
            self.of_file(path, rows, cases, told, functions, texts)
        return True

    def of_file(
        self,
        path: Path,
        rows: dict[str, list[pytest.Item]],
        cases: dict[str, Any],
        told: dict[str, Told],
        functions: Any,
        texts: list[tuple[str, pytest.Item]],
    ) -> None:
        name, started = relative(path), time.time()
        names = {
            algorithm(cases[x])
            for x, each in told.items()
            if any(file == str(path) for file, _ in each.lines)
        }
        names = public_names(path) | (names if len(names) <= SHARED else set())
        trials, others = [], naming_one_of(names, path.stem, texts)
        for each in mutants(path.read_text(), str(path)):
            live = functions.get((each.file, each.function))
            items = choice(each, rows, told) + others
            if items and live:
                trials.append(Trial(each, items, live))
        made, most = len(trials), self.most or len(trials)
        if made > most:
            trials = [trials[i * made // most] for i in range(most)]
        found = []
        for begin in range(0, len(trials), BATCH):
            batch = trials[begin : begin + BATCH]
            for (each, _, _), (killed_by, how, seconds) in zip(batch, outcomes(batch), strict=True):
                entry = {
                    "line": each.line,
                    "function": each.function,
                    "what": each.what,
                    "killed_by": killed_by,
                    "how": how,
                    "seconds": round(seconds, 2),
                }
                if killed_by is None:
                    entry["equivalent"] = reason(name, each.function, each.what)
                    print(f"  {name}:{each.line} {each.function}: {each.what}", flush=True)
                found.append(entry)
        if not found:
            return
        alive = [each for each in found if each["killed_by"] is None]
        equivalent = [each for each in alive if each["equivalent"]]
        result = {
            "source": digest(path),
            "made": made,
            "mutants": len(found),
            "killed": len(found) - len(alive),
            "equivalent": len(equivalent),
            "survivors": len(alive) - len(equivalent),
            "seconds": round(time.time() - started, 1),
            "each": found,
        }
        write(self.out, {**read(self.out), name: result})
        counts = f"{len(found) - len(alive)} of {len(found)} found, {len(equivalent)} equivalent"
        print(f"{name}: {counts}, {time.time() - started:.0f} s", flush=True)


def is_law(item: pytest.Item) -> bool:
    return item.nodeid.startswith(LAWS)


def algorithm(case: Any) -> str:
    """The factory of a row or of a frozen case."""
    factory = case.factory
    return factory if isinstance(factory, str) else case.algorithm.__name__


def subject(item: pytest.Item) -> tuple[str, Any] | None:
    """The row, or the frozen case in float64, that a test is of, with its name."""
    from tests.golden import Frozen
    from tests.row import Row

    given = item.callspec.params if hasattr(item, "callspec") else {}
    row, case = given.get("row"), given.get("case")
    if isinstance(row, Row):
        return row.name, row
    if isinstance(case, Frozen) and case.dtype == "float64" and "source" in given:
        return f"{given['source']}-{case.id}", case
    return None


def by_row(
    items: list[pytest.Item], names: str = ""
) -> tuple[dict[str, list[pytest.Item]], dict[str, Any]]:
    """Tests by the row or the frozen case that they are of, and these.

    Of those that `names` is found in. A row that has no reference has laws only, and is left out.
    """
    tests, cases = defaultdict(list), {}
    for item in items:
        found = subject(item)
        if found is None or (found[0] not in cases and not item.nodeid.startswith(FIRST)):
            continue
        name, case = found
        if not re.search(names, name):
            continue
        tests[name].append(item)
        cases[name] = case
    return tests, cases


def choice(mutant: Mutant, rows: Any, told: dict[str, Told]) -> list[pytest.Item]:
    """The tests of the rows and cases that run through the lines of a mutant.

    First one of each, those with the name of the file before others, the quickest first; then all
    of some, and the laws of a few.
    """
    lines = {(mutant.file, each) for each in range(mutant.line, mutant.last + 1)}
    through = [name for name, each in told.items() if lines & each.lines]
    stem = Path(mutant.file).stem
    through.sort(key=lambda name: (stem not in name, told[name].seconds))
    items = [rows[name] for name in through]
    own = sum(stem in name for name in through)
    first = [each[0] for each in items[: own + OF_EACH]]
    others = [x for each in items[:OF_SOME] for x in each[1:] if not is_law(x)]
    laws = [[x for x in each if is_law(x)] for each in items]
    return first + others + [x for each in list(filter(None, laws))[:OF_LAWS] for x in each]


def naming(items: list[pytest.Item]) -> list[tuple[str, pytest.Item]]:
    """The tests of no row, with what they say."""
    return [
        (f"{item.nodeid} {inspect.getsource(item.function)}", item)
        for item in items
        if isinstance(item, pytest.Function) and subject(item) is None
    ]


def naming_one_of(
    names: set[str], stem: str, texts: list[tuple[str, pytest.Item]]
) -> list[pytest.Item]:
    """Some of the tests that name what a file defines: those in a file of its name first, then one
    of each file, and another.
    """
    pattern = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    found, of_file = [], defaultdict(int)
    for text, item in texts if names else ():
        if pattern.search(text):
            place = item.nodeid.split("::")[0]
            of_file[place] += 1
            found.append((stem not in place, of_file[place], len(found), item))
    return [item for *_, item in sorted(found, key=lambda each: each[:3])][:NAMING]


def public_names(path: Path) -> set[str]:
    """The functions and classes that a file defines for others."""
    return {
        each.name
        for each in ast.parse(path.read_text()).body
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and not each.name.startswith("_")
    }


def tests_in_this_process() -> list[str]:
    """The test files, those of the rows first."""
    found = sorted((ROOT / "tests").glob("test_*.py"))
    found = [x for x in found if not re.search(OTHER, x.name)]
    found = [x for x in found if not re.search(ELSEWHERE, x.read_text())]
    first = [*FIRST, LAWS]
    return first + [relative(x) for x in found if relative(x) not in first and not makes_arrays(x)]


def makes_arrays(path: Path) -> bool:
    """Whether a module makes arrays when it is imported, which starts JAX: no fork lives after."""
    outside = [
        ast.unparse(part)
        for node in ast.parse(path.read_text()).body
        for part in (getattr(node, "decorator_list", None) or [node])
        if not (isinstance(part, ast.FunctionDef | ast.ClassDef))
    ]
    text = re.sub(r"lambda[^:]*:[^\n]*", "", "\n".join(outside))
    return re.search(r"jnp\.\w+\(|jax\.random|eqx\.", text) is not None


def live_functions(watched: set[str]) -> dict[tuple[str, str], list[types.FunctionType]]:
    """The functions of these files, by file and qualified name."""
    found = defaultdict(list)
    gc.unfreeze()  # the tests freeze what they have imported, which is then not told
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename in watched:
            found[each.__code__.co_filename, each.__code__.co_qualname].append(each)
    return dict(found)


def read(out: Path) -> dict[str, Any]:
    return json.loads(out.read_text())["files"] if out.exists() else {}


def write(out: Path, results: dict[str, Any]) -> None:
    """JSON with one line for each mutant."""

    def lines(found: dict[str, Any]) -> str:
        head = json.dumps({name: x for name, x in found.items() if name != "each"})[:-1]
        each = ",\n".join(json.dumps(x, ensure_ascii=False) for x in found["each"])
        return f'{head}, "each": [\n{each}\n]}}'

    every = {relative(x) for x in files([])}
    kept = sorted(each for each in results if each in every)
    text = ",\n".join(f"{json.dumps(name)}: {lines(results[name])}" for name in kept)
    out.write_text(f'{{"files": {{\n{text}\n}}}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("algorithms", nargs="*", help="names of source files; all if none")
    parser.add_argument("--changed", action="store_true", help="only what has no result yet")
    parser.add_argument("--most", type=int, help="of each file, evenly spread; all if not told")
    parser.add_argument("--rows", default="", help="a pattern that their names must have")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    paths, kept = files(given.algorithms), read(given.out)
    if given.changed:
        paths = [x for x in paths if kept.get(relative(x), {}).get("source") != digest(x)]
    if paths:
        options = ["-q", "-q", "-n", "0", "-m", "", "-o", "timeout=0", "-p", "no:cacheprovider"]
        os.chdir(ROOT)
        run = Run(paths, given.out.resolve(), given.most, given.rows)
        code = pytest.main([*options, *tests_in_this_process()], plugins=[run])
        if code != 0:
            raise SystemExit(int(code))
    kept = read(given.out).values()
    total, left = (sum(x[name] for x in kept) for name in ("mutants", "survivors"))
    print(f"{total} mutants, {left} that no test finds and no reason excuses")


if __name__ == "__main__":
    main()
