"""Every code block of the README and of the pages in docs/ runs as it stands, alone."""

import doctest
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
NOT_CODE = {"text", "bibtex"}
EARLY = re.compile("jax_num_cpu_devices|enable_cpu_multi_output_fusion")
"""What is to be said before JAX has started."""

pytestmark = pytest.mark.default_promotion


class Block(NamedTuple):
    language: str
    line: int  # of the first line inside the fence, counted from 0
    code: str

    @property
    def file(self) -> str | None:
        """The file of the repository that it is, where its first line says so."""
        named = re.match(r"# ((?:funcopt|tests)/[\w/]+\.py)\n", self.code)
        return named and named[1]


def blocks(page):
    lines = page.read_text().splitlines()
    fences = [i for i, line in enumerate(lines) if line.startswith("```")]
    assert len(fences) % 2 == 0, f"{page.name}: a code block is not closed"
    for start, end in zip(fences[::2], fences[1::2], strict=True):
        code = "\n".join(lines[start + 1 : end]) + "\n"
        yield Block(lines[start].removeprefix("```"), start + 1, code)


def run_python(block, page, namespace):
    if EARLY.search(block.code):
        run_alone(block, page)
        return
    exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


def run_alone(block, page):
    program = Path("program.py")
    program.write_text(block.code)
    env = os.environ | {"XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr}"


def run_session(block, page, namespace):
    test = doctest.DocTestParser().get_doctest(
        block.code, namespace, page.name, str(page), block.line
    )
    said = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=said.append)
    assert not said, "".join(said)


def check_commands(block, page, namespace):
    """Each `funcopt` command names a verb and options that its help names."""
    del namespace
    for line in block.code.splitlines():
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            if words and Path(words[0]).name == "funcopt":
                check_funcopt(words[1:], page)


def check_funcopt(words, page):
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    unknown = used - options(words[0])
    assert not unknown, f"{page.name}: funcopt {words[0]} has no {unknown}"


@functools.cache
def options(verb):
    """The options that the help of a command names."""
    command = [sys.executable, "-m", "funcopt_cli", verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"there is no command funcopt {verb}: {done.stderr}"
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))


HOW = {"python": run_python, "pycon": run_session, "console": check_commands}


def every_block():
    for page in PAGES:
        for block in blocks(page):
            name = f"{page.relative_to(ROOT).as_posix()}:{block.line}"
            if block.language not in NOT_CODE and not block.file:
                yield pytest.param(page, block, id=name)


@pytest.mark.parametrize(("page", "block"), list(every_block()))
def test_block_runs_as_pasted_alone(page, block, tmp_path, monkeypatch):
    """Each is a program of its own: it starts from nothing that stands above it."""
    monkeypatch.chdir(tmp_path)
    HOW[block.language](block, page, {"__name__": "__main__"})


def run_there(folder, *words):
    paths = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_skeletons_run_inside_the_package(tmp_path):
    """Each is written where it says into a copy of the package, and tested there."""
    for folder in ("funcopt", "tests"):
        kept_out = shutil.ignore_patterns("__pycache__", "golden", "*.npz")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=kept_out)
    files = {block.file: block for page in PAGES for block in blocks(page) if block.file}
    assert len(files) >= 9
    for name, block in files.items():
        path = tmp_path / name
        if path.exists():  # the page shows the lines that are added
            path.write_text(path.read_text() + block.code)
        else:
            path.write_text(block.code.partition("\n")[2])
    added = [name for name in files if name.startswith("funcopt/") and "__init__" not in name]
    said = run_there(tmp_path, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider",
                     "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path),
                     "--doctest-modules", *added)  # fmt: skip
    assert f"{len(added)} passed" in said
    said = run_there(tmp_path, "-c", COMPARED)
    assert "power_sign agrees" in said


COMPARED = """
import jax.numpy as jnp, numpy as np, funcopt
from tests.reference.power_sign import ROWS
for row in ROWS:
    tx, p = row.make(), np.linspace(-1.0, 1.0, 5)
    ours, slots = jnp.asarray(p), None
    state = tx.init(ours)
    for t, g in enumerate(np.random.default_rng(0).normal(size=(5, 5)), 1):
        p, slots = row.reference(p, g, slots, t, row.rate, **row.transcribed())
        ours, state = funcopt.step(tx, jnp.asarray(g), state, ours)
        assert np.allclose(ours, p, atol=1e-6)
    print(row.name, "agrees")
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def anchors(page):
    """What a link may say after `#`: the headings, as GitHub spells them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text()):
        if "://" not in target:
            assert anchor in anchors(page.parent / target if target else page), target


def test_marked_regions_are_up_to_date():
    check = [sys.executable, "docs/fill_numbers.py", "--check"]
    said = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_index_links_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    for page in PAGES[2:]:
        assert page.name == "index.md" or f"({page.name})" in index


def test_named_tests_exist():
    """The pages say which test holds a law."""
    there = {
        name
        for path in (ROOT / "tests").glob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    for page in PAGES:
        named = set(re.findall(r"`(test_\w+)`", page.read_text()))
        assert named <= there, f"{page.name} names {sorted(named - there)}"


# torch.optim.__all__ and torch.optim.lr_scheduler.__all__ of torch 2.13, the base classes aside.
PYTORCH = """
    Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD
    SparseAdam swa_utils
    LambdaLR MultiplicativeLR StepLR MultiStepLR ConstantLR LinearLR ExponentialLR SequentialLR
    CosineAnnealingLR ChainedScheduler ReduceLROnPlateau CyclicLR CosineAnnealingWarmRestarts
    OneCycleLR PolynomialLR
    clip_grad_norm_ clip_grad_value_ GradScaler autocast
"""


def test_everything_of_pytorch_has_a_counterpart_or_a_word():
    rows = [
        line.split("|")[1]
        for line in (ROOT / "docs" / "from_pytorch.md").read_text().splitlines()
        if line.startswith("|")
    ]
    said = {word for row in rows for word in re.findall(r"\w+", row)}
    assert set(PYTORCH.split()) - said == set()
