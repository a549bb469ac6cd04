"""What a type checker says of programs that use funcopt."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.typed_calls import program

PROGRAM = Path(__file__).with_name("typed_program.py")
PYRIGHT = Path(sys.executable).with_name("pyright")


def marked(path: Path) -> list[int]:
    """The lines that are to be refused."""
    lines = path.read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.endswith("# error")]


def refused(paths: list[Path]) -> dict[Path, dict[int, str]]:
    """What pyright says of the lines that it refuses, of each file."""
    done = subprocess.run(
        [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    said: dict[Path, dict[int, str]] = {path: {} for path in paths}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            said[Path(each["file"])][line] = re.sub(r"\s+", " ", each["message"])
    return said


@pytest.mark.skipif(
    not (PYRIGHT.exists() or shutil.which("pyright")), reason="pyright is not installed"
)
def test_pyright_sees_what_is_wrong_and_nothing_else(tmp_path):
    calls = tmp_path / "typed_calls.py"
    calls.write_text(program())
    assert len(marked(calls)) > 1000
    for path, said in refused([PROGRAM, calls]).items():
        lines = path.read_text().splitlines()
        passed = [lines[number - 1] for number in marked(path) if number not in said]
        assert passed == [], f"{path.name}: pyright lets these pass"
        wrong = [(lines[n - 1], said[n]) for n in said if not lines[n - 1].endswith("# error")]
        assert wrong == [], f"{path.name}: pyright refuses these (GIVEN has what is no number)"
