import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.made_shards import shard
from fasttrain.batch.order import IGNORED
from fasttrain.batch.probe import probe_batches

LENGTHS = st.lists(st.integers(1, 30), max_size=12)


@given(LENGTHS, LENGTHS, st.integers(1, 20), st.integers(1, 5), st.integers(1, 4))
def test_every_probe_token_is_scored_exactly_once_by_some_rank(a, b, seq_len, batch, size):
    shards = {"b": shard(b, "b", 5000), "a": shard(a, "a", 1000)}
    scored = {0: [], 1: []}
    for rank in range(size):
        for got in probe_batches(shards, seq_len, batch, rank=rank, size=size):
            assert 1 <= len(got.tokens) <= batch
            for row in range(len(got.tokens)):
                targets = got.targets[row]
                scored[int(got.sources[row])] += targets[targets != IGNORED].tolist()
    assert sorted(scored[0]) == shards["a"].tokens.tolist()
    assert sorted(scored[1]) == shards["b"].tokens.tolist()


def test_by_hand():
    got = list(probe_batches({"s": shard([3, 2], "s", 1)}, 4, 8))
    assert len(got) == 1
    assert got[0].tokens.tolist() == [[5, 1, 2, 3], [4, 5, 0, 0]]  # 5 is the end-of-text token that closes the shard
    assert got[0].targets.tolist() == [[1, 2, 3, 4], [5, IGNORED, IGNORED, IGNORED]]
    assert got[0].segments.tolist() == [[0, 1, 1, 1], [0, 0, 1, 1]]


def test_boundaries_are_where_documents_begin():
    s = shard([3, 5, 1, 9, 4], "s", 1)
    for got in probe_batches({"s": s}, 6, 2):
        for row in range(len(got.tokens)):
            real = np.flatnonzero(got.tokens[row])
            begins = {i for i in real[1:].tolist() if got.segments[row, i] != got.segments[row, i - 1]}
            want = {i for i in real[1:].tolist() if got.tokens[row, i] - 1 in s.offsets}
            assert begins == want


def test_refuses():
    with pytest.raises(ValueError, match="rank must be in"):
        next(probe_batches({}, 1, 1, rank=1, size=1))
    with pytest.raises(ValueError, match="seq_len and batch must be >= 1"):
        next(probe_batches({}, 0, 1))
