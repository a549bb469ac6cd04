"""README's picture is what `funcopt demo` draws: its numbers lie beside it, and come again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from funcopt.lab import compare
from funcopt.lab.comparison.compare import demo_plan

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SUMMARY = json.loads((IMAGES / "demo.json").read_text())
HOW = "draw it again: `funcopt demo`, loss_by_rate.png and summary.json of its folder"


def test_the_picture_is_the_one_of_the_numbers():
    with Image.open(IMAGES / "demo.png") as picture:
        assert picture.info["Title"] == SUMMARY["headline"], HOW


def test_the_numbers_are_those_of_the_present_demo():
    plan, config = demo_plan(), SUMMARY["config"]
    assert config["optimizers"] == plan.labels, HOW
    assert config["learning_rates"] == pytest.approx(plan.rates.tolist(), rel=1e-6), HOW
    assert (config["seeds"], config["steps"]) == (plan.seeds.tolist(), plan.steps), HOW


def test_the_winner_wins_again():
    """The two best of the picture, each at its best rate and the ones beside it."""
    best, second = SUMMARY["ranking"][:2]
    assert re.match(rf"{best['label']} \w+ at {best['best_rate']:.2g}: ", SUMMARY["headline"])
    rates = np.array(SUMMARY["config"]["learning_rates"])
    places = [int(np.argmin(abs(rates - row["best_rate"]))) for row in (best, second)]
    chosen = rates[max(0, min(places) - 1) : max(places) + 2]
    fresh = compare([best["label"], second["label"]], lrs=chosen.tolist(), seeds=3, steps=300)
    found = {verdict.label: verdict for verdict in fresh.verdicts}
    for row in (best, second):
        again = found[row["label"]]
        # Other machines round differently, and 300 steps at high rates make much of it.
        assert again.loss.median == pytest.approx(row["loss"]["median"], rel=0.15), HOW
        place, expected = (abs(rates - x).argmin() for x in (again.best_rate, row["best_rate"]))
        assert abs(place - expected) <= 1, HOW
