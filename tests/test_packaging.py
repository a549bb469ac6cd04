"""What the package's files say of it agrees."""

import importlib.resources
import re
import subprocess
import tomllib
from pathlib import Path

import funcopt

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()


def test_version_is_the_same_everywhere():
    version = PROJECT["project"]["version"]
    assert funcopt.__version__ == version
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == version


def test_readme_names_the_oldest_python():
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert f"Python {oldest} or later" in README
    assert PROJECT["tool"]["pyright"]["pythonVersion"] == oldest


def test_few_dependencies_at_run_time():
    names = {re.match(r"[a-z]+", line)[0] for line in PROJECT["project"]["dependencies"]}
    assert names == {"jax", "jaxlib", "jaxtyping", "numpy", "optax"}


def test_groups_mirror_extras():
    extras = PROJECT["project"]["optional-dependencies"]
    assert PROJECT["dependency-groups"] == {name: [f"funcopt[{name}]"] for name in extras}


def test_types_are_shipped():
    assert importlib.resources.files("funcopt").joinpath("py.typed").is_file()


def test_readme_has_the_two_commands():
    setup = 'python3 -m venv .venv && .venv/bin/pip install -q -e ".[{}]" && .venv/bin/{}\n'
    for command in (
        setup.format("lab", "funcopt demo"),
        setup.format("test", "python -m pytest -q"),
    ):
        assert README.count("\n" + command) == 1


def test_gate_finds_the_command_in_the_readme():
    gate = ROOT / ".ci" / "run"
    line = next(line for line in gate.read_text().splitlines() if line.startswith("test_command="))
    said = subprocess.run(
        ["bash", "-euc", f'{line}\necho "$test_command"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.endswith("-m pytest -q\n")
    assert said.stdout.count("\n") == 1
    assert gate.stat().st_mode & 0o111
