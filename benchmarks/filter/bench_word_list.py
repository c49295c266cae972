"""Workload: 2,000 pages of 4 KB of English prose against the built-in English list. Rival: RE2 by pyarrow's kernel, the
list as one alternation, longest first, which gives the same matches on ASCII."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fasttrain.filter import safety, word_list
from fasttrain.text import columns

OP = "word_list"
ENTRIES = word_list.read(safety.BUILT_IN / "en.txt")
LISTS = word_list.compile_lists([ENTRIES])
_DRAWS = random.Random(20261127)
_LINES = (
    "the whale sea of and a to in that his it with was harpoon chapter ship captain assembled classic therefore",
    "button analysis cocktail sussex scunthorpe titan shitake dickens title buttress sextant passage Ahab",
)
_WORDS = " ".join(_LINES).split()
_LISTED = sorted(e for e in ENTRIES if e.isascii())
TEXTS = [
    " ".join(_DRAWS.choice(_LISTED) if _DRAWS.random() < 0.002 else _DRAWS.choice(_WORDS) for _ in range(700))
    for _ in range(2000)
]
COLUMN = columns.from_texts(TEXTS)
WHICH = np.zeros(len(TEXTS), np.int32)
_EITHER = "|".join(
    "".join(c if c.isalnum() else r"[\s-]{1,4}" if c == " " else f"\\{c}" for c in e)
    for e in sorted(_LISTED, key=lambda e: (-len(e), e))
)
RIVAL = rf"(?i)\b(?:{_EITHER})\b"
ARROW = pa.array(TEXTS, pa.large_string())


def bench_word_list(benchmark, record, impl):
    n = 20 if impl == "reference" else len(TEXTS)
    column = columns.TextColumn(COLUMN.data, COLUMN.offsets[: n + 1])
    found = benchmark(word_list.word_list, column, WHICH[:n], LISTS, threads=1, impl=impl)
    assert found.sum() > 0
    record("MB_per_s", column.num_bytes / 1e6)


@pytest.mark.rival("pyarrow RE2")
def bench_rival_re2(benchmark, gate):
    def rival():
        return pc.count_substring_regex(ARROW, pattern=RIVAL)

    def ours():
        return word_list.word_list(COLUMN, WHICH, LISTS, threads=1)

    assert np.asarray(rival()).tolist() == ours().sum(axis=1).tolist()
    gate(rival, ours, 0.5)  # RE2 runs a DFA at memory speed; it knows no context
