"""Every threshold, just inside and just outside, on counts set by hand."""

import numpy as np
import pytest

from fasttrain.filter import rules
from fasttrain.filter.text_stats import COLUMN, NAMES

GOOD = {
    "bytes": 10_000, "chars": 10_000, "words": 2_000, "text_words": 1_800, "text_word_chars": 8_000,
    "alpha_words": 1_700, "stop_words": 8, "lines": 100, "repetition_lines": 100, "paragraphs": 100, "newlines": 100,
    "c4_sentences": 90, "left_chars": 10_000, "left_newlines": 100, "left_words": 2_000, "left_full_lines": 100,
    "left_punct_lines": 90,
}  # fmt: skip
CASES = [
    ("gopher_quality:min_words", {"text_words": 50, "text_word_chars": 200},
     {"text_words": 49, "text_word_chars": 200}),
    ("gopher_quality:max_words", {"text_words": 100_000, "text_word_chars": 400_000},
     {"text_words": 100_001, "text_word_chars": 400_000}),
    ("gopher_quality:mean_word_chars", {"text_word_chars": 5_400}, {"text_word_chars": 5_399}),
    ("gopher_quality:mean_word_chars", {"text_word_chars": 18_000}, {"text_word_chars": 18_001}),
    ("gopher_quality:hashes", {"hashes": 200}, {"hashes": 201}),
    ("gopher_quality:ellipses", {"ellipses": 200}, {"ellipses": 201}),
    ("gopher_quality:bullet_lines", {"bullet_lines": 90}, {"bullet_lines": 91}),
    ("gopher_quality:ellipsis_lines", {"ellipsis_lines": 30}, {"ellipsis_lines": 31}),
    ("gopher_quality:alpha_words", {"alpha_words": 1_600}, {"alpha_words": 1_599}),
    ("gopher_quality:stop_words", {"stop_words": 2}, {"stop_words": 1}),
    ("gopher_repetition:dup_paragraphs", {"dup_paragraphs": 30}, {"dup_paragraphs": 31}),
    ("gopher_repetition:dup_paragraph_chars", {"dup_paragraph_chars": 2_000}, {"dup_paragraph_chars": 2_001}),
    ("gopher_repetition:dup_lines", {"dup_lines": 30}, {"dup_lines": 31}),
    ("gopher_repetition:dup_line_chars", {"dup_line_chars": 2_000}, {"dup_line_chars": 2_001}),
    *[(f"gopher_repetition:top_{n}_gram_chars", {f"top_{n}_gram_chars": v}, {f"top_{n}_gram_chars": v + 1})
      for n, v in ((2, 2_000), (3, 1_800), (4, 1_600))],
    *[(f"gopher_repetition:dup_{n}_gram_chars", {f"dup_{n}_gram_chars": v}, {f"dup_{n}_gram_chars": v + 1})
      for n, v in ((5, 1_500), (6, 1_400), (7, 1_300), (8, 1_200), (9, 1_100), (10, 1_000))],
    ("c4:lorem_ipsum", {}, {"c4_lorem_ipsum_lines": 1}),
    ("c4:curly_bracket", {}, {"c4_curly_bracket_lines": 1}),
    ("c4:sentences", {"c4_sentences": 5}, {"c4_sentences": 4}),
    ("refinedweb:removed_words", {"rw_removed_words": 90}, {"rw_removed_words": 91}),
    ("fineweb:punct_lines", {"left_punct_lines": 12}, {"left_punct_lines": 11}),
    ("fineweb:short_lines", {"left_short_lines": 67}, {"left_short_lines": 68}),
    ("fineweb:dup_line_chars", {"left_full_dup_chars": 99}, {"left_full_dup_chars": 100}),
    ("fineweb:newlines", {"left_newlines": 600}, {"left_newlines": 601}),
]  # fmt: skip


def verdicts(values):
    counts = np.zeros((1, len(NAMES)), np.int64)
    for name, value in {**GOOD, **values}.items():
        counts[0, COLUMN[name]] = value
    judged = rules.judge_all(counts, rules.RuleSet()).values()
    return {reason for v in judged for reason, fails in zip(v.reasons, v.fails[0]) if fails}


@pytest.mark.parametrize(("reason", "inside", "outside"), CASES)
def test_threshold(reason, inside, outside):
    assert verdicts(inside) == set()
    assert verdicts(outside) == {reason}


def test_every_rule_has_a_case():
    counts = np.zeros((0, len(NAMES)), np.int64)
    named = {r for v in rules.judge_all(counts, rules.RuleSet()).values() for r in v.reasons}
    assert named - {c[0] for c in CASES} == {"gopher_repetition:empty", "fineweb:empty"}
    assert {"gopher_repetition:empty", "fineweb:empty"} <= verdicts(dict.fromkeys(GOOD, 0))
