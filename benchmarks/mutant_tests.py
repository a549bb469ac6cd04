"""Which tests `benchmarks.mutants` tries a mutant on, and in which order.

The tests of the rows and frozen cases whose step runs through the broken lines, which is found out
by tracing one step of each; the file's own doctests; some that name what the file defines; laws.
"""

import ast
import functools
import gc
import inspect
import re
import sys
import time
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.mutant_trials import Late, Trial
from tests.mutants import Mutant, mutants, sources

Lines = frozenset[tuple[str, int]]

ROOT = Path(__file__).resolve().parents[1]
FIRST = ("tests/test_reference.py", "tests/test_golden.py")
LAWS = "tests/test_laws.py"
TOLD = "tests/test_told_numbers.py"  # which is of all files
# Tests that start processes, need several devices, or are of other things.
ARRAYS = re.compile(r"jnp\.\w+\(|jax\.random|eqx\.")
ELSEWHERE = r"subprocess|shard_map|\blab\b|funcopt_cli|two_processes"
OTHER = (
    r"defects|docs|examples|lab|mutants|packaging|papers|public_names|reference_golden|resuming|"
    r"schedule"
)
OF_EACH, OF_SOME, OF_LAWS = 20, 2, 1  # rows of which one test, all but laws, and laws are run
USERS = 12  # files that import one, for tests that name what they define to be tried
SHARED = 4  # algorithms that a file may be a part of, for the tests that name these to be tried
NAMING = 60  # tests of no row, which name what the file defines
LATE = 30  # tests of files that are collected in the fork, of which as many are run


class Told(NamedTuple):
    """Of a row or a frozen case: the lines its step runs through, and the seconds of tracing it."""

    lines: Lines
    seconds: float


class Collected(NamedTuple):
    """The tests, by what they are of, and the functions in which mutants are put."""

    session: pytest.Session
    rows: dict[str, list[pytest.Item]]
    cases: dict[str, Any]
    told: dict[str, Told]
    live: dict[tuple[str, str], list[types.FunctionType]]
    texts: list[tuple[str, pytest.Item]]
    late: list[tuple[str, str, str]]

    def trials(self, path: Path) -> list[Trial]:
        """All mutants of a file, with the tests that may find them."""
        names = {
            algorithm(self.cases[x])
            for x, each in self.told.items()
            if any(file == str(path) for file, _ in each.lines)
        }
        names = names if len(names) <= SHARED else set()
        names |= public_names(path) | names_of_users(path)
        own = [item for _, item in self.texts if item.nodeid.startswith(f"{relative(path)}::")]
        others = naming_one_of(names, path.stem, [x for x in self.texts if x[1] not in own])
        others += [x for _, x in self.texts if x.nodeid.startswith(TOLD) and x not in others]
        late = late_naming_one_of(names, path.stem, self.late)
        found = []
        for each in mutants(path.read_text(), str(path)):
            live = self.live.get((each.file, each.function))
            items = choice(each, self.rows, self.told, own + others)
            if live:
                found.append(Trial(each, items, late, live, self.session))
        return found


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


