import math

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from eval.bytes_codec import TEXTS, Bytes, write
from fasttrain.core.errors import FormatError
from fasttrain.eval import baselines


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_distributions_sum_to_one(words):
    ngrams = baselines.Ngrams(6)  # word 5 is never seen
    words = np.array(words)
    ngrams.add(np.concatenate([[5], words[:-1]]), words)
    ngrams.finish()
    vocabulary = np.arange(6)
    assert ngrams.unigram(vocabulary).sum() == pytest.approx(1)
    for history in vocabulary:
        p = ngrams.bigram(np.full(6, history), vocabulary)
        assert p.sum() == pytest.approx(1)
        assert (p > 0).all()


def test_worked_by_hand():
    # "a b a b a c" after the end token e: pairs ea 1, ab 2, ba 2, ac 1 over the vocabulary {a, b, c, e}
    ngrams = baselines.Ngrams(4)
    ngrams.add(np.array([3, 0, 1, 0, 1, 0]), np.array([0, 1, 0, 1, 0, 2]))
    ngrams.finish()
    assert ngrams.discount == pytest.approx(2 / (2 + 2 * 2))  # two pairs seen once, two seen twice
    assert ngrams.unigram(np.array([0]))[0] == pytest.approx((3 + 0.5) / (6 + 2))
    lower_b = (1 + 0.5) / (4 + 2)  # b follows one history of four distinct pairs
    d = 1 / 3
    assert ngrams.bigram(np.array([0]), np.array([1]))[0] == pytest.approx((2 - d) / 3 + d * 2 / 3 * lower_b)
    assert ngrams.bigram(np.array([2]), np.array([1]))[0] == pytest.approx(lower_b)  # c was never a history


def test_counting_in_chunks_is_counting_at_once(tmp_path, monkeypatch):
    train = write(tmp_path, TEXTS)
    whole = baselines.score_ngrams(baselines.count(train, 257, 256, 10**9), train, 256)
    monkeypatch.setattr(baselines, "_CHUNK", 7)
    parts = baselines.score_ngrams(baselines.count(train, 257, 256, 10**9), train, 256)
    for name in ("unigram", "bigram"):
        assert parts[name]["all"].nll == pytest.approx(whole[name]["all"].nll, rel=1e-12)
        assert whole[name]["all"].tokens == sum(s.num_tokens for s in train.values())
    assert whole["bigram"]["all"].bpb < whole["unigram"]["all"].bpb < math.log2(257)


def test_the_first_token_follows_the_end_token(tmp_path):
    shard = write(tmp_path, {"s": ["ab", "cd"]})["s"]
    ((history, words),) = baselines._pairs(shard, 256, 1)
    assert history.tolist() == [256, 97, 98, 256, 99, 100]
    assert words.tolist() == [97, 98, 256, 99, 100, 256]


def test_counting_is_bounded(tmp_path):
    train = write(tmp_path, {"s": [f"document {i}" for i in range(100)]})
    total = train["s"].num_tokens
    assert baselines.count(train, 257, 256, total).words.sum() == total
    quarter = [len(f"document {i}") + 1 for i in range(0, 100, 4)]
    assert baselines.count(train, 257, 256, -(-total // 4)).words.sum() == sum(quarter)


def test_zstd_is_zstd(tmp_path):
    probe = write(tmp_path, TEXTS)
    scores = baselines.score_zstd(probe, Bytes(), 19)
    packed = zstandard.ZstdCompressor(level=19).compress("".join(TEXTS["code"]).encode())
    # The one-shot frame also stores the size of the content, which a stream does not know: at most 8 bytes.
    assert 0 <= 8 * len(packed) - scores["code"].bits <= 64
    assert scores["all"].bits == scores["code"].bits + scores["books"].bits
    assert scores["code"].perplexity is None


def test_another_tokenizer_is_found_out(tmp_path):
    class Lossy(Bytes):
        def decode(self, ids):
            return super().decode(ids).strip()

    with pytest.raises(FormatError, match="must decode to the .* bytes it was made of"):
        baselines.score_zstd(write(tmp_path, TEXTS), Lossy(), 3)
