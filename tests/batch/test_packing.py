import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.made_shards import shard
from fasttrain.batch import packing
from fasttrain.batch.packing import BestFit, Concat

LENGTHS = st.lists(st.integers(0, 40), max_size=40)


def ranges(sequences, i):
    owner, start, length = sequences.ranges(np.array([i]))
    assert (owner == 0).all()
    return list(zip(start.tolist(), length.tolist()))


def best_fit_by_the_book(lengths, window):
    """Rooms left in the bins, each piece placed by looking at every bin."""
    rooms = []
    for n in sorted(lengths, reverse=True):
        fitting = [r for r in rooms if r >= n]
        if fitting:
            rooms.remove(min(fitting))
            rooms.append(min(fitting) - n)
        else:
            rooms.append(window - n)
    return sorted(rooms)


@given(LENGTHS, st.integers(1, 17))
def test_best_fit_holds_every_token_exactly_once(lengths, seq_len):
    s = shard(lengths)
    packed = BestFit(s, seq_len)
    tokens = [t for i in range(packed.count) for start, n in ranges(packed, i) for t in range(start, start + n)]
    assert sorted(tokens) == list(range(s.num_tokens))
    for i in range(packed.count):
        assert 1 <= sum(n for _, n in ranges(packed, i)) <= seq_len + 1


@given(LENGTHS, st.integers(1, 17))
def test_best_fit_keeps_documents_whole_that_fit(lengths, seq_len):
    s = shard(lengths)
    packed = BestFit(s, seq_len)
    pieces = {start: n for i in range(packed.count) for start, n in ranges(packed, i)}
    for start, n in zip(s.offsets[:-1].tolist(), lengths):
        for done in range(0, n, seq_len + 1):
            assert pieces[start + done] == min(seq_len + 1, n - done)


@given(st.lists(st.integers(1, 40), max_size=80), st.integers(39, 60))
def test_best_fit_is_best_fit_decreasing(lengths, seq_len):
    packed = BestFit(shard(lengths), seq_len)
    rooms = sorted(seq_len + 1 - sum(n for _, n in ranges(packed, i)) for i in range(packed.count))
    assert rooms == best_fit_by_the_book(lengths, seq_len + 1)


def test_padding_is_rare_on_texts_of_many_lengths():
    rng = np.random.default_rng(7)
    lengths = np.minimum(rng.lognormal(5, 1, 4000).astype(int) + 1, 5000)
    s = shard(lengths.tolist())
    packed = BestFit(s, 512)
    assert s.num_tokens / (packed.count * 513) > 0.99


@given(st.integers(0, 200), st.integers(1, 30))
def test_concat_makes_every_token_but_the_first_a_target_once(num_tokens, seq_len):
    sequences = Concat(num_tokens, seq_len)
    targets, inputs = [], []
    for i in range(sequences.count):
        ((start, n),) = ranges(sequences, i)
        assert 2 <= n <= seq_len + 1
        targets += range(start + 1, start + n)
        inputs += range(start, start + min(n, seq_len))
    assert targets == list(range(1, num_tokens))
    assert len(set(inputs)) == len(inputs)
    assert set(inputs) >= set(range(num_tokens - 1))


def test_the_index_file_is_built_once_and_again_when_damaged(tmp_path, monkeypatch, caplog):
    s = shard([5, 9, 30, 2, 2])
    first = BestFit(s, 8, tmp_path)
    want = [ranges(first, i) for i in range(first.count)]
    (path,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(packing, "build_index", lambda *_: pytest.fail("the index file was there"))
        again = BestFit(s, 8, tmp_path)
    assert [ranges(again, i) for i in range(again.count)] == want
    whole = path.read_bytes()
    for damaged in (whole[:-8], whole[:20], whole[:8], b""):
        path.write_bytes(damaged)
        assert [ranges(BestFit(s, 8, tmp_path), i) for i in range(first.count)] == want
        assert path.read_bytes() == whole
    assert "built again" in caplog.text
    BestFit(s, 9, tmp_path)
    BestFit(shard([5, 9]), 8, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3, "another T or another shard has another index"
