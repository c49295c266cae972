"""Documents like a text: similarity as sets of words say it, the most alike first."""

import pytest

from audit import small_run
from fasttrain.audit.near import near
from fasttrain.core.errors import ConfigError
from fasttrain.text import shingle_ref


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run.build(tmp_path_factory.mktemp("run"))


def shingles(text):
    return set(shingle_ref.shingles(shingle_ref.words(text.encode()), 5))


@pytest.mark.parametrize("which", [0, 3, 5])
def test_similarity_is_that_of_the_sets(run, which):
    text = small_run.DOCS[which][3] + " and some more words that only the question has"
    asked = shingles(text)
    found = {n.origin: n for n in near(run, text, threshold=0.01)}
    assert small_run.DOCS[which][1] in found
    for _, origin, _, other in small_run.DOCS:
        its = shingles(other)
        both = len(asked & its)
        if origin in found:
            assert found[origin].jaccard == both / len(asked | its)
            assert found[origin].text_in_document == both / len(asked)
            assert found[origin].document_in_text == both / len(its)
        else:
            assert both / min(len(asked), len(its)) < 0.01


def test_the_most_alike_comes_first_and_a_document_that_was_dropped_is_found_too(run):
    found = near(run, small_run.DOCS[1][3], threshold=0.3)
    assert found[0].origin == "https://a.example/two"  # dedup dropped it: it is in the lake all the same
    assert [n.jaccard for n in found] == sorted((n.jaccard for n in found), reverse=True)
    assert near(run, small_run.DOCS[1][3], threshold=0.3, limit=1) == found[:1]


def test_a_passage_is_contained(run):
    (best, *_) = near(run, "Some years ago, never mind how long.", threshold=0.9)
    assert best.origin == "moby.txt#1"
    assert best.text_in_document == 1.0


def test_refusals(run):
    with pytest.raises(ConfigError, match="must hold a word"):
        near(run, " ... ")
    with pytest.raises(ConfigError, match=r"must lie in \(0, 1\], got 0"):
        near(run, "a", threshold=0)