def choice(
    mutant: Mutant, rows: Any, told: dict[str, Told], named: list[pytest.Item]
) -> list[pytest.Item]:
    """The tests of the rows and cases that run through the lines of a mutant, and `named` ones.

    First one of each row, those with the name of the file before others, the quickest first; then
    all of some; and at last, because there are many, the laws of a few.
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
    some_laws = [x for each in list(filter(None, laws))[:OF_LAWS] for x in each]
    return first + others + named + some_laws


def naming(items: list[pytest.Item]) -> list[tuple[str, pytest.Item]]:
    """The tests of no row and the doctests, with what they say."""
    found = []
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            found.append((item.dtest.docstring, item))
        elif isinstance(item, pytest.Function) and subject(item) is None:
            found.append((f"{item.nodeid} {inspect.getsource(item.function)}", item))
    return [(text, item) for text, item in found if not re.search(ELSEWHERE, text)]


def naming_one_of(
    names: set[str], stem: str, texts: list[tuple[str, pytest.Item]]
) -> list[pytest.Item]:
    """Some of the tests that name what a file defines: those whose own name has its name first,
    then those in a file that is called like it, then one of each file, and another.
    """
    pattern = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    found, of_file = [], defaultdict(dict)
    for text, item in texts if names else ():
        if pattern.search(text):
            place, _, test = item.nodeid.partition("::")
            order = of_file[place].setdefault(test.partition("[")[0], len(of_file[place]))
            other = Path(place).stem.removeprefix("test_") not in names
            found.append((stem not in item.nodeid, other, order, len(found), item))
    return [item for *_, item in sorted(found, key=lambda each: each[:4])][:NAMING]


def late_naming() -> list[tuple[str, str, str]]:
    """The file, the name and the source of each test that only a fork may collect."""
    found = []
    for path in test_sources(ROOT):
        if not makes_arrays(path):
            continue
        text = path.read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                parts = [ast.get_source_segment(text, x) for x in (*node.decorator_list, node)]
                source = "\n".join(filter(None, parts))
                if not re.search(ELSEWHERE, source):
                    found.append((relative(path), node.name, source))
    return found


def late_naming_one_of(names: set[str], stem: str, late: list[tuple[str, str, str]]) -> list[Late]:
    """Some of them that name what a file defines, by file; those in a file of its name first."""
    pattern = re.compile(rf"\b({'|'.join(sorted(names))})\b")
    found = defaultdict(list)
    for path, name, source in late if names else ():
        if pattern.search(f"{name} {source}"):
            found[path].append(name)
    paths = sorted(found, key=lambda path: (stem not in path, len(found[path])))
    most = max(1, LATE // max(1, len(paths)))
    return [
        Late(path, tuple(found[path] if stem in path else found[path][:most])) for path in paths
    ]


def public_names(path: Path) -> set[str]:
    """The functions and classes that a file defines for others."""
    return {
        each.name
        for each in ast.parse(path.read_text()).body
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and not each.name.startswith("_")
    }


def names_of_users(path: Path) -> set[str]:
    """What is defined by the files that import this one, if they are few."""
    line = re.compile(rf"^from \.[.\w]*\b{path.stem} import ", re.MULTILINE)
    users = [x for x in sources(ROOT) if line.search(x.read_text())]
    few = users if len(users) <= USERS else []
    return {name for each in few for name in public_names(each)}


def test_sources(ROOT) -> list[Path]:
    """The test files that are of algorithms, or may be."""
    found = sorted((ROOT / "tests").glob("test_*.py"))
    return [x for x in found if not re.search(OTHER, x.name)]


def tests_in_this_process() -> list[str]:
    """The test files, those of the rows first, and the doctests of algorithms."""
    first = [*FIRST, LAWS]
    others = [relative(x) for x in test_sources(ROOT) if not makes_arrays(x)]
    doctests = [relative(x) for x in sources(ROOT)]
    return first + [x for x in others if x not in first] + doctests


def makes_arrays(path: Path) -> bool:
    """Whether a module makes arrays when it is imported, which starts JAX: no fork lives after."""
    body = ast.parse(path.read_text()).body
    outside = [
        ast.unparse(part)
        for node in body
        for part in (getattr(node, "decorator_list", None) or [node])
        if not (isinstance(part, ast.FunctionDef | ast.ClassDef))
    ]
    text = re.sub(r"lambda[^:]*:[^\n]*", "", "\n".join(outside))
    own = [node for node in body if isinstance(node, ast.FunctionDef)]
    makers = [each.name for each in own if ARRAYS.search(ast.unparse(each.body))]
    called = rf"\b(?:{'|'.join(makers)})\(" if makers else r"(?!)"
    return ARRAYS.search(text) is not None or re.search(called, text) is not None


def live_functions(watched: set[str]) -> dict[tuple[str, str], list[types.FunctionType]]:
    """The functions of these files, by file and qualified name."""
    found = defaultdict(list)
    gc.unfreeze()  # the tests freeze what they have imported, which is then not told
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename in watched:
            found[each.__code__.co_filename, each.__code__.co_qualname].append(each)
    return dict(found)


def relative(path: str | Path) -> str:
    return str(Path(path).relative_to(ROOT))
