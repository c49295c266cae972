"""How well a tokenizer fits texts: bytes per token, fertility, and words that stay whole.

A word is a pretoken that ends in a letter (with the space or sign that leads it). Fertility is tokens per word (Rust et
al. 2021); single_token_words is the share of words that are one token (STRR, Nayeem et al. 2025), by occurrence.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.comm.threads import threads_of_rank
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import unicode_ln
from fasttrain.tokenizer.pretokenize import pretokenize
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.tokenizer import AnyTokenizer, Tokenizer

_WORDS = "cl100k"  # what cuts the words of a tokenizer that has no pattern

COUNTS = ("docs", "bytes", "tokens", "words", "word_tokens", "whole_words")


def measure(
    tokenizer: AnyTokenizer, column: TextColumn, groups: npt.NDArray[np.int64], num_groups: int
) -> npt.NDArray[np.int64]:
    """Counts of the texts, by group.

    Shapes: N texts, G groups.
    Args:
        column: N texts.
        groups: (N,) int64. The group of each text, in [0, G).
    Returns: (G, 6) int64 in the order of COUNTS: documents, bytes, tokens, words, tokens of words, words of one token.
    """
    pattern = tokenizer.pattern if isinstance(tokenizer, Tokenizer) else _WORDS
    num_bytes = np.bincount(groups, weights=np.diff(column.offsets), minlength=num_groups)
    if isinstance(tokenizer, Tokenizer):
        column = tokenizer.normalized(column)
    pieces, starts = pretokenize(column, pattern=pattern, threads=threads_of_rank())
    is_word = _ends_in_letter(pieces)
    group = np.repeat(groups, np.diff(starts))
    out = np.zeros((num_groups, len(COUNTS)), np.int64)
    out[:, 0] = np.bincount(groups, minlength=num_groups)
    out[:, 1] = num_bytes
    if isinstance(tokenizer, SentencePieceTokenizer):
        # What a piece costs by itself is not what it costs in the text, which merges do not have to cut like that.
        tokens = np.diff(tokenizer.encode_words(pieces, threads=threads_of_rank())[1])
        of_text = np.diff(tokenizer.encode_batch(column, threads=threads_of_rank())[1])
        out[:, 2] = np.bincount(groups, weights=of_text, minlength=num_groups)
    else:  # a pretoken is its own only pretoken, so ids are those of the whole text
        tokens = np.diff(tokenizer.encode_normalized(pieces, threads=threads_of_rank())[1])
        out[:, 2] = np.bincount(group, weights=tokens, minlength=num_groups)
    per_piece = {3: is_word, 4: is_word * tokens, 5: is_word & (tokens == 1)}
    for k, values in per_piece.items():
        out[:, k] = np.bincount(group, weights=values, minlength=num_groups)  # float64: exact below 2^53
    return out


def summary(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """One row of `measure` as the report's figures; a ratio without a denominator is None."""
    docs, size, tokens, words, word_tokens, whole = (int(c) for c in counts)

    def ratio(a: int, b: int) -> float | None:
        return round(a / b, 4) if b else None

    return {
        "docs": docs,
        "bytes": size,
        "tokens": tokens,
        "bytes_per_token": ratio(size, tokens),
        "words": words,
        "fertility": ratio(word_tokens, words),
        "single_token_words": ratio(whole, words),
    }


def report(tokenizer: AnyTokenizer, rows: Iterable[tuple[str, str, npt.NDArray[np.int64]]]) -> dict[str, Any]:
    """The report: figures in all, by source, by language. `rows`: (source, language, counts in the order of COUNTS)."""
    table = list(rows)
    zero = np.zeros(len(COUNTS), np.int64)

    def grouped(key: int) -> dict[str, Any]:
        names = sorted({row[key] for row in table})
        return {str(name): summary(sum((r[2] for r in table if r[key] == name), zero)) for name in names}

    lengths = np.array([len(t) for t in tokenizer.vocabulary.tokens])
    return {
        "vocab_size": tokenizer.vocab_size,
        "pattern": tokenizer.pattern,
        "merges": tokenizer.num_merges,
        "special_tokens": tokenizer.special_tokens,
        "fingerprint": tokenizer.fingerprint,
        "mean_token_bytes": round(float(lengths.mean()), 3),
        "longest_token_bytes": int(lengths.max()),
        "total": summary(sum((r[2] for r in table), zero)),
        "by_source": grouped(0),
        "by_language": grouped(1),
    }


def _ends_in_letter(pieces: TextColumn) -> npt.NDArray[np.bool_]:
    """(P,) bool. Whether each piece's last character is a letter: its last bytes are decoded, all pieces at once."""
    last = pieces.offsets[1:] - 1
    code = np.zeros(len(last), np.int64)
    shift = np.zeros(len(last), np.int64)
    open_ = np.ones(len(last), np.bool_)
    for back in range(4):
        byte = pieces.data[np.maximum(last - back, 0)].astype(np.int64)
        lead_bits = np.select([byte < 0x80, byte < 0xC0, byte < 0xE0, byte < 0xF0], [0x7F, 0x3F, 0x1F, 0x0F], 0x07)
        code = np.where(open_, code | (byte & lead_bits) << shift, code)
        open_ &= (byte >= 0x80) & (byte < 0xC0)
        shift += 6
    ranges = np.array(unicode_ln.L, np.int64)
    place = np.searchsorted(ranges[:, 0], code, side="right") - 1
    found: npt.NDArray[np.bool_] = (place >= 0) & (code <= ranges[np.maximum(place, 0), 1])
    return found
