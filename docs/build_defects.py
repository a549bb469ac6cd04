"""Measure the defect table on funcopt and optax and write it into docs/defects.md.

    python docs/build_defects.py

Takes some minutes. The table stands between `<!-- begin: defects -->` and `<!-- end: defects -->`.
"""

import datetime
import importlib.metadata
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import catalog  # noqa: E402
from tests.defects import (  # noqa: E402
    FUNCOPT,
    LIBRARY_CHECKS,
    OPTAX,
    ROW_CHECKS,
    Factory,
    Finding,
    Library,
    funcopt_rows,
    measure,
    measure_library,
    optax_rows,
)

PAGE = ROOT / "docs" / "defects.md"
REGION = re.compile(r"(<!-- begin: defects -->\n).*?(<!-- end: defects -->)", re.DOTALL)


def findings(library: Library, rows: Iterable[tuple[str, Factory]]) -> list[Finding]:
    found = []
    for name, factory in rows:
        print(f"{library.module.__name__} {name}", flush=True)
        found += measure(library, [(name, factory)])
    return found + measure_library(library)


def count(found: Sequence[Finding]) -> str:
    """`failures of optimizers`, where the check applies to any."""
    failed = [one for one in found if not one.ok]
    return f"{len(failed)} of {len(found)}" if found else ""


def names(found: Sequence[Finding]) -> str:
    """The optimizers that failed, or whatever is shorter to say."""
    failed = [one.row for one in found if not one.ok]
    passed = [one.row for one in found if one.ok]
    if not failed or len(found) == 1:
        return ""
    if not passed:
        return "all"
    if len(passed) < len(failed):
        return f"all but {', '.join(passed)}"
    return ", ".join(failed)


def region(ours: Sequence[Finding], theirs: Sequence[Finding], same: set[str]) -> str:
    version = {name: importlib.metadata.version(name) for name in ("funcopt", "optax", "jax")}
    lines = [
        f"| check | funcopt | optax, the same algorithms | optax, all {len(optax_rows())} "
        "| which of optax's fail |",
        "|---|---|---|---|---|",
    ]
    for check in (*ROW_CHECKS, *LIBRARY_CHECKS):
        here = [one for one in ours if one.check == check]
        there = [one for one in theirs if one.check == check]
        shared = [one for one in there if one.row in same or check in LIBRARY_CHECKS]
        lines.append(
            f"| {check} | {count(here)} | {count(shared)} | {count(there)} | {names(there)} |"
        )
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        "Failures of the optimizers that each check applies to.\n\n"
        + "\n".join(lines)
        + f"\n\nMeasured on {date} with funcopt {version['funcopt']}, optax {version['optax']} and "
        f"jax {version['jax']} on the CPU.\n"
    )


def main() -> None:
    warnings.simplefilter("ignore")  # what optax does with integer parameters warns of float64
    ours = findings(FUNCOPT, funcopt_rows())
    theirs = findings(OPTAX, optax_rows())
    text = region(ours, theirs, {row.algorithm.__name__ for row in catalog.ROWS})
    page, replaced = REGION.subn(lambda m: m[1] + text + m[2], PAGE.read_text())
    if replaced != 1:
        raise SystemExit(f"{PAGE.name} has {replaced} regions named defects; it must have one.")
    PAGE.write_text(page)
    for one in ours:
        if not one.ok:
            print(f"funcopt fails: {one}")


if __name__ == "__main__":
    main()
