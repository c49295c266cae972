"""tokenizer.json of a vocabulary that came from SentencePiece: BPE over characters with byte fallback (Llama 2,
Mistral, Gemma) and Unigram (T5, XLM-R). Read when its meaning is exactly known here, refused with the key otherwise.

BPE: merges are a list, so the place in the list is the rank; merging starts from characters, and one that is no token
becomes its bytes. Unigram: sums are float64, from each word's begin where the pre-tokenizer splits words.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer import tokenizer_json_spaces
from fasttrain.tokenizer.added_split import FLAGS
from fasttrain.tokenizer.sentencepiece_file import BYTE_NAMES, Kind, SentencePieceModel
from fasttrain.tokenizer.sentencepiece_normalize_ref import SPACE
from fasttrain.tokenizer.tokenizer_json_check import check
from fasttrain.tokenizer.tokenizer_json_spaces import Spaces


@dataclass(frozen=True, kw_only=True)
class PiecesJson:
    """What such a file says."""

    model: SentencePieceModel
    """Its pieces and merges or scores. `add_dummy_prefix`: U+2581 is put before each text."""
    spaces: Spaces
    special: Mapping[str, int]
    """Added tokens and their ids, by id."""
    plain: frozenset[str]
    """Of these, the ones that are not special."""
    flags: Mapping[str, frozenset[str]]
    joins_bytes: bool
    """Decoding joins byte tokens to characters; else they are their names."""
    data: bytes = field(repr=False)
    """The file itself."""


def is_of_pieces(data: Any) -> bool:
    """Whether a tokenizer.json holds such a vocabulary and not a byte-level one."""
    model = data.get("model") if isinstance(data, dict) else None
    if not isinstance(model, dict):
        return False
    return model.get("type") == "Unigram" or (model.get("byte_fallback") is True and model.get("type", "BPE") == "BPE")


def parse(data: dict[str, Any], raw: bytes, where: str) -> PiecesJson:
    """Read the content of a file for which `is_of_pieces`. Raises FormatError naming file and key."""
    model = data["model"]
    is_bpe = model.get("type", "BPE") == "BPE"
    if "vocab" not in model or (is_bpe and "merges" not in model):
        raise FormatError(f"{where}: must be a tokenizer.json with a BPE model, got no vocabulary and merges")
    if not is_bpe:
        _check_unigram(model, where)
    vocab = model["vocab"] if is_bpe else {text: i for i, (text, _) in enumerate(model["vocab"])}
    check({**data, "model": {"vocab": vocab, "merges": model["merges"] if is_bpe else []}}, where)
    special, plain, flags = {}, set(), {}
    for token in data.get("added_tokens") or []:
        own = frozenset(flag for flag in FLAGS if token.get(flag))
        special[token["content"]] = token["id"]
        flags[token["content"]] = own
        if not token["special"]:
            plain.add(token["content"])
        elif "single_word" in own:
            raise FormatError(
                f"{where}: added_tokens {token['content']!r}: single_word of a special token is not supported"
            )
    spaces = tokenizer_json_spaces.parse(data, where)
    never = {i for text, i in special.items() if text not in plain}  # no text is a special token by itself
    made = _bpe(model, special, never, where) if is_bpe else _unigram(model, special, never, spaces, where)
    return PiecesJson(
        model=SentencePieceModel(
            unk_id=-1 if is_bpe else model["unk_id"], byte_fallback=model.get("byte_fallback", False), charsmap=b"",
            add_dummy_prefix=spaces.prepends, remove_extra_whitespaces=False, escape_whitespaces=True,
            whitespace_as_suffix=False, data=b"", splits_words=spaces.splits, **made,
        ),
        spaces=spaces,
        special=dict(sorted(special.items(), key=lambda item: item[1])),
        plain=frozenset(plain),
        flags=flags,
        joins_bytes=tokenizer_json_spaces.has_byte_fallback(data.get("decoder")),
        data=raw,
    )  # fmt: skip


def _table(
    vocab: Mapping[str, int], special: Mapping[str, int], byte_ids: set[int], usable: set[int]
) -> tuple[list[bytes], list[Kind]]:
    """Pieces and their kinds by id; what is neither a byte nor usable is never made from a text."""
    size = 1 + max([*vocab.values(), *special.values()])
    pieces, kinds = [b""] * size, [Kind.CONTROL] * size
    for text, i in {**vocab, **special}.items():
        pieces[i] = text.encode("utf-8", "surrogatepass")
        kinds[i] = Kind.BYTE if i in byte_ids else Kind.NORMAL if i in usable else Kind.CONTROL
    return pieces, kinds


def _byte_ids(vocab: Mapping[str, int], where: str) -> set[int]:
    found = [vocab.get(name.decode()) for name in BYTE_NAMES]
    if None in found:
        raise FormatError(f"{where}: model.vocab: byte_fallback needs all 256 bytes, <0x00> to <0xFF>")
    return {i for i in found if i is not None}


def _bpe(model: dict[str, Any], special: Mapping[str, int], never: set[int], where: str) -> dict[str, Any]:
    wanted: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("model.dropout", model.get("dropout"), (None, 0.0)),
        ("model.ignore_merges", model.get("ignore_merges", False), (False,)),
        ("model.continuing_subword_prefix", model.get("continuing_subword_prefix"), (None, "")),
        ("model.end_of_word_suffix", model.get("end_of_word_suffix"), (None, "")),
    ]
    for name, value, known in wanted:
        if value not in known:
            raise FormatError(f"{where}: {name} must be {known[0]!r}, got {value!r}; this is not supported")
    vocab: dict[str, int] = model["vocab"]
    byte_ids = _byte_ids(vocab, where)
    merges = []
    for k, merge in enumerate(model["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left not in vocab or right not in vocab or left + right not in vocab:
            raise FormatError(f"{where}: merge {left!r} + {right!r} has a part or a result outside the vocabulary")
        ids = vocab[left], vocab[right], vocab[left + right]
        if not byte_ids.isdisjoint(ids):
            raise FormatError(f"{where}: model.merges[{k}] is of the byte token of {left!r} + {right!r}; not supported")
        if ids[2] not in never:
            merges.append(ids)
    usable = ({i for _, _, i in merges} | {i for text, i in vocab.items() if len(text) == 1}) - never
    pieces, kinds = _table(vocab, special, byte_ids, usable)
    return {"algorithm": "bpe", "pieces": tuple(pieces), "scores": (0.0,) * len(pieces), "kinds": tuple(kinds),
            "merges": tuple(merges)}  # fmt: skip


def _check_unigram(model: dict[str, Any], where: str) -> None:
    vocab = model["vocab"]
    if not isinstance(vocab, list):
        raise FormatError(f"{where}: model.vocab must be a list of pieces and scores")
    seen: set[str] = set()
    for k, row in enumerate(vocab):
        is_row = isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and row[0]
        if not is_row or isinstance(row[1], bool) or not isinstance(row[1], int | float) or not math.isfinite(row[1]):
            raise FormatError(f"{where}: model.vocab[{k}] must be a piece and its score, got {row!r}")
        if row[0] in seen:
            raise FormatError(f"{where}: model.vocab[{k}] {row[0]!r} is there already")
        seen.add(row[0])
    unk = model.get("unk_id")
    if not isinstance(unk, int) or isinstance(unk, bool) or not 0 <= unk < len(vocab):
        raise FormatError(f"{where}: model.unk_id must be the id of a piece, got {unk!r}")
    if model.get("byte_fallback", False) not in (True, False):
        raise FormatError(f"{where}: model.byte_fallback must be true or false, got {model['byte_fallback']!r}")


def _unigram(
    model: dict[str, Any], special: Mapping[str, int], never: set[int], spaces: Spaces, where: str
) -> dict[str, Any]:
    vocab = {text: i for i, (text, _) in enumerate(model["vocab"])}
    byte_ids = _byte_ids(vocab, where) if model.get("byte_fallback") else set()
    if spaces.splits and SPACE not in vocab:
        raise FormatError(f"{where}: model.vocab must hold {SPACE!r}, which begins each word")
    usable = set(vocab.values()) - never - {model["unk_id"]}
    pieces, kinds = _table(vocab, special, byte_ids, usable)
    kinds[model["unk_id"]] = Kind.UNKNOWN
    scores = [float(score) for _, score in model["vocab"]]
    wide = (*scores, *([max(scores)] * (len(pieces) - len(scores))))  # of added tokens behind: they count for nothing
    return {"algorithm": "unigram", "pieces": tuple(pieces), "scores": (0.0,) * len(pieces), "kinds": tuple(kinds),
            "wide_scores": wide}  # fmt: skip
