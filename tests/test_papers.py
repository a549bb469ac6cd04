"""What has been published says where, once, beside its code."""

import sys

import pytest

import funcopt
from funcopt.core.paper import Paper
from funcopt.lab.overview.catalogue import catalogue, public

FACTORIES = {name: thing for name, thing in public().items() if hasattr(thing, "paper")}
PUBLISHED = {name: thing for name, thing in FACTORIES.items() if thing.paper is not None}
KINDS = {entry.name: entry.kind for entry in catalogue().entries}
FOLKLORE = {"clip"}  # older than papers about it


@pytest.mark.parametrize("name", FACTORIES)
def test_what_has_a_source_declares_its_paper(name):
    sourced = "Source:" in (FACTORIES[name].__doc__ or "")
    wanted = KINDS[name] in ("optimizer", "optimizer with a rate", "clip") and name not in FOLKLORE
    assert (name in PUBLISHED) >= (sourced or wanted), "give @transformation(paper=Paper(...))"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_text_beside_it_names_the_paper(name):
    factory = PUBLISHED[name]
    siblings = [each for each in PUBLISHED.values() if each.__module__ == factory.__module__]
    texts = [each.__doc__ for each in [sys.modules[factory.__module__], *siblings]]
    assert any(factory.paper.url in (text or "") for text in texts)


def test_no_two_papers_have_one_key():
    papers = {factory.paper for factory in PUBLISHED.values()}
    assert len({paper.key for paper in papers}) == len({paper.url for paper in papers})
    assert len(papers) == len({paper.url for paper in papers})


def test_a_paper_that_appeared_nowhere_is_refused():
    with pytest.raises(ValueError, match="give one of booktitle, journal and howpublished"):
        Paper("Doe, Jane", "On steps", 2020, "https://example.org")
    with pytest.raises(ValueError, match="give one of"):
        Paper("Doe, Jane", "On steps", 2020, "https://example.org", booktitle="A", journal="B")


def test_a_factory_of_a_user_declares_its_own():
    paper = Paper("Doe, Jane and others", "The Step", 2020, "https://arxiv.org/abs/2001.00001")

    @funcopt.transformation(paper=paper)
    def stepping(learning_rate: funcopt.arguments.Rate):
        return funcopt.sgd(learning_rate)

    assert vars(stepping)["paper"] is paper
    assert paper.short == "Doe et al., 2020"
    assert paper.key == "doe2020step"
    assert repr(stepping(0.1)) == "stepping(learning_rate=0.1)"
