"""What is printed fits a narrow screen, hides nothing, and a record prints as its answer."""

import dataclasses
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.cells import cell_len
from rich.console import Console

import funcopt
import funcopt_cli
from funcopt.lab import (
    CoordinateCheck,
    catalogue,
    compare,
    find_lr,
    get_task,
    schedule_curves,
    show,
    sweep,
)
from funcopt.lab.terminal.folder import folder
from funcopt.lab.terminal.watch import telling, waiting
from funcopt.lab.training.progress import Stage
from funcopt.monitoring import svg

ROOT = Path(__file__).parent.parent
KINDS = ["Comparison", "RangeTest", "Swept", "ScheduleCurves", "Shown", "CoordinateCheck"]
TASK = get_task("linear_regression")


@pytest.fixture(scope="module")
def comparison():
    # Names as wide as anyone types them.
    calls = ["sgd(momentum=0.9,nesterov=True)", "adam"]
    return compare(calls, task="linear_regression", lrs="0.01:1:5", seeds=2, steps=20)


@pytest.fixture(scope="module")
def found():
    return find_lr(TASK.loss, TASK.init, TASK.sample, "sgd", seeds=2)


@pytest.fixture(scope="module")
def records(comparison, found):
    swept = sweep("sgd", {"learning_rate": "1e-2:1:3"}, task="linear_regression", steps=20)
    curves = schedule_curves(["cosine", "warmup_constant_schedule"], steps=100)
    return {
        "Comparison": comparison,
        "RangeTest": found,
        "Swept": swept,
        "ScheduleCurves": curves,
        "Catalogue": catalogue(),
        "Shown": show("stable_spam"),
        "CoordinateCheck": CoordinateCheck(
            ("first_hidden_layer", "logits"),
            (64, 128, 256, 512),
            4,
            2,
            np.array([[[0.1, 0.2]], [[0.1, 0.4]], [[0.1, 0.8]], [[0.1, 1.6]]]),
        ),
    }


def printed(what, width) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\s:,]+", text))


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_screen_hides_nothing(records, kind, width):
    table = records[kind].table()
    narrow = printed(table, width)
    assert max(map(cell_len, narrow.splitlines())) <= width
    assert "…" not in narrow
    broken = "".join(narrow.split())  # where a word is wider than the screen, it is folded
    missing = {word for word in words(printed(table, 300)) if word not in broken}
    assert missing <= {"optimizer"}  # the head of what lists begin with


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_prints_as_its_answer(records, kind):
    text = repr(records[kind])
    assert text == f"<{kind}: {records[kind].headline()}>"
    assert len(text) < 300


def test_the_parts_of_records_print_in_a_line(comparison):
    parts = [comparison.plan, comparison.sweeps[0], comparison.verdicts[0], comparison.task]
    assert all(len(repr(part)) < 300 for part in parts)


@pytest.mark.parametrize("kind", ["Comparison", "RangeTest", "Swept", "ScheduleCurves"])
def test_a_notebook_shows_table_and_picture(records, kind):
    page = records[kind]._repr_html_()
    assert "<pre" in page
    assert page.count("<svg") == page.count('role="img" aria-label="') == 1
    assert "�" not in page


def test_a_notebook_shows_what_cannot_be_drawn_without_a_picture():
    assert "<svg" not in show("cosine_decay_schedule")._repr_html_()


def test_two_pictures_share_no_id():
    one, two = '<svg><g id="a"/><use href="#a"/></svg>', '<svg><g id="a" x="1"/></svg>'
    ids = [re.findall(r'id="([^"]+)"', svg.inline(each, "picture")) for each in (one, two)]
    assert set(ids[0]).isdisjoint(ids[1])
    assert f'href="#{ids[0][0]}"' in svg.inline(one, "picture")


@pytest.mark.parametrize("width", [40, 80])
def test_the_list_has_every_public_name(width):
    text = printed(catalogue().table(), width)
    assert set(funcopt.__all__) <= words(text)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("SGD", "sgd  "),
        ("Adam", "rules.Adam  "),
        ("ADAM", "adam  "),
        ("sgd(momentum=0.9)", "sgd(momentum=0.9)  "),
        ("guard", "guard  "),
        ("clip_by_global_norm", "clip_by_global_norm  "),
        ("find_lr", "lab.find_lr  "),
        ("chain", "chain  "),
    ],
)
def test_show_takes_names_as_people_write_them(asked, title):
    assert printed(show(asked).table(), 80).startswith(title)


def test_every_public_name_is_shown():
    for name in funcopt.__all__:
        assert name in printed(show(name).table(), 80)


def test_an_unknown_name_gives_few_hints():
    with pytest.raises(ValueError, match="unknown name 'adom'") as caught:
        show("adom")
    hints = re.findall(r"'(\w+)'", str(caught.value).partition("mean")[2])
    assert 1 <= len(hints) <= 5
    assert str(caught.value).endswith("`funcopt list` has all names.")


def test_runs_do_not_overwrite_each_other(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert funcopt_cli.run(["schedule", "cosine", "--steps", "10"]) == 0
    assert sorted(path.name for path in Path("funcopt-out").iterdir()) == ["schedule", "schedule-2"]
    said = capsys.readouterr().out
    assert "picture: funcopt-out/schedule/schedule.png" in said
    assert "picture: funcopt-out/schedule-2/schedule.png" in said
    assert "replaces" not in said


def test_a_named_folder_is_taken_as_it_is(capsys, tmp_path):
    out = tmp_path / "mine"
    argv = ["schedule", "cosine", "--steps", "10", "--out", str(out)]
    funcopt_cli.run(argv)
    assert "replaces" not in capsys.readouterr().out
    funcopt_cli.run(argv)
    assert "This replaces what an earlier run has written there." in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["schedule.csv", "schedule.png"]


def test_a_folder_in_which_nothing_was_written_goes_away(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt), folder(None, "demo"):
        raise KeyboardInterrupt
    assert list(Path("funcopt-out").iterdir()) == []


def test_the_picture_of_a_range_test_names_what_it_says(found):
    named = dataclasses.replace(found, what="sgd on linear_regression")
    ax = named.plot()
    FigureCanvasAgg(ax.figure).draw()
    title = ax._left_title
    assert title.get_text().startswith("sgd on linear_regression: suggested learning rate")
    assert title.get_window_extent().x1 <= ax.figure.canvas.get_width_height()[0]
    drawn = {round(float(line.get_xdata()[0]), 9) for line in ax.get_lines()}
    assert {round(named.suggestion, 9), round(named.constant, 9)} <= drawn
    low, high = ax.get_ylim()
    assert low < np.nanmin(named.smoothed)
    assert np.nanmax(named.smoothed) < high


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_that_something_happens(terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=80)
    with waiting(console, "adam on digits: 100 steps"):
        pass
    with telling(console) as report:
        report(Stage(0.0, "[1/2] clip"))
        report(Stage(0.5, "[1/2] clip", "[1/2] clip: 3 of 3 succeed"))
    text = file.getvalue()
    assert ("adam on digits" in text) is terminal
    assert ("\x1b" in text) is terminal
    assert "3 of 3 succeed" in text


def test_python_m_funcopt_is_the_command():
    run = [sys.executable, "-m", "funcopt", "show", "guard", "--json"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout)["name"] == "guard"
