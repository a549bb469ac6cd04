"""The command line: what it prints, what it writes, and the status it exits with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import funcopt_cli
from funcopt_cli import interrupts

ROOT = Path(__file__).parent.parent
SMALL = ["--task", "linear_regression", "--lrs", "0.01:1:3", "--seeds", "1", "--steps", "20"]


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch):
    """Test runners in parallel narrow the terminal for their workers; rows would be cut."""
    monkeypatch.setenv("COLUMNS", "130")


def command(*argv: str, **options) -> subprocess.Popen:
    """The command in a process of its own, without a display, wherever it is started."""
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "COLUMNS": "120"}
    environment.pop("MPLBACKEND", None)
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    return subprocess.Popen(
        [sys.executable, "-c", f"{start} import funcopt_cli; funcopt_cli.main()", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.mark.parametrize(
    "argv",
    [["--help"], *([name, "--help"] for name in ("compare", "lr", "schedule", "health"))],
)
def test_help_imports_neither_jax_nor_matplotlib(argv):
    look = (
        "import sys, funcopt_cli\n"
        "try: funcopt_cli.run(sys.argv[1:])\n"
        "except SystemExit as end: print('status', end.code)\n"
        "print('loaded', {'jax', 'matplotlib', 'numpy', 'funcopt'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, *argv],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "usage: funcopt" in done.stdout
    assert "status 0" in done.stdout
    assert "loaded set()" in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["compar", "adam"], "unknown command 'compar'. Did you mean 'compare'?"),
        (["compare", "adm"], "unknown optimizer 'adm'. Did you mean 'adam'"),
        (["compare", "adam", "--task", "digit"], "unknown task 'digit'. Did you mean 'digits'"),
        (["compare", "adam", "--schedule", "cos"], "unknown schedule 'cos'. Did you mean 'cosine'"),
        (["compare", "adam", "--lrs", "1e-4:1"], "expected low:high:count"),
        (["compare", "adam(b3=1)"], "unknown adam argument 'b3'"),
        (["compare"], "none given"),
        (["compare", "adam", "--seeds", "0"], "--seeds 0"),
        (["demo", "--steps", "0"], "steps: 0 given"),
        (["show", "adamm"], "Did you mean 'adam'"),
        (["describe", "muonn"], "Did you mean 'muon'"),
        (["describe", "muon", "--task", "digit"], "Did you mean 'digits'"),
        (["describe", "adamw(mask='kernle')"], "'kernle' matches no parameter"),
        (["lr", "adm"], "unknown optimizer 'adm'. Did you mean 'adam'"),
        (["lr", "adam", "--task", "digit"], "Did you mean 'digits'"),
        (["lr", "adam", "--convention", "valey"], "Did you mean 'valley'"),
        (["lr", "adam", "--lr-min", "0"], "lr_min 0.0"),
        (["lr", "adam", "--seeds", "0"], "--seeds 0"),
        (["health", "--task", "clif"], "unknown task 'clif'. Did you mean 'cliff'"),
        (["health", "--opt", "sdg"], "unknown optimizer 'sdg'. Did you mean 'sgd'"),
        (["health", "--lrs", "1e-4:1"], "expected low:high:count"),
        (["health", "--seeds", "0"], "--seeds 0"),
        (["health", "--steps", "0"], "steps: 0 given"),
        (["schedule", "cosin"], "unknown schedule 'cosin'. Did you mean 'cosine'"),
        (["schedule", "cosine(alfa=1)"], "unknown cosine_decay_schedule argument 'alfa'"),
        (["schedule", "piecewise_constant_schedule(init_value=-"], "cannot read"),
        (["schedule", "cosine", "--steps", "0"], "steps 0"),
        (["schedule", "on_plateau"], "follows a metric"),
        (["schedule"], "none given"),
    ],
)
def test_bad_names_exit_with_2_and_a_hint(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert funcopt_cli.run(argv) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_option_exits_with_2_and_a_hint(capsys):
    with pytest.raises(SystemExit) as end:
        funcopt_cli.run(["compare", "adam", "--stepps", "3"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "--steps" in said
    assert "demo" not in said  # the options of other commands are no help


def test_a_folder_that_cannot_be_written_is_refused_before_training(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert funcopt_cli.run(["compare", "adam", *SMALL, "--out", str(tmp_path / "file" / "x")]) == 2
    printed = capsys.readouterr()
    assert "--out: cannot write to" in printed.err
    assert printed.out == ""


def test_compare_prints_a_ranking_and_writes_a_report(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert funcopt_cli.run(["compare", "sgd", "sgd(momentum=0.9)", *SMALL]) == 0
    text = capsys.readouterr().out
    assert "linear_regression: 2 optimizers x 3 learning rates (0.01 to 1) x 1 seed" in text
    assert "[2/2] sgd(momentum=0.9): best rate" in text
    assert "report: funcopt-out/compare-linear_regression/report.html" in text
    assert (tmp_path / "funcopt-out" / "compare-linear_regression" / "report.html").exists()


def test_json_is_all_there_is_on_stdout(capsys, tmp_path):
    assert funcopt_cli.run(["compare", "sgd", *SMALL, "--json", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert answer["ranking"][0]["label"] == "sgd"
    assert all(Path(name).exists() for name in answer["files"])
    assert "[1/1] sgd" in printed.err


def test_quiet_prints_the_answer_and_the_report(capsys, tmp_path):
    argv = ["compare", "sgd", *SMALL, "--quiet", "--seed", "4", "--out", str(tmp_path)]
    assert funcopt_cli.run(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sgd is best")
    assert lines[1:] == [f"report: {tmp_path / 'report.html'}"]
    assert ",4,20," in (tmp_path / "results.csv").read_text()


def test_describe_is_also_json(capsys):
    assert funcopt_cli.run(["describe", "muon", "--lr", "0.02", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["learning_rate"] for row in told["rows"]} == {0.02}
    assert [total["name"] for total in told["by_rule"]] == ["adam", "muon"]
    assert funcopt_cli.run(["describe", "muon"]) == 0
    assert "blocks" in capsys.readouterr().out


def test_list_and_show_are_also_json(capsys):
    assert funcopt_cli.run(["list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"adam", "cosine_decay_schedule"} <= {entry["name"] for entry in entries}
    assert funcopt_cli.run(["show", "adamw", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["float32"] == 8


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--tag", "matrix", "--search", "Muon"], {"muon", "normuon"}),
        (["--needs", "value", "--search", "momo"], {"momo", "momo_adam"}),
        (["--search", "no such thing"], set()),
    ],
)
def test_a_list_of_some(capsys, options, names):
    assert funcopt_cli.run(["list", *options, "--json"]) == 0
    found = {entry["name"] for entry in json.loads(capsys.readouterr().out)}
    assert names <= found
    assert len(found) < 20
    assert funcopt_cli.run(["list", *options]) == 0
    assert all(name in capsys.readouterr().out for name in list(names)[:1])


def test_a_list_of_what_there_is_not_says_what_there_is(capsys):
    assert funcopt_cli.run(["list", "--tag", "vector"]) == 2
    assert "tag must be one of" in (told := capsys.readouterr().err)
    assert "matrix" in told


def test_the_version(capsys):
    assert funcopt_cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("funcopt ")


def test_a_reader_may_leave(tmp_path):
    """As `head` does: no traceback, and what is printed from inside of a training ends nothing."""
    trains = (
        "from funcopt.lab.terminal.commands import console\n"
        "for _ in range(3): console().print('what it trains')\n"
        "open('report', 'w').close()"
    )
    shows = "import funcopt_cli, sys; sys.argv[1:] = ['--version']; funcopt_cli.main()"
    for program, status in ((trains, 0), (shows, 141)):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=writer,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            check=False,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (status, b"")
    assert (tmp_path / "report").exists()


def test_demo_works_from_anywhere(tmp_path):
    before = sorted(ROOT.glob("funcopt/lab/**/*"))
    demo = command("demo", "--quick", "--steps", "5", "--seeds", "1", cwd=tmp_path)
    out, err = demo.communicate(timeout=200)
    assert (demo.returncode, err) == (0, "")
    assert "[8/8] lion" in out
    assert "\x1b" not in out
    assert (tmp_path / "funcopt-out" / "demo" / "report.html").exists()
    written = {path for path in ROOT.glob("funcopt/lab/**/*") if "__pycache__" not in path.parts}
    assert written <= set(before)


def test_ctrl_c_keeps_what_is_done(tmp_path):
    long = ["--task", "linear_regression", "--lrs", "0.01,0.1", "--seeds", "1"]
    run = command("compare", "sgd", "adam", *long, "--steps", "1000000", cwd=tmp_path)
    assert run.stdout is not None
    for line in run.stdout:
        if "step" in line and "%" in line:
            run.send_signal(signal.SIGINT)
            break
    out, err = run.communicate(timeout=200)
    assert run.returncode == 130
    assert err.strip() in ("", interrupts.WAIT)
    assert "Interrupted: 0 of 2 optimizers finished." in out
    assert "sgd was stopped at step" in out
    folder = tmp_path / "funcopt-out" / "compare-linear_regression"
    assert (folder / "results.csv").read_text().count("sgd,") == 2
    config = json.loads((folder / "config.json").read_text())
    assert config["interrupted"] is True


def test_lr_prints_a_suggestion_and_draws_it(capsys, tmp_path):
    argv = ["lr", "adamw", "--task", "linear_regression", "--out", str(tmp_path)]
    assert funcopt_cli.run(argv) == 0
    text = capsys.readouterr().out
    assert "suggested learning rate" in text
    for name in ("valley", "steepest", "minimum/10", "slide"):
        assert name in text
    assert (tmp_path / "lr.png").read_bytes()[:4] == b"\x89PNG"
    assert len((tmp_path / "lr.csv").read_text().splitlines()) == 1 + 8 * 100

    assert funcopt_cli.run([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["suggestion"] in answer["suggestions"].values()
    assert 0 < answer["constant"] < answer["suggestion"]
    assert answer["reason"] == ""


def test_lr_says_why_there_is_no_suggestion(capsys, tmp_path):
    argv = ["lr", "sgd", "--task", "linear_regression", "--lr-max", "1e-6", "--quiet"]
    assert funcopt_cli.run([*argv, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("No suggestion: the loss does not fall anywhere")


def test_schedules_are_overlaid(capsys, tmp_path):
    calls = ["warmup_cosine_decay_schedule", "linear_schedule(end_value=0.5)", "constant"]
    argv = ["schedule", *calls, "--steps", "1000", "--peak", "0.2", "--out", str(tmp_path)]
    assert funcopt_cli.run(argv) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("linear_schedule"))
    assert line.split()[-5:] == ["0.2", "0.275", "0.35", "0.425", "0.5"]
    assert "█" in text
    assert (tmp_path / "schedule.png").read_bytes()[:4] == b"\x89PNG"
    lines = (tmp_path / "schedule.csv").read_text().splitlines()
    assert len(lines) == 1002

    assert funcopt_cli.run([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["rates"]["constant"] == pytest.approx([0.2] * 5)


@pytest.mark.parametrize(
    ("command", "picture", "says"),
    [
        ("lr adamw --task digits", "lr-digits/lr.png", "suggested learning rate"),
        (
            "schedule warmup_cosine wsd --steps 10000",
            "schedule/schedule.png",
            "rate over 10000 steps",
        ),
    ],
)
def test_commands_as_people_type_them(capsys, tmp_path, monkeypatch, command, picture, says):
    monkeypatch.chdir(tmp_path)
    assert funcopt_cli.run(command.split()) == 0
    printed = capsys.readouterr().out
    assert says in printed
    assert f"picture: funcopt-out/{picture}" in printed
    assert (tmp_path / "funcopt-out" / picture).read_bytes()[:4] == b"\x89PNG"


def test_every_schedule_without_a_metric_can_be_drawn(capsys, tmp_path):
    funcopt_cli.run(["list", "--json"])
    names = [
        e["name"] for e in json.loads(capsys.readouterr().out) if e["kind"].endswith("schedule")
    ]
    drawn, refused = [], []
    for name in names:
        status = funcopt_cli.run(["schedule", name, "--steps", "100", "--out", str(tmp_path)])
        printed = capsys.readouterr()
        (drawn if status == 0 else refused).append(name)
        assert status == 0 or "follows a metric" in printed.err or "missing" in printed.err
    assert {"cosine_decay_schedule", "warmup_cosine_decay_schedule"} <= set(drawn)
    assert len(drawn) > len(refused)
