"""bzip2 in pieces: everything before a damaged place comes, streams follow each other, a cut one is told as such."""

import bz2
import random

import pytest

from fasttrain.corpus import streams
from fasttrain.corpus.streams import Damaged, chunks


def decoded(path):
    """(what came, kind of damage or "", its position)."""
    got = b""
    try:
        for piece in chunks(path):
            assert len(piece) <= streams._STEP
            got += piece
    except Damaged as damage:
        return got, damage.kind, damage.position
    return got, "", len(got)


@pytest.fixture
def read(tmp_path):
    def inner(data):
        (tmp_path / "a.bz2").write_bytes(data)
        return decoded(tmp_path / "a.bz2")

    return inner


TEXT = b"".join(b"Line %d of a text, %d.\n" % (i, i * i) for i in range(40_000))  # 12 blocks at level 1
PACKED = bz2.compress(TEXT, 1)


def given_by(packed):
    """produced[n]: bytes that are decoded once the first n bytes of `packed` are known."""
    decoder, produced = bz2.BZ2Decompressor(), [0]
    for i in range(len(packed)):
        produced.append(produced[-1] + len(decoder.decompress(packed[i : i + 1])))
    return produced


def test_streams_follow_each_other(read):
    packed = bz2.compress(TEXT[:1000]) + bz2.compress(b"") + bz2.compress(TEXT[1000:])
    assert read(packed) == (TEXT, "", len(TEXT))
    assert read(bz2.compress(b"")) == (b"", "", 0)


def test_a_bomb_comes_in_small_pieces(read):
    got, kind, _ = read(bz2.compress(bytes(50_000_000)))
    assert (len(got), kind) == (50_000_000, "")


@pytest.mark.parametrize("streams_before", [0, 2])
def test_cut_anywhere_it_is_truncated_and_gives_what_it_can(read, streams_before):
    head = bz2.compress(b"before") * streams_before
    produced = given_by(PACKED)
    for cut in [5, 12, *random.Random(streams_before).sample(range(20, len(PACKED)), 20), len(PACKED) - 1]:
        got, kind, position = read(head + PACKED[:cut])
        assert kind == "truncated"
        assert got == b"before" * streams_before + TEXT[: produced[cut]]
        assert position == len(got)


def test_overwritten_anywhere_all_before_comes(read):
    produced = given_by(PACKED)
    for at in random.Random(3).sample(range(20, len(PACKED) - 20), 30):
        got, kind, _ = read(bz2.compress(b"x") + PACKED[:at] + b"\x55\xaa\x55\xaa" + PACKED[at + 4 :])
        assert kind == "corrupt"
        assert got[1 : produced[at] + 1] == TEXT[: produced[at]]


def test_garbage_behind_a_stream_is_damage_behind_all_of_it(read):
    assert read(PACKED + b"garbage") == (TEXT, "corrupt", len(TEXT))
    block = bz2.compress(TEXT[:90_000], 1)[:-9]  # with its last bits; what follows begins no block
    assert read(block + b"\xff" * 20)[:2] == (TEXT[:90_000], "corrupt")


def test_what_only_looks_like_bzip2_is_plain(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"BZh9 is how such files begin")
    assert decoded(tmp_path / "a.txt") == (b"BZh9 is how such files begin", "", 28)
