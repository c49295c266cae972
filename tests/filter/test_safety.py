import numpy as np
import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.filter import safety, word_list, word_list_ref
from fasttrain.filter.safety import SafetyConfig, SafetyLists
from fasttrain.text import columns


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "en.txt").write_text("zork\nfoo bar\nc++\n\n[ambiguous]\ncock\n[excuse]\nweather\n")
    (tmp_path / "ja.txt").write_text("悪い\n")
    return tmp_path


def opened(base, **settings):
    return SafetyLists(SafetyConfig(**settings), base)


def test_each_language_has_its_list(lists):
    found = opened(lists, lists={"en": "en.txt", "ja": "ja.txt"}, built_in=False)
    texts = columns.from_texts(["Zork, C++ and zorks", "とても悪い悪いこと", "zork", "zork"])
    assert found.count(texts, ["en", "ja", "fr", ""]).tolist() == [[2, 0, 0, 0], [2, 0, 0, 0], [0] * 4, [0] * 4]


def test_both_limits_must_be_exceeded(lists):
    config = {"lists": {"en": "en.txt"}, "built_in": False, "max_hits": 2, "max_fraction": 0.1}
    languages = ["en", "en", "en", "fr"]
    counts = np.array([[2, 0, 0, 0], [2, 1, 5, 0], [3, 0, 0, 0], [0, 0, 0, 0]], np.int64)
    words = np.array([3, 5, 100, 5], np.int64)
    share, fails = opened(lists, **config).judge(counts, languages, words)
    assert share.tolist() == [2 / 3, 3 / 5, 3 / 100, 0]
    assert fails.tolist() == [False, True, False, False]
    assert not opened(lists, **config, max_fraction_of={"en": 0.7}).judge(counts, languages, words)[1].any()
    share, fails = opened(lists, **config, context=False).judge(counts, languages, words)
    assert share.tolist() == [2 / 3, 8 / 5, 3 / 100, 0]


def test_context_decides_about_ambiguous_words(lists):
    found = opened(lists, lists={"en": "en.txt"}, built_in=False, window=4)
    texts = [
        "a cock on the tower",
        "a cock on the zork",
        "a weather cock on the zork",
        "the zork is far from that cock",
    ]
    counts = found.count(columns.from_texts(texts), ["en"] * 4)
    assert counts.tolist() == [[0, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [1, 0, 1, 0]]


def test_every_built_in_list_and_its_context():
    found = sorted(p.stem for p in safety.BUILT_IN.glob("*.txt"))
    assert {"en", "de", "fr", "zh", "ja"} <= set(found)
    contexts = sorted(p.stem for p in safety.BUILT_IN_CONTEXT.glob("*.txt"))
    assert contexts == found
    lists = SafetyLists(SafetyConfig(), safety.BUILT_IN)
    for language in found:
        listed = word_list.read(safety.BUILT_IN / f"{language}.txt")
        context = word_list.read(safety.BUILT_IN_CONTEXT / f"{language}.txt")
        ambiguous = {text for text, kind in context.items() if kind & ~word_list_ref.OPEN == word_list_ref.AMBIGUOUS}
        assert ambiguous <= set(listed), f"{language}: only listed words can be ambiguous"
        assert not (set(context) - ambiguous) & set(listed), f"{language}: a listed word decides about others anyway"
        assert 0 < len(ambiguous) < len(listed)
        assert word_list_ref.EXCUSE in context.values()
        some = [text for text in listed if text not in context][:20]
        counts = lists.count(columns.from_texts([f". {text} ." for text in some]), [language] * len(some))
        assert counts.tolist() == [[1, 0, 0, 0]] * len(some)


@pytest.mark.parametrize(
    ("language", "text", "counts"),
    [
        ("en", "Moby Dick and the rape of Lucrece", (0, 0, 2, 0)),
        ("en", "sexual health: see a doctor about anal cancer, semen and the vagina", (0, 0, 0, 4)),
        ("en", "hardcore porn: anal sex pics", (1, 3, 0, 0)),
        ("de", "Der Arzt untersuchte den Penis des Patienten", (0, 0, 0, 1)),
        ("es", "un martillo y una concha del mar", (0, 0, 2, 0)),
        ("zh", "性别平等与性能，性", (0, 0, 0, 1)),
    ],
)
def test_built_in_lists_by_example(language, text, counts):
    found = SafetyLists(SafetyConfig(), safety.BUILT_IN).count(columns.from_texts([text]), [language])
    assert tuple(found[0].tolist()) == counts


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "none.txt must be a UTF-8 text file"), (b"\xff", "must be a UTF-8"), (b"[x]", "must name a section")],
)
def test_a_bad_list_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "none.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=f"filter.safety.lists.en: .*{message}"):
        opened(tmp_path, lists={"en": "none.txt"})
