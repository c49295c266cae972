import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import bpe_dropout_ref, train_bpe
from fasttrain.tokenizer.bpe_dropout import bpe_dropout
from fasttrain.tokenizer.bpe_encode import BpeModel, bpe_encode
from tokenizer.scripts import SAMPLES, TEXT

OP = "bpe_dropout"
EOT = "<|endoftext|>"
TOKENIZER = train_bpe([s * 3 for s in SAMPLES] + ["aaaa aaab abab bcbc abcabc " * 5], vocab_size=420)
MODEL = TOKENIZER._model
SEEDS = st.integers(0, (1 << 64) - 1)


def tiny(*merges):
    """Bytes are their own ids; merge k gives 256 + k."""
    return BpeModel(
        tokens=(),
        pairs=np.array(merges, np.uint32).reshape(-1, 2),
        ranks=np.arange(len(merges), dtype=np.uint32),
        id_of_rank=np.arange(256, 256 + len(merges), dtype=np.uint32),
        byte_ids=np.arange(256, dtype=np.uint32),
        pattern="gpt2",
    )


def test_by_hand(impl):
    """`abc` with a+b first, then b+c, ab+c: the outcomes are those of the four draws that can be asked."""
    a, b, c = b"abc"
    model = tiny((a, b), (b, c), (256, c))
    outcomes = {}
    for seed in range(200):
        key = bpe_dropout_ref.text_key(seed, 0)
        half = 1 << 52
        ab, bc, abc = (bpe_dropout_ref.draw(key, *place) >= half for place in ((0, 0), (1, 0), (0, 1)))
        wanted = ([258] if abc else [256, c]) if ab else [a, 257] if bc else [a, b, c]
        got, _ = bpe_dropout(model, columns.from_texts(["abc"]), dropout=0.5, seed=seed, impl=impl)
        assert got.tolist() == wanted
        outcomes[tuple(wanted)] = outcomes.get(tuple(wanted), 0) + 1
    assert len(outcomes) == 4


def test_the_draws_are_those_of_splitmix():
    """The first outputs of splitmix64 from state 0, as its authors publish them."""
    state = [k * 0x9E3779B97F4A7C15 & ((1 << 64) - 1) for k in range(3)]
    assert [bpe_dropout_ref.mix(s) for s in state] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.lists(TEXT, max_size=4), st.floats(0, 1), SEEDS, st.integers(0, 1 << 40), st.booleans())
def test_native_equals_the_reference(texts, dropout, seed, first, has_eot):
    options = {"dropout": dropout, "seed": seed, "first_text": first, "eot": 0 if has_eot else None}
    column = columns.from_texts([*texts, f"a{EOT} aaab{EOT}"])
    wanted = bpe_dropout(MODEL, column, impl="reference", finds_added=True, **options)
    got = bpe_dropout(MODEL, column, finds_added=True, **options)
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_array_equal(got[1], wanted[1])


@given(st.text(st.sampled_from("ab é漢"), max_size=300), st.sampled_from([0.05, 0.5, 0.95]), SEEDS)
def test_long_pieces_equal_the_reference(text, dropout, seed):
    column = columns.from_texts([text])
    wanted = bpe_dropout(MODEL, column, dropout=dropout, seed=seed, impl="reference")[0]
    np.testing.assert_array_equal(bpe_dropout(MODEL, column, dropout=dropout, seed=seed)[0], wanted)


@given(st.lists(TEXT, max_size=4), st.floats(0, 1), SEEDS)
def test_every_text_comes_back(texts, dropout, seed):
    ids, offsets = TOKENIZER.encode_batch(texts, dropout=dropout, seed=seed)
    assert TOKENIZER.decode_batch(ids, offsets) == texts


@given(TEXT, SEEDS)
def test_none_dropped_are_the_ordinary_ids_and_all_dropped_the_bytes(text, seed):
    column = columns.from_texts([text])
    ordinary = bpe_encode(MODEL, column)[0].tolist()
    assert bpe_dropout(MODEL, column, dropout=0.0, seed=seed)[0].tolist() == ordinary
    assert TOKENIZER.encode_batch([text], seed=seed)[0].tolist() == ordinary
    every = bpe_dropout(MODEL, column, dropout=1.0, seed=seed)[0]
    assert every.tolist() == [MODEL.byte_ids[b] for b in text.encode()]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_batches_and_the_cache_change_no_id(threads):
    texts = ["", *SAMPLES * 9, "", "aaab" * 100]
    column = columns.from_texts(texts)
    options = {"dropout": 0.2, "seed": 11}
    whole, offsets = bpe_dropout(MODEL, column, threads=1, **options)
    bpe_encode(MODEL, column)  # fills the caches that dropout must not ask
    for cut in (0, 1, 7, len(texts)):
        for part, first in (
            (TextColumn(column.data, column.offsets[: cut + 1]), 0),
            (TextColumn(column.data, column.offsets[cut:]), cut),
        ):
            ids, at = bpe_dropout(MODEL, part, threads=threads, first_text=first, **options)
            np.testing.assert_array_equal(ids, whole[offsets[first] : offsets[first + len(part)]])
            np.testing.assert_array_equal(at, offsets[first : first + len(part) + 1] - offsets[first])


