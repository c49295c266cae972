"""What a model must beat: unigram and bigram counts of the training tokens, and zstd, on the same probe text.

unigram  p(w) = (c(w) + 1/2) / (N + V/2)      (Krichevsky & Trofimov 1981)
bigram   p(w|v) = max(c(vw) - D, 0) / c(v) + D N1+(v.) / c(v) * pc(w), interpolated Kneser-Ney (Kneser & Ney 1995;
         Chen & Goodman 1998) with D = n1 / (n1 + 2 n2); pc(w) = (N1+(.w) + 1/2) / (N1+(..) + V/2) is the share of
         histories that w follows; after an unseen v it is pc alone
zstd     8 * compressed bytes: each source's documents in order as one stream, without a dictionary

c counts, N1+(v.) distinct words after v, N1+(.w) distinct words before w, n1 and n2 bigrams seen once and twice, V the
vocabulary. A document begins after the end-of-text token and ends with it, as for the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zstandard

from fasttrain.core.errors import FormatError
from fasttrain.eval.score import ALL, Score, of_nll, total
from fasttrain.formats.shards import Shard

METHODS = {
    "unigram": "token counts of the training shards, add 1/2",
    "bigram": "interpolated Kneser-Ney over token pairs of the training shards, D = n1 / (n1 + 2 n2)",
    "zstd": "each source's probe documents as one zstd stream, no dictionary",
}
_CHUNK = 1 << 22  # tokens counted at a time


class Decoder(Protocol):
    """What zstd needs of a tokenizer."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


class Ngrams:
    """Counts of tokens and of pairs of tokens, with the two distributions made of them."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.words = np.zeros(vocab_size, np.int64)
        self._keys = np.zeros(0, np.uint64)  # sorted v * V + w
        self._counts = np.zeros(0, np.int64)

    def add(self, history: npt.NDArray[Any], words: npt.NDArray[Any]) -> None:
        """Count pairs (history[i], words[i]). Memory: 16 bytes a distinct pair."""
        self.words += np.bincount(words.astype(np.int64), minlength=self.vocab_size)
        keys, counts = np.unique(
            history.astype(np.uint64) * np.uint64(self.vocab_size) + words.astype(np.uint64), return_counts=True
        )
        merged, back = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        summed = np.zeros(len(merged), np.int64)
        np.add.at(summed, back, np.concatenate([self._counts, counts]))
        self._keys, self._counts = merged, summed

    def finish(self) -> None:
        """Work out what scoring needs."""
        v = (self._keys // np.uint64(self.vocab_size)).astype(np.int64)
        w = (self._keys % np.uint64(self.vocab_size)).astype(np.int64)
        self._history_count = np.bincount(v, weights=self._counts, minlength=self.vocab_size)
        self._followers = np.bincount(v, minlength=self.vocab_size)
        before = np.bincount(w, minlength=self.vocab_size)
        self._continuation = (before + 0.5) / (before.sum() + 0.5 * self.vocab_size)
        once, twice = int((self._counts == 1).sum()), int((self._counts == 2).sum())
        self.discount = once / (once + 2 * twice) if once and twice else 0.5

    def unigram(self, words: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """p(w) of each word."""
        p: npt.NDArray[np.float64] = (self.words[words] + 0.5) / (self.words.sum() + 0.5 * self.vocab_size)
        return p

    def bigram(self, history: npt.NDArray[Any], words: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """p(w|v) of each pair."""
        key = history.astype(np.uint64) * np.uint64(self.vocab_size) + words.astype(np.uint64)
        at = np.minimum(np.searchsorted(self._keys, key), max(len(self._keys) - 1, 0))
        count = np.where(self._keys[at] == key, self._counts[at], 0) if len(self._keys) else np.zeros(len(key))
        seen = self._history_count[history]
        lower = self._continuation[words]
        with np.errstate(divide="ignore", invalid="ignore"):
            p = (np.maximum(count - self.discount, 0) + self.discount * self._followers[history] * lower) / seen
        out: npt.NDArray[np.float64] = np.where(seen > 0, p, lower)
        return out


def count(shards: Mapping[str, Shard], vocab_size: int, eot_id: int, max_tokens: int) -> Ngrams:
    """Count at most about `max_tokens` training tokens: every k-th document of each source, the same k for all.

    Memory: 16 bytes a distinct pair, at most 16 * max_tokens bytes, and one chunk.
    """
    every = max(1, -(-sum(s.num_tokens for s in shards.values()) // max_tokens))
    ngrams = Ngrams(vocab_size)
    for shard in shards.values():
        for history, words in _pairs(shard, eot_id, every):
            ngrams.add(history, words)
    ngrams.finish()
    return ngrams


def score_ngrams(ngrams: Ngrams, shards: Mapping[str, Shard], eot_id: int) -> dict[str, dict[str, Score]]:
    """{"unigram": scores by source and all, "bigram": ...} of the probe shards."""
    out: dict[str, dict[str, Score]] = {"unigram": {}, "bigram": {}}
    for source, shard in shards.items():
        nll = {"unigram": 0.0, "bigram": 0.0}
        for history, words in _pairs(shard, eot_id, 1):
            nll["unigram"] -= float(np.log(ngrams.unigram(words)).sum())
            nll["bigram"] -= float(np.log(ngrams.bigram(history, words)).sum())
        for name, value in nll.items():
            out[name][source] = of_nll(shard, value)
    return {name: {**scores, ALL: total(scores)} for name, scores in out.items()}


def score_zstd(shards: Mapping[str, Shard], tokenizer: Decoder, level: int) -> dict[str, Score]:
    """Bits that zstd needs for each source's texts, and for all. Raises FormatError when a text does not come back."""
    out = {}
    for source, shard in shards.items():
        packer = zstandard.ZstdCompressor(level=level).compressobj()
        packed = read = 0
        for i in range(shard.num_docs):
            # The end token is no text. Decoding checks on the way that bytes are counted on the text that is scored.
            text = tokenizer.decode(shard.tokens[shard.offsets[i] : shard.offsets[i + 1] - 1].tolist()).encode()
            read += len(text)
            packed += len(packer.compress(text))
        packed += len(packer.flush())
        if read != shard.num_bytes:
            raise FormatError(
                f"eval: probe source {source!r} must decode to the {shard.num_bytes} bytes it was made of, got {read}; "
                "the tokenizer is not the one that wrote the shards: run `fasttrain prepare` again"
            )
        out[source] = Score(
            documents=shard.num_docs, tokens=shard.num_tokens, num_bytes=read, nll=None, bits=8.0 * packed
        )
    return {**out, ALL: total(out)}


def _pairs(shard: Shard, eot_id: int, every: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(history, words) of every `every`-th document, a chunk at a time."""
    chosen = np.arange(0, shard.num_docs, every)
    at = 0
    while at < len(chosen):
        size = np.cumsum(shard.offsets[chosen[at:] + 1] - shard.offsets[chosen[at:]])
        take = max(1, int(np.searchsorted(size, _CHUNK, side="right")))
        part = chosen[at : at + take]
        words = np.concatenate([shard.tokens[shard.offsets[i] : shard.offsets[i + 1]] for i in part]).astype(np.int64)
        history = np.empty_like(words)
        history[1:] = words[:-1]
        starts = np.cumsum(np.concatenate([[0], (shard.offsets[part + 1] - shard.offsets[part])[:-1]]))
        history[starts[starts < len(words)]] = eot_id
        yield history, words
        at += take
