"""The checks of tests/defects.py on funcopt's and on optax's optimizers, for the table in docs/.

python -m benchmarks.defects
"""

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Iterable
from pathlib import Path

from tests import defects

OUT = Path(__file__).resolve().parent / "results" / "defects.json"
PACKAGES = ("funcopt", "optax", "jax")


def counts(findings: Iterable[defects.Finding]) -> dict[str, dict]:
    """For each check, to how many optimizers it applies and which of them fail it."""
    checks: dict[str, dict] = {}
    for found in findings:
        check = checks.setdefault(found.check, {"of": 0, "fail": [], "seen": ""})
        check["of"] += 1
        if not found.ok:
            check["fail"].append(found.row)
            check["seen"] = check["seen"] or found.seen
    return checks


def measured(library: defects.Library, rows) -> dict[str, dict]:
    return counts([*defects.measure(library, rows), *defects.measure_library(library)])


def main() -> None:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions | {"python": platform.python_version()},
        "funcopt": measured(defects.FUNCOPT, defects.funcopt_rows()),
        "optax": measured(defects.OPTAX, defects.optax_rows()),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    for check in report["optax"]:
        ours, theirs = (report[name].get(check) for name in ("funcopt", "optax"))
        if ours and theirs:
            failing = (f"{len(each['fail'])} of {each['of']}" for each in (ours, theirs))
            print(f"{check}: {', '.join(failing)}")
    print(f"wrote {OUT.name}")


if __name__ == "__main__":
    main()
