"""What a comparison writes: pictures, tables, and a page that needs nothing else."""

import dataclasses
import io
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

import funcopt
import funcopt_cli.arguments
from funcopt.lab import Event, catalogue, compare, show
from funcopt.lab.comparison.compare import plan as plan_of
from funcopt.lab.comparison.plot import draw_all, look, thinned
from funcopt.lab.comparison.report import page
from funcopt.lab.drawing.figures import NARROW, WIDE
from funcopt.lab.terminal.watch import watching
from funcopt.lab.training.candidates import Candidate


@pytest.fixture(scope="module")
def found():
    return compare(
        {
            "good": lambda rate: funcopt.sgd(rate),
            "wild": lambda rate: funcopt.sgd(1e4 * rate),
        },
        task="linear_regression",
        lrs="0.01:1:5",
        seeds=2,
        steps=40,
    )


@pytest.fixture(scope="module")
def folder(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "deep" / "er"
    found.save(folder)
    return folder


def printed(what, width=200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(what)
    return console.export_text()


def test_all_files_are_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "forgiveness.png",
        "forgiveness.svg",
        "learning_curves.png",
        "learning_curves.svg",
        "loss_by_rate.png",
        "loss_by_rate.svg",
        "report.html",
        "results.csv",
        "summary.json",
    ]
    assert (folder / "loss_by_rate.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (folder / "loss_by_rate.svg").read_text()


def test_the_configuration_repeats_the_run(found, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["task"]["name"] == "linear_regression"
    assert config["learning_rates"] == pytest.approx(found.plan.rates, rel=1e-7)
    assert (config["seeds"], config["steps"], config["schedule"]) == ([0, 1], 40, "constant")
    assert config["versions"]["jax"]


class Links(HTMLParser):
    """Collects everything that a page would load or run."""

    def __init__(self):
        super().__init__()
        self.loads, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        names = {"src", "href", "xlink:href", "data", "srcset", "action"}
        self.loads += [value for name, value in attrs if name in names]
        self.loads += [value for _, value in attrs if value and "url(" in value]


def test_the_report_needs_nothing_else(folder):
    text = (folder / "report.html").read_text()
    links = Links()
    links.feed(text)
    outside = [link for link in links.loads if not link.replace("url(", "").startswith("#")]
    assert outside == []
    assert len(links.loads) > 0
    assert links.tags.isdisjoint({"script", "link", "iframe", "object", "embed"})
    assert "@import" not in text
    assert text.count("<svg") == 6  # three pictures, for a wide screen and for a phone


def test_the_report_says_what_the_comparison_says(found, folder):
    text = (folder / "report.html").read_text()
    assert f"<h1>{found.headline()}</h1>" in text
    assert all(f">{verdict.label}</td>" in text for verdict in found.verdicts)
    assert ">diverged</td>" in text


def test_the_report_is_for_every_screen_and_reader(folder):
    text = (folder / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 0
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used <= set(ids)
    assert text.count('<svg role="img" aria-label="') == text.count("<svg")
    for query in ("prefers-color-scheme: dark", "max-width: 640px", "@media print"):
        assert query in text
    cells = re.findall(r"<td([^>]*)>", text)
    assert cells
    assert all("data-name=" in attributes for attributes in cells)  # a phone shows names so


def test_the_report_says_how_to_repeat_it(folder):
    plan = plan_of(
        ["sgd", "sgd(momentum=0.9)"], task="spike", lrs="1e-3:1:4", seeds=[2, 3], steps=7
    )
    assert plan.command() == (
        "funcopt compare sgd 'sgd(momentum=0.9)' --task spike --lrs 0.001:1:4 --seeds 2 --seed 2 "
        "--steps 7"
    )
    again = funcopt_cli.arguments.parse(shlex.split(plan.command())[1:])
    assert again.optimizers == ("sgd", "sgd(momentum=0.9)")
    text = (folder / "report.html").read_text()  # of functions, which no command has
    assert "funcopt.lab.compare({&#x27;good&#x27;, &#x27;wild&#x27;: ...}" in text


def test_twelve_optimizers_look_different(found):
    labels = [f"number {place}" for place in range(12)]
    plan = dataclasses.replace(
        found.plan, candidates=tuple(Candidate(label, funcopt.sgd) for label in labels)
    )
    many = dataclasses.replace(found, plan=plan)
    looks = [look(many, label) for label in labels]
    assert len({each["marker"] for each in looks}) == 12
    assert len({(each["color"], each["linestyle"]) for each in looks}) == 12


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_titles_and_legends_are_inside_of_the_picture(found, size):
    for figure in draw_all(found, size).values():
        FigureCanvasAgg(figure).draw()
        (ax,) = figure.axes
        width, height = figure.canvas.get_width_height()
        legend = [ax.get_legend()] if ax.get_legend() else []
        notes = [text for text in ax.texts if text.get_text()]
        for artist in (ax._left_title, *notes, *legend):
            box = artist.get_window_extent()
            assert box.x0 >= -1, artist
            assert box.y0 >= -1, artist
            assert box.x1 <= width + 1, artist
            assert box.y1 <= height + 1, artist


def test_names_are_escaped_in_the_report(found):
    tricky = dataclasses.replace(found.sweeps[0], label="a<b>&'$x'")
    text = page(dataclasses.replace(found, sweeps=(tricky,)), {})
    assert "a<b>" not in text
    assert "a&lt;b&gt;&amp;" in text
    assert "$x" in text


def test_diverged_runs_are_drawn_at_the_cap(found):
    ax = found.plot()
    cap = found.task.chance
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert np.nanmax(lines["good"].get_ydata()) <= cap
    np.testing.assert_array_equal(lines["wild"].get_ydata(), cap)
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    drawn = sorted(x for line in crosses for x in line.get_xdata())
    lost = sorted(x for sweep in found.sweeps for x in sweep.rates[sweep.diverged.any(axis=0)])
    assert drawn == lost
    assert len(lost) > len(found.plan.rates)
    assert all((line.get_ydata() == cap).all() for line in crosses)


def test_a_star_marks_the_best_rate(found):
    stars = [c.get_offsets() for c in found.plot().collections if len(c.get_offsets()) == 1]
    best = found.verdicts[0]
    np.testing.assert_allclose(stars[-1], [[best.best_rate, best.loss.median]], rtol=1e-6)


@pytest.mark.parametrize("plot", ["plot", "plot_curves", "plot_forgiveness"])
def test_pictures_are_drawn_where_asked(found, plot):
    ax = Figure().subplots()
    assert getattr(found, plot)(ax=ax) is ax
    assert ax.get_title(loc="left")
    assert getattr(found, plot)() is not ax


def test_curves_are_thinned_by_averaging():
    at, runs = thinned(np.arange(1, 101), np.arange(1.0, 101.0)[None])
    assert (at[0], at[-1], len(at)) == (4, 100, 25)
    assert runs[0, 0] == 2.5
    assert thinned(np.arange(1, 11), np.ones((2, 10)))[0].tolist() == list(range(1, 11))


def test_the_ranking_has_a_row_for_each_optimizer(found):
    text = printed(found.table())
    good, wild = (
        next(x for x in text.splitlines() if f" {name} " in x) for name in ("good", "wild")
    )
    assert good.strip().startswith("1")
    assert "diverged" in wild
    assert "×××××" in wild
    lost = sum(sweep.diverged.sum() for sweep in found.sweeps)
    assert f"{lost} of 20 runs diverged" in text


def test_a_narrow_terminal_hides_nothing(found):
    wide, narrow = printed(found.table()).split(), printed(found.table(), width=80).split()
    assert set(wide) <= set(narrow)
    assert "…" not in "".join(narrow)


def test_an_interrupted_comparison_is_reported(found):
    part = dataclasses.replace(found, sweeps=(dataclasses.replace(found.sweeps[0], steps=5),))
    assert part.config()["interrupted"] is True
    assert "Interrupted" in page(part, {})
    assert "good was stopped at step 5 of 40" in printed(part.table())


def test_the_summary_is_plain_json(found):
    text = json.dumps(found.summary(), allow_nan=False)
    ranking = json.loads(text)["ranking"]
    assert [row["label"] for row in ranking] == ["good", "wild"]
    assert ranking[1]["best_rate"] is None
    assert ranking[1]["loss"]["median"] is None


@pytest.mark.parametrize(("terminal", "lines"), [(False, 10), (True, 1)])
def test_progress_is_a_bar_or_lines(found, terminal, lines, tmp_path):
    with (tmp_path / "log").open("w+") as file:
        console = Console(file=file, force_terminal=terminal, width=100)
        with watching(console) as watcher:
            for step in [None, *range(51)]:
                watcher(Event("sgd", 0, 1, step, 50))
            watcher(Event("sgd", 0, 1, 50, 50, found.sweeps[0]))
        file.seek(0)
        text = file.read()
    done = [line for line in text.splitlines() if "best rate 0.32" in line]
    assert len(done) == 1
    assert ("\x1b[" in text) is terminal
    if not terminal:
        assert len(text.splitlines()) == lines


def test_the_catalogue_has_every_optimizer_once(tmp_path):
    found = catalogue()
    names = [entry.name for entry in found.entries]
    assert len(set(names)) == len(names)
    assert {"sgd", "adam", "lion", "cosine_decay_schedule"} <= set(names)
    assert set(funcopt.__all__) <= set(names)
    assert all(entry.summary for entry in found.entries)
    text = printed(found.table())
    assert all(name in text for name in names)
    assert len(found.to_csv(tmp_path / "list.csv").read_text().splitlines()) == len(names) + 1
    bars = [label.get_text() for label in found.plot().get_yticklabels()]
    assert sorted(bars) == sorted(e.name for e in found.entries if e.state_bytes is not None)


OPTIMIZERS = [entry.name for entry in catalogue().entries if entry.state_bytes is not None]
SCHEDULES = [entry.name for entry in catalogue().entries if entry.kind.endswith("schedule")]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_shown_with_its_source(name):
    found = show(name)
    text = printed(found.table())
    assert f"{name}(learning_rate" in text
    assert found.mathematics
    assert "https://" in found.mathematics or found.paper is not None
    assert ("@" in text) is (found.paper is not None)
    factored = {"adafactor": 4 * (512 + 1024) / (512 * 1024), "normuon": 4 + 4 / 1024}
    factored["nanochat_muon"] = 4 + 4 / 512
    factored["soap"] = 4 * 2 * (1 + (512**2 + 1024**2) / (512 * 1024))
    factored["kl_shampoo"] = factored["soap"] - 4 + 4 * (512 + 1024) / (512 * 1024)
    factored["splus"] = 4 + factored["soap"] - 4  # an average, and one moment less
    factored["galore"] = 4 * 128 * (2 * 1024 + 512) / (512 * 1024)
    factored["kron"] = 4 * (1 + 512**2 / (512 * 1024) + 1 / 512)
    factored["shampoo"] = factored["soap"] + 4 * 2 / (512 * 1024)
    factored["sm3"] = 4 + factored["adafactor"]
    factored["came"] = 4 + 2 * factored["adafactor"]
    factored["adam_mini"] = 4 + 4 / 1024
    assert found.memory["float32"] == factored.get(name, 4 * len(found.slots))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_shown(name):
    found = show(name)
    assert name in printed(found.table())
    with pytest.raises(ValueError, match="schedule; only optimizers"):
        found.plot()


def test_defaults_stand_beside_those_of_others(tmp_path):
    found = show("adamw")
    rows = {row.argument: row for row in found.defaults}
    assert found.pytorch == "torch.optim.AdamW"
    assert (rows["weight_decay"].pytorch, rows["weight_decay"].optax) == ("0.01", "0.0001")
    assert rows["weight_decay"].differs("0.01")
    assert (rows["b1"].pytorch, rows["b2"].pytorch) == ("0.9", "0.999")
    assert rows["storage"].optax is None
    assert "0.01 ≠" in printed(found.table())
    lines = found.to_csv(tmp_path / "adamw.csv").read_text().splitlines()
    assert lines[0] == "argument,funcopt,pytorch,optax"
    assert len(lines) == len(found.defaults) + 1


def test_the_answer_to_a_turning_gradient():
    title = show("sgd").plot().get_title(loc="left")
    assert title == "The gradient turns round: sgd follows 1 updates later"
    line = show("lion").plot().get_lines()[1].get_ydata()
    np.testing.assert_allclose(np.abs(line), 1, atol=1e-3)
