"""Added tokens with flags, alone and beside a normaliser, against Hugging Face tokenizers."""

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer import Tokenizer, normalize_tables, train_bpe
from fasttrain.tokenizer.added_split import FLAGS
from tokenizer.scripts import SAMPLES

PLAIN = train_bpe(SAMPLES * 4, vocab_size=400, special_tokens=("<|endoftext|>",))
NORMALIZERS = [None, {"type": "Lowercase"}, {"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
               {"type": "Strip", "strip_left": True, "strip_right": True}]  # fmt: skip
NAMES = ["<a>", "<ab>", "AQ", "abq", "éé", "b é", "<|x", "x|>", "\u00a0", "__", " \n"]  # none is of the vocabulary
PARTS = [
    *NAMES,
    "é",
    "_",
    "Q",
    " ",
    "  ",
    "\n",
    "\t",
    "a",
    "B",
    "<",
    ">",
    "|",
    "x",
    "e\u0301",
    "\u200d",
    "1",
    ".",
    "漢",
    "\x1c",
]


def written(folder, tokens, normalizer=None):
    """A tokenizer.json with `tokens`: (content, flags, special), loaded by both."""
    path = folder / "tokenizer.json"
    PLAIN.save(path)
    data = json.loads(path.read_text())
    data["normalizer"] = normalizer
    for k, (content, flags, special) in enumerate(tokens):
        row = {"id": 400 + k, "content": content, "special": special}
        data["added_tokens"].append(row | {flag: flag in flags for flag in FLAGS})
    path.write_text(json.dumps(data))
    return path


FLAG_SETS = [frozenset(s) for n in range(5) for s in itertools.combinations(FLAGS, n)]
TOKENS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(FLAG_SETS), st.booleans()),
    min_size=1,
    max_size=5,
    unique_by=lambda t: t[0].lower(),
)


@settings(max_examples=400)
@given(tokens=TOKENS, normalizer=st.sampled_from(NORMALIZERS), data=st.data())
def test_ids_equal_theirs(tmp_path_factory, tokens, normalizer, data):
    if normalizer and normalizer["type"] in ("Strip", "Prepend"):  # a token of spaces alone is nothing, refused below
        tokens = [t for t in tokens if t[0].strip()]
    path = written(tmp_path_factory.mktemp("added"), tokens, normalizer)
    ours, theirs = Tokenizer.load(path), HuggingFace.from_file(str(path))
    for _ in range(5):
        text = "".join(data.draw(st.lists(st.sampled_from(PARTS), max_size=14)))
        wanted = theirs.encode(text).ids
        assert ours.encode(text, allow_special=True).tolist() == wanted, (text, tokens)
    ours.save(path)
    assert Tokenizer.load(path).fingerprint == ours.fingerprint
    assert HuggingFace.from_file(str(path)).encode(text).ids == wanted


def test_batches_with_ends(tmp_path):
    ours = Tokenizer.load(written(tmp_path, [("<a>", {"lstrip", "rstrip"}, True)]))
    texts = ["", "x <a> y", "<a>", "plain"]
    ids, offsets = ours.encode_batch(texts, add_eot=True, allow_special=True)
    rows = [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)]
    assert rows == [[*ours.encode(t, allow_special=True).tolist(), ours.eot_id] for t in texts]
    assert rows[1] == [*ours.encode("x"), 400, *ours.encode("y"), ours.eot_id]
    assert ours.encode_batch([], allow_special=True)[0].tolist() == []
    assert ours.encode_batch(texts)[0].tolist() == PLAIN.encode_batch(texts)[0].tolist()  # a text is text


@given(
    tokens=TOKENS, normalizer=st.sampled_from(NORMALIZERS), texts=st.data(), dropout=st.sampled_from([0.1, 0.5, 1.0])
)
def test_dropout_leaves_added_tokens_whole(tmp_path_factory, tokens, normalizer, texts, dropout):
    """What lies between them has the ids of its place in its text."""
    if normalizer and normalizer["type"] in ("Strip", "Prepend"):
        tokens = [t for t in tokens if t[0].strip()]
    ours = Tokenizer.load(written(tmp_path_factory.mktemp("added"), tokens, normalizer))
    drawn = ["".join(texts.draw(st.lists(st.sampled_from([*PARTS, "Hello the end "]), max_size=9))) for _ in range(3)]
    options = {"dropout": dropout, "seed": 5, "allow_special": True}
    ids, offsets = ours.encode_batch(drawn, first_text=7, add_eot=True, **options)
    reference = ours.encode_batch(drawn, first_text=7, add_eot=True, impl="reference", **options)
    assert (ids.tolist(), offsets.tolist()) == tuple(part.tolist() for part in reference)
    alone = ours.encode_batch(drawn[1:], first_text=8, add_eot=True, threads=3, **options)[0]
    assert ids[offsets[1] :].tolist() == alone.tolist()
    plain, at = ours.encode_batch(drawn, add_eot=True, allow_special=True)
    added = set(ours.special_tokens.values())
    for (a, b), (c, d) in zip(itertools.pairwise(offsets), itertools.pairwise(at)):
        assert [i for i in ids[a:b].tolist() if i in added] == [i for i in plain[c:d].tolist() if i in added]
        assert ours.decode_bytes(ids[a:b]) == ours.decode_bytes(plain[c:d])


def test_dropout_beside_flags_that_take_nothing_is_that_without_flags(tmp_path):
    """Such tokens are cut by another path, which must give every part the same draws."""
    flagged = Tokenizer.load(written(tmp_path, [("<a>", {"lstrip"}, True), ("éé", set(), True)]))
    texts = [s + "<a>" + s for s in SAMPLES] + ["x<a>the<a>éé<a>end"]
    bare = Tokenizer.load(written(tmp_path, [("<a>", set(), True), ("éé", set(), True)]))
    assert flagged._split is not None
    assert bare._split is None
    texts = [t for t in texts if not re.search(r"\s<a>", t)]
    for seed in range(5):
        options = {"dropout": 0.4, "seed": seed, "first_text": 3, "allow_special": True}
        ids, offsets = flagged.encode_batch(texts, **options)
        wanted = bare.encode_batch(texts, **options)
        assert (ids.tolist(), offsets.tolist()) == tuple(part.tolist() for part in wanted)
    with pytest.raises(ValueError, match="first_text must be a whole number from 0"):
        flagged.encode_batch(["a"], **options | {"first_text": -1})


def test_every_character_beside_a_single_word(tmp_path):
    path = written(tmp_path, [("<a>", {"single_word"}, False)])
    ours, theirs = Tokenizer.load(path), HuggingFace.from_file(str(path))
    chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for k in range(0, len(chars), 100_000):
        text = "".join(f"{c}<a>." for c in chars[k : k + 100_000])
        assert ours.encode(text, allow_special=True).tolist() == theirs.encode(text).ids
    assert normalize_tables.WORD.split()[0] == "30-39"


def test_refuses_tokens_that_are_found_alike_or_as_nothing(tmp_path):
    alike = [("Ab", {"normalized"}, False), ("aB", {"normalized"}, False)]
    with pytest.raises(FormatError, match="added token 'aB' is found as 'ab', as no or another token is"):
        Tokenizer.load(written(tmp_path, alike, NORMALIZERS[1]))
    with pytest.raises(FormatError, match="added token ' ' is found as ''"):
        Tokenizer.load(written(tmp_path, [(" ", {"normalized"}, False)], NORMALIZERS[4]))
