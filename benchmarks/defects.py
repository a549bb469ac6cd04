"""The checks of tests/defects.py on funcopt's and on optax's optimizers, for the table in docs/.

    python -m benchmarks.defects

Takes some minutes. `python docs/fill_numbers.py` makes the table of what it writes.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import warnings
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests import catalog, defects

OUT = Path(__file__).resolve().parent / "results" / "defects.json"
PACKAGES = ("funcopt", "optax", "jax")


def outcomes(library: defects.Library, rows: Iterable) -> dict[str, dict[str, list[str]]]:
    """For each check, which optimizers pass it and which fail; it may not apply to some."""
    found = []
    for name, factory in rows:
        print(f"{library.module.__name__} {name}", flush=True)
        found += defects.measure(library, [(name, factory)])
    found += defects.measure_library(library)
    return {
        check: {
            "pass": [one.row for one in found if one.check == check and one.ok],
            "fail": [one.row for one in found if one.check == check and not one.ok],
        }
        for check in dict.fromkeys(one.check for one in found)
    }


def main() -> None:
    warnings.simplefilter("ignore")  # what optax does with integer parameters warns of float64
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions | {"python": platform.python_version()},
        "in_both": sorted({row.algorithm.__name__ for row in catalog.ROWS}),
        "funcopt": outcomes(defects.FUNCOPT, defects.funcopt_rows()),
        "optax": outcomes(defects.OPTAX, defects.optax_rows()),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {OUT.name}")


if __name__ == "__main__":
    main()
