"""tokenizer.json of a Unigram model, against Hugging Face tokenizers on the same file."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core import backend
from fasttrain.core.errors import FormatError
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import Tokenizer
from fasttrain.tokenizer.sentencepiece_json import to_json
from tokenizer.scripts import SAMPLES, TEXT
from tokenizer.sentencepiece_trained import trained

BYTES = [(f"<0x{b:02X}>", 0.0) for b in range(256)]
CHARS = [(c, -5.0) for c in "▁abche\n漢"]
PIECES = [
    ("ab", -6.0),
    ("▁a", -4.0),
    ("▁ab", -7.5),
    ("bc", -6.25),
    ("▁▁", -3.0),
    ("a▁b", -1.0),
    ("aa", -5.5),
    ("字x", -9.0),
]


def t5(charsmap):
    steps = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
    return normalizers.Sequence([normalizers.Precompiled(charsmap), *steps] if charsmap else steps)


def kinds(charsmap):
    meta = decoders.Metaspace()
    undone = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return {
        "t5": (t5(charsmap), pre_tokenizers.Metaspace(), meta),
        "xlm-r": (
            t5(charsmap),
            pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
            meta,
        ),
        "first": (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), undone),
        "whole": (normalizers.Replace(" ", "▁"), None, undone),
        "never": (None, pre_tokenizers.Metaspace(prepend_scheme="never"), decoders.Metaspace(prepend_scheme="never")),
    }


def made(rows, kind, charsmap=b"", byte_fallback=False):
    vocab = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *(BYTES if byte_fallback else []), *rows]
    theirs = HuggingFace(models.Unigram(vocab, 0, byte_fallback))
    normalizer, pre_tokenizer, decoder = kinds(charsmap)[kind]
    if normalizer is not None:
        theirs.normalizer = normalizer
    if pre_tokenizer is not None:
        theirs.pre_tokenizer = pre_tokenizer
    theirs.decoder = decoder
    theirs.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    theirs.add_tokens([AddedToken("<pad>", normalized=False)])
    return theirs


def opened(theirs, folder):
    path = folder / "tokenizer.json"
    theirs.save(str(path))
    return Tokenizer.load(path)


@pytest.fixture(scope="module")
def charsmap(tmp_path_factory):
    return trained("unigram", "nfkc", tmp_path_factory.mktemp("nfkc") / "m.model")[1].model.charsmap


@pytest.fixture(scope="module", params=kinds(b""))
def both(request, tmp_path_factory, charsmap):
    theirs = made(CHARS + PIECES, request.param, charsmap, byte_fallback=request.param == "first")
    return theirs, opened(theirs, tmp_path_factory.mktemp("json"))


def same(theirs, ours, texts):
    ids, offsets = ours.encode_batch(texts, allow_special=True)
    for text, (a, b) in zip(texts, itertools.pairwise(offsets)):
        wanted = theirs.encode(text, add_special_tokens=False).ids
        assert ids[a:b].tolist() == wanted, text
        assert ours.decode(wanted) == theirs.decode(wanted, skip_special_tokens=False)


def test_worked_by_hand(tmp_path):
    ours = opened(made(CHARS + PIECES, "t5"), tmp_path)
    # "▁▁" scores most, yet "▁" always begins a word; ▁a + bc (-10.25) is better than ▁ab + c (-12.5); 字 is unknown.
    assert [ours.model.pieces[i].decode() for i in ours.encode("abc ▁ 字字")] == ["▁a", "bc", "▁", "▁", "▁", "<unk>"]
    assert ours.decode(ours.encode("abc a")) == "abc a"


def test_ids_and_texts_equal_theirs(both):
    texts = [
        *SAMPLES,
        "a</s>b",
        "<s> ab",
        " </s> a",
        "x<pad> he<pad>",
        "▁a ▁",
        "ab" * 400,
        "e\u0301ﬁ\u0301 ①" * 20,
        "aaa" * 90,
    ]
    same(*both, texts)


@given(text=st.text("  ▁abche字漢x\n", max_size=50) | TEXT)
def test_any_text(both, text):
    same(*both, [text])


names = st.text("▁abé", min_size=1, max_size=4)


@given(
    rows=st.dictionaries(names, st.sampled_from([-1.5, -2.0, -3.0, -4.25, 0.1]), max_size=14),
    texts=st.lists(st.text(" abé", max_size=120), max_size=4),
    kind=st.sampled_from(sorted(kinds(b""))),
    byte_fallback=st.booleans(),
)
def test_any_pieces_in_every_implementation(tmp_path_factory, rows, texts, kind, byte_fallback):
    theirs = made([*rows.items(), *[("▁", -5.0)] * ("▁" not in rows)], kind, byte_fallback=byte_fallback)
    ours = opened(theirs, tmp_path_factory.mktemp("any"))
    texts = [*texts, *texts]
    wanted = [theirs.encode(t, add_special_tokens=False).ids for t in texts]
    for impl in backend.implementations("unigram"):
        for threads in (1, 2):
            ids, offsets = ours.encode_batch(texts, impl=impl, threads=threads)
            assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == wanted


@pytest.mark.parametrize("name", ["nfkc", "folded", "unknown", "bytes"])
def test_a_trained_model_written_as_one(name, tmp_path):
    processor, ours = trained("unigram", name, tmp_path / "m.model")
    (tmp_path / "tokenizer.json").write_text(json.dumps(to_json(ours.model, "m")))
    theirs, back = HuggingFace.from_file(str(tmp_path / "tokenizer.json")), Tokenizer.load(tmp_path)
    for text in SAMPLES:
        assert back.encode(text, allow_special=True).tolist() == theirs.encode(text, add_special_tokens=False).ids
    plain = [t for t in SAMPLES if not any(s in t for s in ("aa", "  "))]
    for text in plain:
        assert theirs.encode(text, add_special_tokens=False).ids == processor.encode(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(unk_id=None), "model.unk_id must be the id of a piece, got None"),
        (lambda m: m.update(unk_id=99), "model.unk_id must be the id of a piece, got 99"),
        (lambda m: m.update(vocab={}), "model.vocab must be a list"),
        (lambda m: m["vocab"].__setitem__(3, ["▁"]), r"model.vocab\[3\] must be a piece and its score"),
        (lambda m: m["vocab"].__setitem__(3, ["▁", float("nan")]), r"model.vocab\[3\] must be a piece and its score"),
        (lambda m: m["vocab"].append(["a", 1.0]), "'a' is there already"),
        (lambda m: m["vocab"].__setitem__(3, ["z", 1.0]), "model.vocab must hold '▁'"),
        (lambda m: m.update(byte_fallback=True), "all 256 bytes"),
    ],
)
def test_what_is_not_known_is_refused_with_its_key(tmp_path, change, words):
    data = json.loads(made(CHARS, "t5").to_str())
    change(data["model"])
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(FormatError, match=words):
        Tokenizer.load(tmp_path)


def test_older_files_of_metaspace(tmp_path):
    data = json.loads(made(CHARS + PIECES, "t5").to_str())
    for part in ("pre_tokenizer", "decoder"):
        data[part] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    same(HuggingFace.from_file(str(tmp_path / "tokenizer.json")), Tokenizer.load(tmp_path), SAMPLES)


def test_texts_that_need_no_map_are_encoded_alike(both):
    theirs, ours = both
    column = from_texts(SAMPLES)
    assert ours.encode_batch(column)[0].tolist() == [i for t in SAMPLES for i in theirs.encode(t).ids]
