"""tokenizer.json of characters with byte fallback, against Hugging Face tokenizers on the same file."""

import itertools
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core import backend
from fasttrain.core.errors import FormatError
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import Tokenizer
from fasttrain.tokenizer.json_pieces import JsonPieceTokenizer
from tokenizer.scripts import SAMPLES, TEXT

BYTES = [f"<0x{b:02X}>" for b in range(256)]
MERGES = [("▁", "a"), ("a", "b"), ("▁a", "b"), ("b", "c"), ("▁", "▁"), ("ab", "c"), ("a", "bc"), ("▁▁", "▁▁"),
          ("l", "l"), ("h", "e"), ("he", "ll"), ("漢", "字"), ("é", "a"), ("</", "s>"), ("<", "/"),
          ("s", ">")]  # fmt: skip
CHARS = "▁abcdehlost</>漢字é\n"
LLAMA = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
UNDONE = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
KINDS = {
    "llama": (LLAMA, None, 1),
    "gemma": (normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), 0),
    "always": (None, pre_tokenizers.Metaspace(prepend_scheme="always", split=False), 1),
    "first": (normalizers.NFKC(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False), 1),
    "never": (None, pre_tokenizers.Metaspace(prepend_scheme="never", split=False), 0),
    "split": (LLAMA, pre_tokenizers.Split("▁", "merged_with_next"), 1),
    "metaspace": (normalizers.Strip(left=False, right=True), pre_tokenizers.Metaspace(), 1),
    "folded": (normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Prepend("▁"),
                                     normalizers.Replace(" ", "▁")]), None, 1),
}  # fmt: skip


