"""What a type checker says of programs that use funcopt."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("typed_program.py")
PYRIGHT = Path(sys.executable).with_name("pyright")


@pytest.mark.skipif(
    not (PYRIGHT.exists() or shutil.which("pyright")), reason="pyright is not installed"
)
def test_pyright_sees_what_is_wrong_and_nothing_else():
    marked = [
        number
        for number, line in enumerate(PROGRAM.read_text().splitlines(), start=1)
        if line.endswith("# error")
    ]
    done = subprocess.run(
        [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    found = [
        (each["range"]["start"]["line"] + 1, re.sub(r"\s+", " ", each["message"]))
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    ]
    assert [line for line, _ in found] == marked, found
