"""A SentencePiece .model as a tokenizer.json, which `tokenizers` and `transformers` load.

Normal text has the same ids; what the two libraries cannot say alike:
- a text that spells out a control or byte piece (</s>, <0x0A>): tokenizers reads it, sentencepiece never does
- behind a user-defined piece U+2581 is put again, as before a text
- BPE: where a piece is made by several pairs, a list puts these in an order, scores know none (`several_pairs` counts)
- Unigram: sums are float64 there and float32 here, so that of paths that are equal but for rounding either is taken
- the map of a model replaces whole grapheme clusters there and the longest strings here
"""

import base64
from typing import Any

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer.sentencepiece_file import Kind, SentencePieceModel
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE


def to_json(model: SentencePieceModel, where: str) -> dict[str, Any]:
    """The file's content.

    Raises: FormatError: pieces of one text, unused pieces, a text's suffix in the place of its prefix, or a BPE piece
        with a character that is none: such a file could not say these.
    """
    texts = [_text(model, i, where) for i in range(len(model.pieces))]
    if len(set(texts)) != len(texts):
        twice = next(t for i, t in enumerate(texts) if t in texts[:i])
        raise FormatError(f"{where}: two pieces are {twice!r}; a tokenizer.json would lose one")
    if Kind.UNUSED in model.kinds or model.whitespace_as_suffix:
        what = "unused pieces" if Kind.UNUSED in model.kinds else "treat_whitespace_as_suffix"
        raise FormatError(f"{where}: a tokenizer.json cannot say {what}; keep the .model file")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": texts[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": kind != Kind.USER_DEFINED}
            for i, kind in enumerate(model.kinds) if kind in (Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED)
        ],
        "normalizer": _normalizer(model),
        "pre_tokenizer": _pre_tokenizer(model),
        "post_processor": None,
        "decoder": _decoder(model),
        "model": _bpe(model, texts, where) if model.algorithm == "bpe" else _unigram(model, texts),
    }  # fmt: skip


def several_pairs(model: SentencePieceModel) -> int:
    """Pieces of a BPE model that more than one pair of pieces makes."""
    return sum(len(pairs) > 1 for _, pairs in _pairs(model))


def _text(model: SentencePieceModel, i: int, where: str) -> str:
    try:
        return model.pieces[i].decode()
    except UnicodeDecodeError:
        raise FormatError(
            f"{where}: piece {i}, {model.pieces[i]!r}, is no UTF-8, as a tokenizer.json must be"
        ) from None


def _normalizer(model: SentencePieceModel) -> dict[str, Any] | None:
    steps: list[dict[str, Any]] = []
    if model.charsmap:
        steps.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.charsmap).decode()})
    if model.remove_extra_whitespaces:
        for expression, content in ((r"\A +", ""), (r" +\z", ""), (" {2,}", " ")):
            steps.append({"type": "Replace", "pattern": {"Regex": expression}, "content": content})
    space = SPACE if model.escape_whitespaces else " "
    if model.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": space})
    if model.escape_whitespaces:
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return {"type": "Sequence", "normalizers": steps} if steps else None


def _pre_tokenizer(model: SentencePieceModel) -> dict[str, Any] | None:
    """Words, where no piece reaches from one into the next: else the text is one, as sentencepiece has it."""
    crosses = any(SPACE.encode() in p[1:] for p, k in zip(model.pieces, model.kinds) if k == Kind.NORMAL)
    if model.algorithm == "bpe" or crosses or not model.escape_whitespaces:
        return None
    return {"type": "Split", "pattern": {"String": SPACE}, "behavior": "MergedWithNext", "invert": False}


def _decoder(model: SentencePieceModel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}]
    if model.byte_fallback:
        steps.append({"type": "ByteFallback"})
    steps.append({"type": "Fuse"})
    if model.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _unigram(model: SentencePieceModel, texts: list[str]) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": model.unk_id,
        "vocab": [[text, score] for text, score in zip(texts, model.scores)],
        "byte_fallback": model.byte_fallback,
    }


def _bpe(model: SentencePieceModel, texts: list[str], where: str) -> dict[str, Any]:
    merges = []
    normal = {p for p, kind in zip(model.pieces, model.kinds) if kind == Kind.NORMAL}
    for i, pairs in sorted(_pairs(model), key=lambda found: -model.scores[found[0]]):
        lone = next((c for c in texts[i] if c.encode() not in normal), None)
        if len(texts[i]) > 1 and lone is not None:
            raise FormatError(
                f"{where}: piece {texts[i]!r} has {lone!r}, which is none; a list of merges cannot make it"
            )
        merges += [[left.decode(), right.decode()] for left, right in pairs]
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": texts[model.unk_id],
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": False,
        "vocab": {text: i for i, text in enumerate(texts)},
        "merges": merges,
    }


def _pairs(model: SentencePieceModel) -> list[tuple[int, list[tuple[bytes, bytes]]]]:
    """Of each normal piece of a BPE model: its id, and the pairs of normal pieces that make it, from the left."""
    normal = {p for p, kind in zip(model.pieces, model.kinds) if kind == Kind.NORMAL}
    found = []
    for i, (piece, kind) in enumerate(zip(model.pieces, model.kinds)):
        if kind == Kind.NORMAL:
            cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
            found.append((i, [pair for pair in cuts if pair[0] in normal and pair[1] in normal]))
    return found