def test_seeds_and_numbers_of_texts_give_other_ids():
    text = " ".join(SAMPLES)
    rows = [TOKENIZER.encode_batch([text, text], dropout=0.3, seed=s) for s in (1, 2)]
    found = {tuple(ids[a:b]) for ids, at in rows for a, b in ((at[0], at[1]), (at[1], at[2]))}
    assert len(found) == 4


@pytest.mark.parametrize("dropout", [0.05, 0.3, 0.9])
def test_merges_are_dropped_with_the_probability(dropout):
    """Words of one merge: each is a trial of its own. Bounds of four sigma of the binomial distribution."""
    n = 20_000
    for texts in (["ab " * n], ["ab"] * n):
        ids = bpe_dropout(tiny(tuple(b"ab")), columns.from_texts(texts), dropout=dropout, seed=0x5EED)[0]
        made = int((ids == 256).sum())
        assert abs(n - made - n * dropout) < 4 * math.sqrt(n * dropout * (1 - dropout))


def test_a_dropped_merge_is_drawn_again_at_the_next_step():
    """abcd with a+b before c+d: a merge that was dropped while the other was made has a second chance."""
    n, p = 20_000, 0.4
    a, b, c, d = b"abcd"
    ids = bpe_dropout(tiny((a, b), (c, d)), columns.from_texts(["abcd"] * n), dropout=p, seed=99)[1]
    both = int((np.diff(ids) == 2).sum())
    share = (1 - p) * (1 - p) + p * (1 - p) * (1 - p)  # a+b then c+d; c+d while a+b is dropped, then a+b
    assert abs(both - n * share) < 4 * math.sqrt(n * share * (1 - share))


def test_of_a_piece_of_half_a_megabyte():
    column = columns.from_texts(["a" * 500_000])
    ids, _ = bpe_dropout(MODEL, column, dropout=0.1, seed=1, threads=1)  # quadratic would be minutes
    assert TOKENIZER.decode_bytes(ids) == b"a" * 500_000


def test_added_tokens_stay_whole():
    ids = TOKENIZER.encode_batch([f"ab{EOT}"], dropout=1.0, allow_special=True, add_eot=True)[0].tolist()
    assert ids == [*(MODEL.byte_ids[b] for b in b"ab"), TOKENIZER.eot_id, TOKENIZER.eot_id]


@pytest.mark.parametrize("dropout", [-0.1, 1.1, math.nan, "0.1", True])
def test_refuses_what_is_no_probability(dropout):
    for call in (
        lambda: TOKENIZER.encode_batch(["a"], dropout=dropout),
        lambda: bpe_dropout(MODEL, columns.from_texts(["a"]), dropout=dropout, seed=0),
    ):
        with pytest.raises(ValueError, match="dropout must be a probability from 0 to 1, got"):
            call()


def test_refuses():
    column = columns.from_texts(["a"])
    with pytest.raises(ValueError, match="seed must be a whole number from 0 to 18446744073709551615, got -1"):
        TOKENIZER.encode_batch(["a"], dropout=0.1, seed=-1)
    with pytest.raises(ValueError, match="first_text must be a whole number from 0"):
        bpe_dropout(MODEL, column, dropout=0.1, seed=0, first_text=-1)
    with pytest.raises(ValueError, match="eot must be an id up to 2097150, got -1"):
        bpe_dropout(MODEL, column, dropout=0.1, seed=0, eot=-1)
    with pytest.raises(TypeError, match="data must have dtype uint8, got int8"):
        bpe_dropout(MODEL, TextColumn(np.zeros(3, np.int8), np.array([0, 3])), dropout=0.1, seed=0)
    with pytest.raises(ValueError, match="impl 'avx9' cannot run here"):
        bpe_dropout(MODEL, column, dropout=0.1, seed=0, impl="avx9")
