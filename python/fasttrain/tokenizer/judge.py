"""How well a tokenizer fits a text: counts by group of texts, and the ratios that are made of them.

bytes per token      UTF-8 bytes of the text / its tokens; compression
fertility            tokens a word (Rust et al. 2021), each word (words.py) encoded by itself
STRR                 single-token retention rate: the share of words, as they occur, that are one token (Nayeem et al.
                     2025, arXiv 2510.09947, over a list of words; here over the running text)
Renyi efficiency     H_a(p) / log V, a = 2.5, p the frequencies of the tokens, V the ordinary tokens of the vocabulary
                     (Zouhar et al. 2023, arXiv 2306.16842). Cognetta et al. 2024 raise it while they harm the model:
                     a figure to look at, not one to optimise
premium              tokens of a language / tokens of English for the same content (Petrov et al. 2023)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.errors import ConfigError
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.tokenizer import AnyTokenizer as AnyTokenizer
from fasttrain.tokenizer.words import words

ALPHA = 2.5
COUNTS = ("docs", "bytes", "chars", "tokens", "partial_tokens", "words", "word_tokens", "whole_words")
UNKNOWN = "und"
"""The language of a text whose language nobody knows (ISO 639-2)."""
Key = tuple[str, str]
"""(source, language) of a text."""


class Judge:
    """One tokenizer's counts over texts that are added in batches and forgotten."""

    def __init__(self, tokenizer: AnyTokenizer) -> None:
        self.tokenizer = tokenizer
        self.counts: dict[Key, npt.NDArray[np.int64]] = {}
        """By group, in the order of COUNTS."""
        self.used: dict[str, npt.NDArray[np.int64]] = {}
        """By source: (V,) occurrences of each token."""
        self._partial = np.array([is_partial(t) for t in tokenizer.vocabulary.tokens], np.bool_)

    def add(self, column: TextColumn, keys: Sequence[Key]) -> None:
        """Count N texts; `keys`: source and language of each."""
        groups = sorted(set(keys))
        group = np.array([groups.index(k) for k in keys], np.int64)
        ids, offsets, found, owner = _encoded(self.tokenizer, column)
        pieces = np.diff(encode_words(self.tokenizer, found)[1])
        per_text = (
            np.ones(len(column), np.int64),
            np.diff(column.offsets),
            _sums(_begins_character(column), column.offsets - column.offsets[0]),
            np.diff(offsets),
            _sums(self._partial[ids], offsets),
            np.bincount(owner, minlength=len(column)),
            np.bincount(owner, weights=pieces, minlength=len(column)),  # float64: exact below 2^53
            np.bincount(owner, weights=pieces == 1, minlength=len(column)),
        )
        for k, name in enumerate(groups):
            row = np.array([values[group == k].sum() for values in per_text], np.int64)
            self.counts[name] = self.counts.get(name, np.zeros(len(COUNTS), np.int64)) + row
        self._count_used(ids, np.repeat(group, np.diff(offsets)), groups)

    def _count_used(self, ids: npt.NDArray[np.uint32], group: npt.NDArray[np.int64], groups: Sequence[Key]) -> None:
        size = self.tokenizer.vocab_size
        for source in dict.fromkeys(name for name, _ in groups):
            mine = np.isin(group, [k for k, (name, _) in enumerate(groups) if name == source])
            seen = np.bincount(ids[mine], minlength=size)
            self.used[source] = self.used.get(source, np.zeros(size, np.int64)) + seen

    def figures(self) -> dict[str, Any]:
        """The ratios in all, by source and by language; a ratio without a denominator is None."""
        num_ordinary = sum(1 for t in self.tokenizer.vocabulary.tokens if t) - len(self.tokenizer.special_tokens)
        used = sum(self.used.values(), np.zeros(self.tokenizer.vocab_size, np.int64))
        found = by_group(self.counts)
        for source, seen in self.used.items():
            found["by_source"][source]["renyi"] = renyi_efficiency(seen, num_ordinary)
        found["total"]["renyi"] = renyi_efficiency(used, num_ordinary)
        return found | {"used_tokens": int((used > 0).sum())}


