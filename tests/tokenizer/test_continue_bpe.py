from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.text.columns import from_texts
from fasttrain.tokenizer.bpe_train import bpe_train
from fasttrain.tokenizer.continue_bpe import continue_bpe

BYTES = [bytes([b]) for b in range(256)]


def naive(words, counts, tokens, new_ids, min_frequency):
    """Every count made anew before each merge."""
    spelled, symbols, merges = dict(enumerate(tokens)), [list(w) for w in words], []
    for new in new_ids:
        total = Counter()
        for word, count in zip(symbols, counts):
            for pair in pairwise(word):
                total[pair] += count
        known = set(spelled.values())
        total = {p: c for p, c in total.items() if c >= min_frequency and spelled[p[0]] + spelled[p[1]] not in known}
        if not total:
            break
        pair = min(total, key=lambda p: (-total[p], p))
        spelled[new] = spelled[pair[0]] + spelled[pair[1]]
        merges.append((*pair, new))
        for word in symbols:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == pair:
                    word[i : i + 2] = [new]
                i += 1
    return merges


WORDS = st.dictionaries(st.text("abc", min_size=2, max_size=12), st.integers(1, 9), max_size=12)


@given(WORDS, st.integers(1, 3))
def test_equals_counting_anew_before_each_merge(table, min_frequency):
    words, counts = [list(w.encode()) for w in table], list(table.values())
    wanted = naive(words, counts, BYTES, range(256, 280), min_frequency)
    assert continue_bpe(words, counts, tokens=BYTES, new_ids=range(256, 280), min_frequency=min_frequency) == wanted


@given(WORDS)
def test_going_on_from_the_bytes_is_training(table):
    """As far as the trainer learns no second merge for a token, which is what continuing refuses."""
    column = from_texts(table)
    counted = np.array(list(table.values()), np.int64)
    pairs, ids = bpe_train(column.data.astype(np.uint32), column.offsets, counted, tokens=BYTES, vocab_size=276)
    trained = [(*pair, i) for pair, i in zip(pairs.tolist(), ids.tolist())]
    repeated = next((k for k, m in enumerate(trained) if m[2] != 256 + k), len(trained))
    words, counts = [list(w.encode()) for w in table], list(table.values())
    made = continue_bpe(words, counts, tokens=BYTES, new_ids=range(256, 276), min_frequency=0)
    assert made[:repeated] == trained[:repeated]


@pytest.mark.parametrize("whole_words", [False, True])
def test_worked_by_hand(whole_words):
    # Tokens a, b, c, ab = 0..3. Words: ab c (x5), c c (x3), ab c c (x2).
    # Pairs: (ab, c) 7, (c, c) 5. Merge abc = 4; then (c, c) 3, (abc, c) 2.
    words, counts, tokens = [[3, 2], [2, 2], [3, 2, 2]], [5, 3, 2], [b"a", b"b", b"c", b"ab"]
    made = continue_bpe(words, counts, tokens=tokens, new_ids=[4, 5, 6, 7], min_frequency=2, whole_words=whole_words)
    assert made == [(3, 2, 4), (2, 2, 5), (4, 2, 6)]


def test_a_pair_that_spells_a_token_or_a_taken_name_does_not_merge():
    tokens = [b"a", b"b", b"ab"]
    assert continue_bpe([[0, 1]], [9], tokens=tokens, new_ids=[3]) == []
    assert continue_bpe([[1, 0]], [9], tokens=tokens, new_ids=[3], taken=frozenset([b"ba"])) == []
    assert continue_bpe([[1, 0]], [9], tokens=tokens, new_ids=[3]) == [(1, 0, 3)]


def test_a_word_that_became_a_token_takes_part_no_more():
    # Tokens a, b, aa, ab, x, c = 0..5. Words: "aabc" cut a ab c (x4), "xaabc" cut x aa b c (x9). The second one makes
    # bc, then aabc: where a word that is a token is that token, the first word has nothing left to merge.
    tokens = [b"a", b"b", b"aa", b"ab", b"x", b"c"]
    words, counts = [[0, 3, 5], [4, 2, 1, 5]], [4, 9]
    made = [(1, 5, 6), (2, 6, 7), (4, 7, 8)]
    assert continue_bpe(words, counts, tokens=tokens, new_ids=range(6, 12), whole_words=True) == made
    assert continue_bpe(words, counts, tokens=tokens, new_ids=range(6, 12)) == [*made, (0, 3, 9)]


def test_without_words_nothing_is_learnt():
    assert continue_bpe([], [], tokens=BYTES, new_ids=[256]) == []
