"""SuperBPE: a second stage of training whose merges cross single spaces between words.

    first stage   ordinary BPE, up to `subword_size` tokens
    second stage  the same learning goes on from those tokens, on superwords: runs of words with one space between

A superword is what the pattern's alternative for words gives when ` \\p{L}+` may follow it any number of times; all
other pieces stay (patterns.SUPERWORDS): cl100k's words are `[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++(?: \\p{L}++)*+` then. The
tokenizer.json names that expression, so any library that runs it and reads merges gives the same ids; the native
encoder has a scanner for it. No token crosses punctuation, a number, two spaces or a line end, and none that the second
stage makes holds more than `max_spaces` spaces.

Memory: the second stage sees a sample of the texts of at most about `sample_bytes`, chosen by their hashes; it is
bounded by that, whatever the corpus holds. Source: Liu et al. 2025, SuperBPE, arXiv:2503.13423.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import learn_bpe, patterns, tokenizer_json
from fasttrain.tokenizer.bpe_train import WordCounter, bpe_train
from fasttrain.tokenizer.read_texts import Texts, sample
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.train_bpe import EOT, count_texts
from fasttrain.tokenizer.vocabulary import Vocabulary


@dataclass(frozen=True)
class SuperBpe:
    """What the two stages gave."""

    vocabulary: Vocabulary
    """Its `pattern` is that of superwords."""
    num_superwords: int
    """Tokens that hold a space behind another character."""
    sampled_bytes: int
    """Text that the second stage saw."""

    def tokenizer(self) -> Tokenizer:
        """What encodes with it."""
        return Tokenizer(self.vocabulary)

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.json, whole or not at all, which `tokenizers`, `transformers` and `Tokenizer.load` read."""
        tokenizer_json.write(Path(path), self.vocabulary)


def train_superbpe(
    texts: Texts,
    *,
    vocab_size: int,
    subword_size: int,
    pattern: str = "cl100k",
    special_tokens: Sequence[str] = (EOT,),
    min_frequency: int = 0,
    max_spaces: int = 4,
    sample_bytes: int = 64 << 20,
    pad_to_multiple: int = 1,
    threads: int | None = None,
    impl: str | None = None,
) -> SuperBpe:
    """Train both stages.

    Args:
        texts: as in `train_bpe`, but readable more than once: a list, a column or Paths.
        vocab_size: tokens in all; subword_size: how many of them the first stage gives. Nine tenths made the best
            models of the paper, half the fewest tokens.
        pattern: cl100k, llama3 or qwen2.
        max_spaces: no token holds more.
        sample_bytes: the second stage sees at most about so many bytes of text.
        special_tokens, min_frequency, pad_to_multiple, threads, impl: as in `train_bpe`.
    Raises: ValueError: sizes that do not rise, a pattern without superwords, texts that can be read only once.
    Cost: the first stage's, one more pass over the text, and about 30 bytes of memory a byte of the sample.
    """
    op = "superbpe"
    if pattern not in patterns.SUPERWORDS:
        raise ValueError(f"{op}: pattern must be one of {', '.join(patterns.SUPERWORDS)}, got {pattern!r}")
    if not 256 + len(special_tokens) <= subword_size <= vocab_size:
        raise ValueError(f"{op}: subword_size must lie between the bytes and special tokens, and vocab_size = "
                         f"{vocab_size}; got {subword_size}")  # fmt: skip
    if isinstance(texts, Iterator):
        raise ValueError(f"{op}: texts must be a list, column or Paths, which can be read again")
    if sample_bytes < 1 or max_spaces < 1:
        raise ValueError(f"{op}: sample_bytes and max_spaces must be at least 1, got {sample_bytes} and {max_spaces}")
    words, counts = count_texts(texts, pattern=pattern, threads=threads, impl=impl)
    learned = learn_bpe.learn(
        words, counts, pattern=pattern, vocab_size=subword_size, special_tokens=special_tokens,
        min_frequency=min_frequency, impl=impl,
    )  # fmt: skip
    del words, counts
    superwords, counts, sampled = count_superwords(texts, pattern, sample_bytes, threads=threads, impl=impl)
    symbols, offsets = learned.tokenizer().encode_batch(superwords, threads=threads)
    del superwords
    tokens = [*learned.tokens]
    spelled = [b"" if t in {s.encode() for s in special_tokens} else t for t in tokens]
    pairs, ids = bpe_train(
        symbols,
        offsets,
        counts,
        tokens=spelled,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        token_sizes=np.array([t.count(b" ") for t in spelled], np.uint32),
        # A token of the first stage may be a longer run of spaces than that; it stays, and merges no further.
        max_size=max_spaces,
        impl=impl,
    )
    for (left, right), i in zip(pairs.tolist(), ids.tolist()):
        if i == len(tokens):
            tokens.append(tokens[left] + tokens[right])
    both = learn_bpe.Learned(
        tokens, np.concatenate([learned.pairs, pairs]), np.concatenate([learned.ids, ids]), learned.special_tokens,
        patterns.SUPERWORDS[pattern], "hf",
    )  # fmt: skip
    num_superwords = sum(b" " in t[1:].lstrip(b" ") for t in tokens[len(spelled) :])
    return SuperBpe(both.vocabulary(pad_to_multiple=pad_to_multiple), num_superwords, sampled)


def count_superwords(
    texts: Texts, pattern: str, sample_bytes: int, *, threads: int | None = None, impl: str | None = None
) -> tuple[TextColumn, npt.NDArray[np.int64], int]:
    """Every superword of the sample, in the order of its bytes, how often it occurs, and the sample's bytes."""
    counter = WordCounter(patterns.SUPERWORDS[pattern], impl=impl)
    sampled = 0
    for column in sample(texts, sample_bytes, threads=threads):
        sampled += column.num_bytes
        counter.add(column, threads=threads)
    words, counts = counter.words()
    return words, counts, sampled