def made(merges=MERGES, kind="llama", added=("<pad>",)):
    """A tokenizer of theirs; `added`: more tokens than the special ones."""
    names = ["<unk>", "<s>", "</s>", *BYTES, *CHARS]
    names += [n for n in dict.fromkeys(a + b for a, b in merges) if n not in names]
    vocab = {name: i for i, name in enumerate(names)}
    kept = [m for m in merges if m[0] in vocab and m[1] in vocab]
    theirs = HuggingFace(models.BPE(vocab, kept, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    normalizer, pre_tokenizer, strips = KINDS[kind]
    if normalizer is not None:
        theirs.normalizer = normalizer
    if pre_tokenizer is not None:
        theirs.pre_tokenizer = pre_tokenizer
    theirs.decoder = decoders.Sequence(UNDONE + [decoders.Strip(" ", 1, 0)] * strips)
    theirs.add_special_tokens([AddedToken(t, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    theirs.add_tokens([AddedToken(t, normalized=False) if isinstance(t, str) else t for t in added])
    return theirs


def opened(theirs, tmp_path_factory, change=None):
    path = tmp_path_factory.mktemp("json") / "tokenizer.json"
    theirs.save(str(path))
    if change:
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
    return Tokenizer.load(path)


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    theirs = made(kind=request.param)
    return theirs, opened(theirs, tmp_path_factory)


def same(theirs, ours, texts):
    ids, offsets = ours.encode_batch(texts, allow_special=True)
    for text, (a, b) in zip(texts, itertools.pairwise(offsets)):
        wanted = theirs.encode(text, add_special_tokens=False).ids
        assert ids[a:b].tolist() == wanted, text
        assert ours.decode(wanted) == theirs.decode(wanted, skip_special_tokens=False)
        assert ours.decode(wanted, skip_special=True) == theirs.decode(wanted, skip_special_tokens=True)


def test_worked_by_hand(tmp_path_factory):
    ours = opened(made(), tmp_path_factory)
    # "▁abc": ▁+a comes first, then ▁a+b; a+b is listed before, but a is gone.
    assert [ours.model.pieces[i].decode() for i in ours.encode("abc é€")] == [
        "▁ab", "c", "▁", "é", "<0xE2>", "<0x82>", "<0xAC>",
    ]  # fmt: skip
    assert ours.decode(ours.encode("abc é€")) == "abc é€"
    assert isinstance(ours, JsonPieceTokenizer)
    assert (ours.num_merges, ours.eot_id) == (len(MERGES) - 1, 2)  # the merge to </s> is none


def test_ids_and_texts_equal_theirs(both):
    theirs, ours = both
    texts = [*SAMPLES, "a</s>b", "<s> ab", " </s>", "x<pad> hello<pad>", "▁a ▁", "ab" * 400, "漢字€" * 90]
    same(theirs, ours, texts)


@given(text=st.text("  ▁abchel漢字é€</s>\n", max_size=60) | TEXT)
def test_any_text(both, text):
    same(*both, [text])


@given(ids=st.lists(st.integers(0, 300), max_size=12))
def test_any_ids_decode_as_theirs(both, ids):
    theirs, ours = both
    ids = [i for i in ids if i < ours.vocab_size]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_a_text_is_text_without_special_tokens(both):
    _, ours = both
    assert not set(ours.encode("a</s><s>").tolist()) & set(ours.special_tokens.values())
    ids, offsets = ours.encode_batch(["ab", ""], add_eot=True)
    assert ids.tolist() == [*ours.encode("ab").tolist(), ours.eot_id, ours.eot_id]
    assert offsets.tolist() == [0, len(ids) - 1, len(ids)]


names = st.text("▁abc", min_size=1, max_size=3)


@given(
    merges=st.lists(st.tuples(names, names), max_size=14),
    texts=st.lists(st.text(" abcé", max_size=200), max_size=4),
)
def test_any_list_of_merges_in_every_implementation(tmp_path_factory, merges, texts):
    theirs = made(merges)
    ours = opened(theirs, tmp_path_factory)
    texts = [*texts, *(t * 9 for t in texts)]
    wanted = [theirs.encode(t, add_special_tokens=False).ids for t in texts]
    normal = from_texts([("▁" + t if t else t).replace(" ", "▁") for t in texts])
    for impl in backend.implementations("sentencepiece_bpe"):
        if impl == "reference" and max(map(len, texts), default=0) > 500:
            continue  # cubic
        for threads in (1, 2):
            ids, offsets = ours.encode_normalized(normal, impl=impl, threads=threads)
            assert [ids[a:b].tolist() for a, b in itertools.pairwise(offsets)] == wanted


def test_it_is_saved_as_it_was_and_pickled(both, tmp_path):
    theirs, ours = both
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == ours.fingerprint
    assert pickle.loads(pickle.dumps(ours)).encode("ab c").tolist() == again.encode("ab c").tolist()
    assert HuggingFace.from_file(str(tmp_path / "tokenizer.json")).get_vocab() == theirs.get_vocab()


def at(*keys, value):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (at("model", "dropout", value=0.1), "model.dropout must be None, got 0.1"),
        (at("model", "ignore_merges", value=True), "model.ignore_merges must be False, got True"),
        (at("model", "end_of_word_suffix", value="</w>"), "model.end_of_word_suffix must be None"),
        (at("model", "vocab", "<0x00>", value=999), None),
        (at("model", "vocab", value={"a": 0}), r"model.vocab.*all 256 bytes"),
        (at("model", "merges", 0, value=["a"]), r"model.merges\[0\] must be two tokens"),
        (at("model", "merges", 0, value=["a", "zz"]), r"merge 'a' \+ 'zz' has a part or a result outside"),
        (at("model", "merges", 0, value=["<0x41>", ""]), r"model.merges\[0\] must be two tokens"),
        (at("normalizer", value={"type": "Precompiled", "precompiled_charsmap": ""}), "pre_tokenizer must be null"),
        (
            at("normalizer", "normalizers", 0, value={"type": "Precompiled", "precompiled_charsmap": "AAA"}),
            "normalizer Precompiled.precompiled_charsmap must be a map",
        ),
        (at("normalizer", "normalizers", 0, value={"type": "ByteLevel"}), "normalizer 'ByteLevel' is not supported"),
        (at("normalizer", "normalizers", 0, value={"type": "Prepend", "prepend": "x"}), "normalizer: Prepend must put"),
        (at("normalizer", "normalizers", value=3), "normalizer must be a step or a Sequence"),
        (at("pre_tokenizer", value={"type": "Whitespace"}), "pre_tokenizer must be null or a Split"),
        (at("decoder", value=None), "decoder must be Metaspace, or a Sequence"),
        (at("decoder", value={"type": "WordPiece"}), "decoder must be Metaspace, or a Sequence of Replace"),
        (at("added_tokens", 0, "single_word", value=True), "single_word of a special token is not supported"),
    ],
)
def test_what_is_not_known_is_refused_with_its_key(tmp_path_factory, change, words):
    if words is None:
        theirs = made()
        assert opened(theirs, tmp_path_factory, change).vocab_size == 1000
        return
    with pytest.raises(FormatError, match=words):
        opened(
            made(added=()),
            tmp_path_factory,
            change if "256" not in words else lambda d: (change(d), d.update(added_tokens=[])),
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "▁", "Sequence", "Replace", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "content", "pattern"]), inner),
    max_leaves=4,
)


@given(data=st.data())
def test_a_broken_file_is_a_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("broken") / "tokenizer.json"
    content = json.loads(made().to_str())
    node, key = content, data.draw(st.sampled_from(sorted(content)))
    for _ in range(data.draw(st.integers(0, 4))):
        below = node[key]
        if not isinstance(below, dict | list) or not below:
            break
        node, key = below, data.draw(st.sampled_from(sorted(below) if isinstance(below, dict) else range(len(below))))
    node[key] = data.draw(JSON)
    path.write_text(json.dumps(content))
    try:
        ours = Tokenizer.load(path)
    except FormatError as error:
        said = str(error)
    else:
        said = str(path)
        assert ours.encode("ab c é").dtype == "uint32"
    assert str(path) in said