def by_group(counts: Mapping[Key, npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Rows of counts by (source, language) as figures in all, by source and by language."""
    zero = np.zeros(len(COUNTS), np.int64)

    def grouped(side: int) -> dict[str, Any]:
        names = sorted({key[side] for key in counts})
        return {name: summary(sum((row for key, row in counts.items() if key[side] == name), zero)) for name in names}

    return {"total": summary(sum(counts.values(), zero)), "by_source": grouped(0), "by_language": grouped(1)}


def _encoded(
    tokenizer: AnyTokenizer, column: TextColumn
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], TextColumn, npt.NDArray[np.int64]]:
    """Ids of the texts and where each text's begin; their words as the tokenizer sees them, and each word's text."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        return *tokenizer.encode_batch(column, threads=threads_of_rank()), *words(column)
    normal = tokenizer.normalized(column)
    return *tokenizer.encode_normalized(normal, threads=threads_of_rank()), *words(normal)


def encode_words(tokenizer: AnyTokenizer, words: TextColumn) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Ids of words as they stand inside a (normalised) text, each by itself, and where each word's begin."""
    if isinstance(tokenizer, SentencePieceTokenizer):  # which would put a space of its own before each
        return tokenizer.encode_words(words, threads=threads_of_rank())
    return tokenizer.encode_normalized(words, threads=threads_of_rank())


def summary(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """One row of counts as figures."""
    found = dict(zip(COUNTS, (int(c) for c in counts)))
    return found | {
        "bytes_per_token": _ratio(found["bytes"], found["tokens"]),
        "tokens_per_char": _ratio(found["tokens"], found["chars"]),
        "fertility": _ratio(found["word_tokens"], found["words"]),
        "strr": _ratio(found["whole_words"], found["words"]),
        "partial_share": _ratio(found["partial_tokens"], found["tokens"]),
    }


def renyi_efficiency(counts: npt.NDArray[np.int64], num_tokens: int, alpha: float = ALPHA) -> float | None:
    """log(sum p^alpha) / (1 - alpha) / log(num_tokens); 1 when all tokens are equally frequent. None without tokens."""
    total = int(counts.sum())
    if total == 0 or num_tokens < 2:
        return None
    p = counts[counts > 0] / total
    return float(np.log(np.sum(p**alpha)) / (1 - alpha) / np.log(num_tokens))


def premiums(
    documents: Sequence[tuple[str, int, int]], baseline: str = "en", complete: float = 0.5
) -> tuple[dict[str, float], int]:
    """Tokens of each language against `baseline`, on texts that all say the same.

    Args:
        documents: (language, bytes, tokens) of each translation; of several in one language the mean counts.
        complete: a translation of fewer bytes than this share of the baseline's is taken for a fragment and left out.
    Returns: language -> premium, and how many translations were left out.
    Raises: ConfigError: no text in the baseline's language.
    """
    base = [(size, tokens) for language, size, tokens in documents if language == baseline]
    if not base:
        raise ConfigError(f"premium: no parallel text in {baseline!r}, against which the others are compared; add it")
    mean_bytes, mean_tokens = (sum(column) / len(base) for column in zip(*base))
    whole = [(language, tokens) for language, size, tokens in documents if size >= complete * mean_bytes]
    by_language: dict[str, list[int]] = {}
    for language, tokens in whole:
        by_language.setdefault(language, []).append(tokens)
    found = {k: sum(v) / len(v) / mean_tokens for k, v in by_language.items()}
    return dict(sorted(found.items(), key=lambda kv: kv[1])), len(documents) - len(whole)


def rough_premiums(by_language: Mapping[str, Mapping[str, Any]], baseline: str = "en") -> dict[str, float]:
    """What can be said without parallel text: tokens a character against `baseline`'s. Scripts that pack more into a
    character (Chinese) look worse than they are. Empty when the baseline has no text, or nothing else has."""
    base = by_language.get(baseline, {}).get("tokens_per_char")
    rates = {k: row["tokens_per_char"] for k, row in by_language.items() if row["tokens_per_char"] and k != UNKNOWN}
    if not base or len(rates) < 2:
        return {}
    return {name: rate / base for name, rate in sorted(rates.items(), key=lambda kv: kv[1])}


def is_partial(token: bytes) -> bool:
    """Whether a token's bytes are no text by themselves (part of a character)."""
    try:
        token.decode()
    except UnicodeDecodeError:
        return True
    return False


def _ratio(a: int, b: int) -> float | None:
    return round(a / b, 5) if b else None


def _begins_character(column: TextColumn) -> npt.NDArray[np.bool_]:
    begin, end = int(column.offsets[0]), int(column.offsets[-1])
    found: npt.NDArray[np.bool_] = (column.data[begin:end] & 0xC0) != 0x80
    return found


def _sums(values: npt.NDArray[np.bool_], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sum of the values of each range."""
    total = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=total[1:])
    return np.asarray(np.diff(total[offsets]))
