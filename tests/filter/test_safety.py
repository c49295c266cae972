import numpy as np
import pyarrow as pa
import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.filter import safety
from fasttrain.filter.safety import SafetyConfig


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "en.txt").write_text("zork\nfoo bar\nc++\n\n")
    (tmp_path / "ja.txt").write_text("悪い\n")
    return tmp_path


def test_words_are_whole_where_there_are_spaces(lists):
    texts = pa.array(["Zork, ZORK! zorks xzork _zork zork_ foo bar foo  bar C++.", "", "zork"], pa.large_string())
    assert safety.count(texts, "en", lists / "en.txt").tolist() == [4, 0, 1]


def test_words_are_found_anywhere_where_there_are_none(lists):
    assert safety.count(pa.array(["とても悪い悪いこと"]), "ja", lists / "ja.txt").tolist() == [2]


def test_both_limits_must_be_exceeded(lists):
    config = SafetyConfig(lists={"en": "en.txt"}, built_in=False, max_hits=2, max_fraction=0.1)
    texts = pa.array(
        ["zork . zork", "zork . zork . zork", "zork . zork . zork", "zork . zork . zork"], pa.large_string()
    )
    words = np.array([3, 5, 100, 5], np.int64)
    hits, share, fails = safety.judge(texts, ["en", "en", "en", "fr"], words, config, lists)
    assert hits.tolist() == [2, 3, 3, 0]
    assert share.tolist() == [2 / 3, 3 / 5, 3 / 100, 0]
    assert fails.tolist() == [False, True, False, False]
    strict = config.model_copy(update={"max_fraction_of": {"en": 0.7}})
    assert not safety.judge(texts, ["en"] * 4, words, strict, lists)[2].any()


def test_every_built_in_list_compiles():
    found = sorted(p.stem for p in safety.BUILT_IN.glob("*.txt"))
    assert {"en", "de", "fr", "zh", "ja"} <= set(found)
    for name in found:
        path = safety.path_of(SafetyConfig(), name, safety.BUILT_IN)
        word = path.read_text(encoding="utf-8").split("\n")[0].lower()
        assert safety.count(pa.array([f"x {word} y", "x y"], pa.large_string()), name, path).tolist() == [1, 0]


def test_a_missing_list_is_named(tmp_path):
    config = SafetyConfig(lists={"en": "none.txt"})
    with pytest.raises(ConfigError, match=r"filter.safety.lists.en: .*none.txt must be a UTF-8 text file"):
        safety.judge(pa.array(["x"]), ["en"], np.array([1]), config, tmp_path)
