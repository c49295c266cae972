"""SentencePiece models against sentencepiece itself, where it is installed; the rest by hand."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core.errors import FormatError
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer.fragmentation import fragmentation
from fasttrain.tokenizer.health import health
from fasttrain.tokenizer.judge import Judge
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.sentencepiece_file import Kind, read
from fasttrain.tokenizer.sentencepiece_normalize import Normalizer
from tokenizer import pieces
from tokenizer.scripts import SAMPLES, TEXT
from tokenizer.sentencepiece_trained import SETTINGS, lines, trained

PIECES = [("▁", -3.0), ("a", -3.0), ("b", -3.0), ("▁ab", -1.0), ("ab", -2.0)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")

    def path(data, name="m.model"):
        (folder / name).write_bytes(data)
        return folder / name

    return path


@pytest.fixture(scope="module", params=[(a, n) for a in ("bpe", "unigram") for n in SETTINGS], ids="-".join)
def both(request, tmp_path_factory):
    return trained(*request.param, tmp_path_factory.mktemp("trained") / "t.model")


def test_ids_equal_theirs_over_the_lake_and_every_script(both):
    theirs, ours = both
    texts = [
        *SAMPLES,
        "\n".join(lines()),
        "a<sep>b <sep>  x",
        "   ",
        "  a  b  ",
        "ﬁ ①Ⅳ ｱｲｳ ㍿ e\u0301",
        "aaaa  aa",
        *lines(),
    ]
    ids, offsets = ours.encode_batch(texts, threads=2)
    wanted, normalized = theirs.encode(texts), Normalizer(ours.model)
    for n, text in enumerate(texts):
        assert theirs.normalize(text).encode() == normalized(text.encode())
        assert ids[offsets[n] : offsets[n + 1]].tolist() == wanted[n], text[:80]


@given(text=TEXT)
def test_ids_equal_theirs_on_any_text(both, text):
    theirs, ours = both
    assert ours.encode(text).tolist() == theirs.encode(text)


def test_text_comes_back_as_theirs_does(both):
    theirs, ours = both
    for text in [*SAMPLES[:5], *lines()[:200]]:
        ids = ours.encode(text).tolist()
        if ours.model.algorithm == "bpe" or ours.model.byte_fallback:
            assert ours.decode(ids).strip() == theirs.decode(ids).strip()


@settings(max_examples=300, deadline=None)
@given(data=st.data(), algorithm=st.sampled_from(["bpe", "unigram"]))
def test_any_model_gives_their_ids(data, algorithm):
    spm = pytest.importorskip("sentencepiece")
    names = data.draw(st.lists(st.text("▁abcé", min_size=1, max_size=5), min_size=1, max_size=14, unique=True))
    scores, kinds = st.sampled_from([-0.5, -1.0, -2.5, -3.25, 0.25]), st.sampled_from([1, 1, 1, 4, 4, 5])
    # No trainer makes an unused piece of one character; sentencepiece gives the unknown id for such, we the piece's.
    rows = [(n, data.draw(scores), data.draw(kinds) if len(n) > 1 else 1) for n in names]
    if all(kind != 1 for _, _, kind in rows):
        rows.append(("z", -1.0, 1))
    model = pieces.model(rows, algorithm=algorithm, byte_fallback=data.draw(st.booleans()),
                         dummy_prefix=data.draw(st.booleans()), remove_extra=data.draw(st.booleans()))  # fmt: skip
    from fasttrain.tokenizer import sentencepiece_file

    theirs = spm.SentencePieceProcessor(model_proto=model)
    ours = SentencePieceTokenizer(sentencepiece_file.parse(model, "m"))
    for text in data.draw(st.lists(st.text(" abcéx▁", max_size=25), max_size=4)):
        assert ours.encode(text).tolist() == theirs.encode(text)


def test_a_file_is_read_as_it_was_written(files):
    model = read(files(pieces.model(PIECES, algorithm="unigram", byte_fallback=True, remove_extra=False)))
    assert model.pieces[:4] == (b"<unk>", b"<s>", b"</s>", b"<0x00>")
    assert model.pieces[259:] == tuple(p.encode() for p, _ in PIECES)
    assert model.scores[259:] == tuple(s for _, s in PIECES)
    assert model.kinds[2:4] == (Kind.CONTROL, Kind.BYTE)
    assert (model.algorithm, model.unk_id, model.byte_fallback) == ("unigram", 0, True)
    assert (model.add_dummy_prefix, model.remove_extra_whitespaces, model.escape_whitespaces) == (True, False, True)


@pytest.mark.parametrize(
    ("options", "text", "normal"),
    [
        ({}, "  a   b ", "▁a▁b"),
        ({"remove_extra": False}, " a  b ", "▁▁a▁▁b▁"),
        ({"dummy_prefix": False}, " a b", "a▁b"),
        ({"suffix": True}, "a b", "a▁b▁"),
        ({}, "   ", ""),
        ({"remove_extra": False}, "", ""),
        ({}, b"a\xff\xe4\xb8", "▁a\ufffd\ufffd\ufffd"),
    ],
)
def test_white_space_worked_by_hand(files, options, text, normal):
    model = read(files(pieces.model(PIECES, **options)))
    assert Normalizer(model)(text if isinstance(text, bytes) else text.encode()) == normal.encode()


def test_encode_decode_and_what_is_special(files):
    tokenizer = SentencePieceTokenizer.load(files(pieces.model(PIECES, byte_fallback=True)))
    first = pieces.first_id(byte_fallback=True)
    ids = tokenizer.encode("ab é")
    assert ids.tolist() == [first + 3, first, 3 + 0xC3, 3 + 0xA9]
    assert tokenizer.decode(ids) == "ab é"
    assert tokenizer.decode([1, *ids, 2]) == "ab é"
    assert tokenizer.special_tokens == {"<unk>": 0, "<s>": 1, "</s>": 2}
    with pytest.raises(ValueError, match="ids must be pieces of a vocabulary of 264, got 264"):
        tokenizer.decode([264])
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode("ab é").tolist() == ids.tolist()
    with pytest.raises(TypeError, match="texts must be many"):
        tokenizer.encode_batch("ab")


def test_it_is_judged_as_others_are(files):
    tokenizer = SentencePieceTokenizer.load(
        files(pieces.model([*PIECES, ("ba", -9.0), ("abab", -9.0)], algorithm="unigram"))
    )
    found = Judge(tokenizer)
    found.add(from_texts(["ab ab b"]), [("s", "en")])
    total = found.figures()["total"]
    # ▁ab ▁ab ▁ b: four tokens. Words: "ab" (one piece), " ab" (one), " b" (two).
    assert (total["tokens"], total["bytes_per_token"], total["word_tokens"], total["whole_words"]) == (4, 1.75, 4, 2)
    state = health(tokenizer)
    assert state.unreachable == [8, 9]  # b a and ab ab are better
    assert (state.special, state.ordinary, state.partial) == (3, 7, [])
    assert fragmentation(tokenizer, ["ab", "b"])["mean_pieces"] == 1.5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it has no unknown piece among 0"),
        (b"\xff\xff\xff", "not a SentencePiece model"),
        (b"plain text, no model", "not a SentencePiece model"),
        (pieces.field(1, b"\x0a\x7f"), "a field at byte 2 is cut off or of no known type"),
        (pieces.model(PIECES)[:-3], "not a SentencePiece model"),
        (pieces.model([("a", -1.0, 9)]), "not a SentencePiece model .9 is not a valid Kind"),
        (
            pieces.model(PIECES) + pieces.field(2, pieces.field(3, 3)),
            r"model_type must be unigram \(1\) or bpe \(2\), got 3",
        ),
        (pieces.model(PIECES) + pieces.field(2, pieces.field(35, 1)), "byte_fallback: all 256 bytes must be pieces"),
    ],
)
def test_what_is_no_model_is_refused(files, data, words):
    path = files(data, "bad.model")
    with pytest.raises(FormatError, match=words) as caught:
        SentencePieceTokenizer.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FormatError, match="none.model: no such tokenizer file"):
        SentencePieceTokenizer.load(tmp_path / "none.model")


@given(data=st.binary(max_size=60), cut=st.integers(0, 400))
def test_any_bytes_are_a_format_error_or_a_model(data, cut):
    from fasttrain.tokenizer import sentencepiece_file

    whole = pieces.model(PIECES)
    with pytest.raises(FormatError):
        sentencepiece_file.parse(whole[:cut] + data, "m")
        raise FormatError("read")
