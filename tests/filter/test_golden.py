"""Golden vectors: small texts with every statistic and every decision, in a file that other implementations can read.

golden/texts.jsonl holds one text a line: `text`, `edit` (whose lines go: 1 C4, 2 RefinedWeb), `stats` (every column of
text_stats), `left` (the text after the edit), `broken` (rules that it breaks, all families asked) and `by_hand`: the
columns that were worked out by hand, with the working in `why`. golden/differences.jsonl holds the values of other
projects where they differ, by their own definitions, each with its name in DEFINITIONS.md.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from fasttrain.filter import rules
from fasttrain.filter.text_stats import NAMES, stats_and_edits
from fasttrain.text import columns
from filter import peers

OP = "text_stats"
FOLDER = Path(__file__).parent / "golden"
CASES = [json.loads(line) for line in (FOLDER / "texts.jsonl").read_text().splitlines()]
DIFFERENCES = [json.loads(line) for line in (FOLDER / "differences.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_text(case, impl):
    counts, edited = stats_and_edits(columns.from_texts([case["text"]]), np.array([case["edit"]], np.uint8), impl=impl)
    assert dict(zip(NAMES, counts[0].tolist())) == case["stats"]
    assert edited[0].decode() == case["left"]
    judged = rules.judge_all(counts, rules.RuleSet()).values()
    assert [r for v in judged for r, fails in zip(v.reasons, v.fails[0]) if fails] == case["broken"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_was_worked_by_hand_is_what_stands_there(case):
    assert {name: case["stats"][name] for name in case["by_hand"]} == case["by_hand"]
    assert case["why"]


def test_every_rule_is_broken_somewhere_and_nothing_is_broken_somewhere():
    counts = np.zeros((0, len(NAMES)), np.int64)
    known = {r for v in rules.judge_all(counts, rules.RuleSet()).values() for r in v.reasons}
    assert known - {r for case in CASES for r in case["broken"]} == {"gopher_quality:max_words"}  # 100,001 words
    assert any(not case["broken"] for case in CASES)
    covered = {name for case in CASES for name, value in case["stats"].items() if value}
    assert covered == set(NAMES)


@pytest.mark.parametrize("case", DIFFERENCES, ids=lambda case: f"{case['who']}-{case['what']}")
def test_difference(case):
    """Ours by our definition, theirs by theirs (peers.py says it in code): as written in the file, and not the same."""
    counts, _ = stats_and_edits(columns.from_texts([case["text"]]), np.zeros(1, np.uint8))
    ours = dict(zip(NAMES, counts[0].tolist()))
    assert peers.OURS[case["what"]](ours) == pytest.approx(case["ours"], abs=1e-12)
    assert peers.THEIRS[case["who"], case["what"]](case["text"]) == pytest.approx(case["theirs"], abs=1e-12)
    assert case["ours"] != pytest.approx(case["theirs"])
    definitions = (Path(rules.__file__).parent / "DEFINITIONS.md").read_text()
    assert f"| {case['named']} |" in definitions
