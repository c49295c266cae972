"""Where tokens come from behind a normaliser, or added tokens with flags: as Hugging Face tokenizers says."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from fasttrain.text import columns
from fasttrain.tokenizer import Tokenizer, train_bpe
from fasttrain.tokenizer.added_split import FLAGS
from fasttrain.tokenizer.normalizers import Normalizer, character_extents
from tokenizer.scripts import SAMPLES, TEXT
from tokenizer.test_normalize import COMPANY
from tokenizer.test_normalizers import STEPS

PLAIN = train_bpe(SAMPLES * 4, vocab_size=420, special_tokens=("<|endoftext|>",))
FLAG_SETS = [frozenset(s) for n in range(5) for s in itertools.combinations(FLAGS, n)]
NAMES = ["<a>", "AQ", "b é", "éé", "__"]


def loaded(folder, normalizer, added=()):
    """(our tokenizer, theirs) with a normaliser and tokens: (content, flags)."""
    path = folder / "tokenizer.json"
    PLAIN.save(path)
    data = json.loads(path.read_text())
    data["normalizer"] = normalizer
    for k, (content, flags) in enumerate(added):
        row = {"id": 420 + k, "content": content, "special": False}
        data["added_tokens"].append(row | {flag: flag in flags for flag in FLAGS})
    path.write_text(json.dumps(data))
    return Tokenizer.load(path), HuggingFace.from_file(str(path))


@settings(max_examples=500)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=3),
    texts=st.lists(st.one_of(COMPANY, TEXT), min_size=1, max_size=3),
    adds_eot=st.booleans(),
)
def test_with_any_normaliser(tmp_path_factory, steps, texts, adds_eot):
    ours, theirs = loaded(tmp_path_factory.mktemp("n"), {"type": "Sequence", "normalizers": steps})
    texts = [text.replace("<|", "") for text in texts]
    check(ours, theirs, texts, allow_special=False, add_eot=adds_eot)


@settings(max_examples=400)
@given(
    normalizer=st.sampled_from([None, *STEPS[:6], {"type": "Replace", "pattern": {"String": "_"}, "content": "x y"},
                                {"type": "Prepend", "prepend": "▁"}]),
    tokens=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(FLAG_SETS)), min_size=1, max_size=4,
                    unique_by=lambda t: t[0]),
    texts=st.lists(
        st.lists(st.sampled_from([*NAMES, "<|endoftext|>", "e\u0301", " ", "\n", "Q",
                                  "漢", "\uac01", "ﬁ", ".", "\u0301"]),
                 max_size=9).map("".join),
        min_size=1, max_size=2),
    adds_eot=st.booleans(),
)  # fmt: skip
def test_with_added_tokens(tmp_path_factory, normalizer, tokens, texts, adds_eot):
    if normalizer and normalizer["type"] == "Replace":
        tokens = [t for t in tokens if t[0] != "__"]
    ours, theirs = loaded(tmp_path_factory.mktemp("a"), normalizer, tokens)
    check(ours, theirs, texts, allow_special=True, add_eot=adds_eot)


def check(ours, theirs, texts, *, allow_special, add_eot):
    ids, offsets = ours.encode_batch(texts, allow_special=allow_special, add_eot=add_eot)
    found = ours.spans(texts, ids, offsets, unit="characters")
    in_bytes = ours.spans(texts, ids, offsets)
    for n, text in enumerate(texts):
        wanted = theirs.encode(text)
        mine = slice(offsets[n], offsets[n + 1] - add_eot)
        assert ids[mine].tolist() == wanted.ids
        assert found[mine].tolist() == [list(span) for span in wanted.offsets], (text, wanted.tokens)
        place = np.cumsum([0, *(len(c.encode()) for c in text)])
        if ours._normalizer or ours._split:
            assert in_bytes[mine].tolist() == place[found[mine]].tolist()
        else:  # the token's own bytes, also where it is a part of a character
            data = text.encode()
            assert [data[a:b] for a, b in in_bytes[mine]] == [ours.vocabulary.tokens[i] for i in ids[mine]]
        if add_eot:
            assert found[offsets[n + 1] - 1].tolist() == [len(text)] * 2


def test_ids_of_other_texts_are_refused(tmp_path):
    ours, _ = loaded(tmp_path, {"type": "NFC"}, [("<a>", frozenset({"lstrip"}))])
    for text, allowed in (("abc", False), ("x <a> y", True)):
        ids, offsets = ours.encode_batch([text], allow_special=allowed)
        for other in ([text + "z"], [""], [text, text], ["z" + text[1:] + "<a>"]):
            with pytest.raises(ValueError, match="spans: ids must be those of the texts, got others"):
                ours.spans(other, ids, offsets)


@given(st.lists(st.one_of(st.binary(max_size=6), TEXT.map(str.encode)), max_size=4))
def test_extents_of_characters(texts):
    first, last = character_extents(columns.from_texts(texts))
    wanted = []
    for raw in texts:
        at = 0
        for c in raw.decode("utf-8", "surrogateescape"):
            size = len(c.encode("utf-8", "surrogateescape"))
            wanted += [(at, at + size)] * size
            at += size
    assert list(zip(first.tolist(), last.tolist())) == wanted


def test_worked_by_hand():
    made = Normalizer({"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": " +"}, "content": "__"}]}, "t").aligned(
        columns.from_texts(["e\u0301  x", "y"]))  # fmt: skip
    assert made.column.data.tobytes() == "é__xy".encode()
    assert list(zip(made.first.tolist(), made.last.tolist())) == [(0, 1), (0, 1), (4, 5), (4, 5), (5, 6), (0, 1)]
    assert made.extent(2, 5) == (4, 6)
