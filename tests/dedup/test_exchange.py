"""Records go from parts to targets, whole, whatever the sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.dedup.exchange import Gather, Scatter, columns, mix, raw, save, spread
from fasttrain.formats.part import PartWriter


def written(folder, parts, targets, limit):
    """Files of Scatter for parts that are lists of batches of (value, target)."""
    for i, batches in enumerate(parts):
        with PartWriter(folder, "x", i) as writer:
            with Scatter(writer, ".r", 2, targets, limit) as out:
                for batch in batches:
                    value, target = np.array(batch, np.int64).reshape(-1, 2).T
                    out.add(columns(value, target), target)
            writer.close()
    return Gather([folder / "x" / f"part-{i:05d}" for i in range(len(parts))], ".r", 2)


@given(
    st.lists(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=9), max_size=4), max_size=4),
    st.integers(1, 12),
)
def test_a_target_gathers_all_that_was_sent_to_it(tmp_path_factory, parts, limit):
    gather = written(tmp_path_factory.mktemp("x"), parts, 5, limit)
    sent = [record for batches in parts for batch in batches for record in batch]
    for target in range(5):
        want = sorted(r for r in sent if r[1] == target)
        assert sorted(map(tuple, gather.read(target).tolist())) == want
        assert gather.count(target) == len(want)
        pieces = list(gather.pieces(target, 0, limit))
        assert sorted(tuple(r) for p in pieces for r in p.tolist()) == want
        values = [set(p[:, 0].tolist()) for p in pieces]
        assert sum(map(len, values)) == len(set().union(*values))
        assert sorted(map(tuple, gather.between(target, 0, 3, 7).tolist())) == [r for r in want if 3 <= r[0] < 7]
    assert sorted(tuple(r) for block in gather.all(3) for r in block.tolist()) == sorted(sent)


def test_pieces_are_about_as_large_as_asked(tmp_path):
    values = [[(v, 0) for v in range(at, at + 1000)] for at in range(0, 20000, 1000)]
    gather = written(tmp_path, [values[:10], values[10:]], 1, 4096)
    sizes = [len(p) for p in gather.pieces(0, 0, 2000)]
    assert sum(sizes) == 20000
    assert max(sizes) <= 2000
    # Keys that chose this target already still spread over its pieces.
    chosen = np.flatnonzero(spread(np.arange(80000, dtype=np.uint64), 4) == 0)
    gather = written(tmp_path / "again", [[[(v, 0) for v in chosen.tolist()]]], 1, 1 << 20)
    assert max(len(p) for p in gather.pieces(0, 0, 2000)) <= 2000


def test_a_part_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="died"), PartWriter(tmp_path, "x", 0) as writer:
        with Scatter(writer, ".r", 1, 2, 10) as out:
            out.add(np.zeros((3, 1), np.uint64), np.zeros(3, np.int64))
            raise RuntimeError("died")
    assert [p.name for p in (tmp_path / "x").iterdir()] == []


def test_mix_is_a_bijection_and_spreads_every_bit():
    keys = np.uint64(1) << np.arange(64, dtype=np.uint64)
    assert len(np.unique(mix(keys))) == 64
    counts = np.bincount(spread(np.arange(1 << 16, dtype=np.uint64) << np.uint64(40), 16), minlength=16)
    assert abs(counts - 4096).max() < 5 * 4096**0.5


def test_arrays_come_back_as_they_were(tmp_path):
    with PartWriter(tmp_path, "x", 3) as writer:
        save(writer, ".npy", np.arange(5))
        with writer.path(".raw", 2).open("wb") as file:
            np.arange(6, dtype=np.uint64).tofile(file)
        writer.path(".empty", 0).touch()
        writer.close()
    np.testing.assert_array_equal(np.load(tmp_path / "x" / "part-00003.npy"), np.arange(5))
    np.testing.assert_array_equal(raw(tmp_path / "x" / "part-00003.raw", np.uint64, (-1, 3)), [[0, 1, 2], [3, 4, 5]])
    assert raw(tmp_path / "x" / "part-00003.empty", np.uint64, (-1, 3)).shape == (0, 3)
