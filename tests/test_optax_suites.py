"""optax's own tests, which come with it, run on `funcopt.optax` in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import optax
import pytest

pytestmark = pytest.mark.every_row

HERE = Path(optax.__file__).parent
SUITES = (
    "_src/combine",
    "_src/factorized",
    "_src/float64",
    "_src/lookahead",
    "_src/sharding",
    "_src/transform",
    "_src/update",
    "contrib/_sam",
    "contrib/_schedule_free",
    "schedules/_inject",
    "schedules/_join",
    "schedules/_schedule",
    "transforms/_accumulation",
    "transforms/_adding",
    "transforms/_clipping",
    "transforms/_combining",
    "transforms/_conditionality",
    "transforms/_constraining",
    "transforms/_freezing",
    "transforms/_layouts",
    "transforms/_masking",
)
DIFFERENT = {
    "test_explicit_dtype3": "z of parameters in bfloat16 is kept in float32",
    "test_zero_nans": "compares the state with one that has no counts",
    "test_clip_by_block_rms": "compares to seven places; the last bit of a float32 is otherwise",
    "test_mask_compatible_callable_pytree": "tests a private function",
    "test_zero_peak_value": "optax's forgets its end_value where the peak is 0",
    "test_bad_structure_raises": "expects words of another JAX; fails with optax as well",
    "test_selective_bad_structure": "expects words of another JAX; fails with optax as well",
}
PARTS = {
    "_src": "funcopt.optax",
    "contrib": "funcopt.optax.contrib",
    "schedules": "funcopt.optax.schedules",
    "transforms": "funcopt.optax.transforms",
}
# Modules of optax that these tests look into for more than what users call.
THEIRS = ("base", "linesearch", "lookahead", "numerics", "test_utils", "utils")


def on_funcopt(text: str) -> str:
    """A test's source with its imports of optax's modules replaced."""

    def module(found: re.Match) -> str:
        package, name, alias = found[1] or "", found[2], found[3]
        if name in THEIRS or name.endswith("_test"):
            return found[0]
        if not package:
            return f"from funcopt.optax import {name}"
        place = PARTS.get(package[1:], "funcopt.optax")
        return f"import {place} as {alias or name}"

    text = re.sub(r"^from optax(\.\w+)? import (\w+)(?: as (\w+))?$", module, text, flags=re.M)
    return re.sub(r"^import optax$", "import funcopt.optax as optax", text, flags=re.M)


def test_imports_are_replaced():
    text = "import optax\nfrom optax._src import alias\nfrom optax._src import base\n"
    text += "from optax.transforms import _masking\nfrom optax import contrib\n"
    assert on_funcopt(text).splitlines() == [
        "import funcopt.optax as optax",
        "import funcopt.optax as alias",
        "from optax._src import base",
        "import funcopt.optax.transforms as _masking",
        "from funcopt.optax import contrib",
    ]


@pytest.mark.parametrize("suite", SUITES)
def test_optaxs_own_tests_pass(suite, tmp_path):
    copy = tmp_path / f"test_{suite.replace('/', '')}.py"
    copy.write_text(on_funcopt((HERE / f"{suite}_test.py").read_text()))
    but = " and ".join(f"not {name}" for name in DIFFERENT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", but, str(copy)]
    root = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\b[1-9]\d* passed", done.stdout)
