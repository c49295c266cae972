"""Training a tokenizer from texts, columns or files."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128
from fasttrain.tokenizer import learn_bpe, weighting
from fasttrain.tokenizer.bpe_train import WordCounter
from fasttrain.tokenizer.read_texts import Texts, read_columns, take
from fasttrain.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("fasttrain.tokenizer")
EOT = "<|endoftext|>"


def train_bpe(
    texts: Texts | Mapping[str, Texts],
    *,
    vocab_size: int,
    pattern: str = "cl100k",
    tie_break: str = "hf",
    special_tokens: Sequence[str] = (EOT,),
    given_tokens: Sequence[str] = (),
    whitespace_runs: int = 1,
    split_digits: bool = False,
    min_frequency: int = 0,
    pad_to_multiple: int = 1,
    weights: Mapping[str, float] | None = None,
    max_words: int | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> Tokenizer:
    """Train byte-level BPE; the vocabulary equals that of Hugging Face tokenizers' BpeTrainer on the same texts.

    Ids: special tokens, then the 256 bytes in the order of GPT-2's alphabet, then given tokens, then merges in the
    order of learning. Ties go to the pair with the smallest (left id, right id). With tie_break="rustbpe" the
    vocabulary equals rustbpe's: bytes in their own order, given tokens, merges, special tokens.

    Args:
        texts: strings or UTF-8 bytes, a TextColumn, a pyarrow string column, or Paths: of a .parquet file its documents
            are the texts, of any other file its lines, each with its end (as tokenizers' `train(files)` reads them).
            Or a mapping from a source's name to its texts.
        vocab_size: tokens wanted; fewer come out when the text has no more pairs.
        pattern: cl100k, llama3, qwen2 or gpt2. It says how numbers are cut: by three digits, by one (qwen2), or not.
        tie_break: hf or rustbpe.
        special_tokens: ids from 0 on (hf) or the last ones (rustbpe).
        given_tokens: texts that shall be one token each, such as "->" or "\\t\\t"; they are ordinary tokens, made by
            merges before all learnt ones. A pattern cuts some texts: those are refused.
        whitespace_runs: every run of 2 to so many spaces shall be a token.
        split_digits: no merge ever joins two ASCII digits.
        min_frequency: a pair that occurs less often does not merge.
        pad_to_multiple: fill the vocabulary with reserved special tokens up to a multiple of this.
        weights: share of each source in the training, in any unit, whatever the size of its text. None: every
            occurrence counts once.
        max_words: at most so many distinct pretokens are held (about 300 bytes each). Beyond it a half, a quarter, ...
            of the texts is taken, the same ones whatever else changes, and a warning says so. None: no bound.
        threads: at most so many, for counting. The result does not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Raises: ValueError: a vocabulary too small, an unknown pattern, tie_break or impl, weights that name no source,
        texts that cannot be read again with `max_words`.
    Cost: one pass over the text, then memory and time by its unique pretokens.
    """
    [tokenizer] = train_bpe_nested(
        texts,
        vocab_sizes=[vocab_size],
        pattern=pattern,
        tie_break=tie_break,
        special_tokens=special_tokens,
        given_tokens=given_tokens,
        whitespace_runs=whitespace_runs,
        split_digits=split_digits,
        min_frequency=min_frequency,
        pad_to_multiple=pad_to_multiple,
        weights=weights,
        max_words=max_words,
        threads=threads,
        impl=impl,
    )
    return tokenizer


def train_bpe_nested(
    texts: Texts | Mapping[str, Texts],
    *,
    vocab_sizes: Sequence[int],
    pattern: str = "cl100k",
    tie_break: str = "hf",
    special_tokens: Sequence[str] = (EOT,),
    given_tokens: Sequence[str] = (),
    whitespace_runs: int = 1,
    split_digits: bool = False,
    min_frequency: int = 0,
    pad_to_multiple: int = 1,
    weights: Mapping[str, float] | None = None,
    max_words: int | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> list[Tokenizer]:
    """Tokenizers of several sizes from one training; each is what `train_bpe` gives for its size alone."""
    if not vocab_sizes:
        raise ValueError("bpe_train: vocab_sizes must hold at least one size, got none")
    learn_bpe.check_options(vocab_size=min(vocab_sizes), special_tokens=special_tokens, tie_break=tie_break)
    words, counts = count_texts(
        texts, pattern=pattern, weights=weights, max_words=max_words, threads=threads, impl=impl
    )
    learned = learn_bpe.learn(
        words,
        counts,
        pattern=pattern,
        vocab_size=max(vocab_sizes),
        special_tokens=special_tokens,
        tie_break=tie_break,
        given=given_tokens,
        whitespace_runs=whitespace_runs,
        split_digits=split_digits,
        min_frequency=min_frequency * (weighting.UNIT if weights else 1),
        impl=impl,
    )
    return [learned.tokenizer(size, pad_to_multiple=pad_to_multiple) for size in vocab_sizes]


def count_texts(
    texts: Texts | Mapping[str, Texts],
    *,
    pattern: str,
    weights: Mapping[str, float] | None = None,
    max_words: int | None = None,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[TextColumn, npt.NDArray[np.int64]]:
    """The first half of `train_bpe`: every pretoken and how often it counts."""
    sources: Mapping[str, Any] = texts if isinstance(texts, Mapping) else {"": texts}
    if weights is not None and not isinstance(texts, Mapping):
        raise ValueError("bpe_train: weights need texts by source, {'web': ..., 'code': ...}")
    if max_words is not None and any(isinstance(t, Iterator) for t in sources.values()):
        raise ValueError("bpe_train: with max_words texts must be a list, column or Paths, which can be read again")
    level = 0
    while True:
        counted = _count(sources, pattern, weights, max_words, level, threads, impl)
        if counted is not None:
            break
        level += 1
    if level:
        log.warning("bpe_train: more than %d distinct pretokens; one text in %d was trained on", max_words, 1 << level)
    return counted


def _count(
    sources: Mapping[str, Any],
    pattern: str,
    weights: Mapping[str, float] | None,
    max_words: int | None,
    level: int,
    threads: int | None,
    impl: str | None,
) -> tuple[TextColumn, npt.NDArray[np.int64]] | None:
    """Counts of the texts whose hash ends in `level` zeros; None when they hold more than `max_words` words."""
    whole = WordCounter(pattern, impl=impl)
    counters: dict[str, WordCounter] = {}
    sizes: dict[weighting.Cell, int] = {}
    for name, texts in sources.items():
        counter = counters[name] = whole if weights is None else WordCounter(pattern, impl=impl)
        for column in read_columns(texts):
            if level:
                ends = hash128(column, threads=threads, impl=impl)[:, 0] & np.uint64((1 << level) - 1)
                column = take(column, ends == 0)
            sizes[name, ""] = sizes.get((name, ""), 0) + column.num_bytes
            counter.add(column, threads=threads)
            if max_words is not None and counter.exceeds(max_words):
                return None
    if not sum(sizes.values()):
        why = f"; max_words = {max_words} is less than one text holds" if level else ""
        raise ValueError(f"bpe_train: there must be text to train on, got none{why}")
    if weights is not None:
        for (name, _), times in weighting.multipliers(sizes, weights).items():
            if times:
                whole.merge(counters.pop(name), times)
        if max_words is not None and whole.exceeds(max_words):
            return None
    return whole.words()
