"""Training a tokenizer from texts, columns or files."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fasttrain.formats.document import iter_documents
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import byte_level
from fasttrain.tokenizer.bpe_train import WordCounter, bpe_train
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.vocabulary import from_merges

EOT = "<|endoftext|>"
_BATCH_BYTES = 8 << 20  # what is held of the text at a time


def train_bpe(
    texts: Iterable[str | bytes | Path] | TextColumn | Any,
    *,
    vocab_size: int,
    pattern: str = "cl100k",
    special_tokens: Sequence[str] = (EOT,),
    min_frequency: int = 0,
    pad_to_multiple: int = 1,
    threads: int | None = None,
    impl: str | None = None,
) -> Tokenizer:
    """Train byte-level BPE; the vocabulary equals that of Hugging Face tokenizers' BpeTrainer on the same texts.

    Ids: special tokens, then the 256 bytes in the order of GPT-2's alphabet, then merges in the order of learning.
    Ties go to the pair with the smallest (left id, right id).

    Args:
        texts: strings or UTF-8 bytes, a TextColumn, a pyarrow string column, or Paths: of a .parquet file its documents
            are the texts, of any other file its lines, each with its end (as tokenizers' `train(files)` reads them).
        vocab_size: tokens wanted; fewer come out when the text has no more pairs.
        pattern: cl100k, llama3, qwen2 or gpt2.
        special_tokens: ids from 0 on.
        min_frequency: a pair that occurs less often does not merge.
        pad_to_multiple: fill the vocabulary with reserved special tokens up to a multiple of this.
        threads: at most so many, for counting. The result does not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Raises: ValueError: a vocabulary smaller than bytes and special tokens, an unknown pattern or impl.
    Cost: one pass over the text, then memory and time by its unique pretokens.
    """
    counter = WordCounter(pattern, impl=impl)
    for column in _columns(texts):
        counter.add(column, threads=threads)
    return from_words(
        counter,
        vocab_size=vocab_size,
        special_tokens=special_tokens,
        min_frequency=min_frequency,
        pad_to_multiple=pad_to_multiple,
        impl=impl,
    )


def from_words(
    counter: WordCounter,
    *,
    vocab_size: int,
    special_tokens: Sequence[str],
    min_frequency: int = 0,
    pad_to_multiple: int = 1,
    impl: str | None = None,
) -> Tokenizer:
    """The second half of `train_bpe`: from counted pretokens to a tokenizer."""
    if len(set(special_tokens)) != len(special_tokens) or "" in special_tokens:
        raise ValueError(f"bpe_train: special_tokens must be distinct and not empty, got {list(special_tokens)}")
    if vocab_size < 256 + len(special_tokens):
        raise ValueError(
            f"bpe_train: vocab_size must hold 256 bytes and {len(special_tokens)} special tokens, got {vocab_size}"
        )
    alphabet = byte_level.alphabet()
    order = sorted(range(256), key=lambda b: alphabet[b])
    byte_ids = np.empty(256, np.uint32)
    byte_ids[order] = np.arange(256) + len(special_tokens)
    singles = [bytes([b]) for b in order]
    # A merge that spells a special token gives its id, as in tokenizers.
    initial = [*((byte_level.to_bytes(t) or b"") for t in special_tokens), *singles]
    words, counts = counter.words()
    pairs, ids = bpe_train(
        words,
        counts,
        tokens=initial,
        byte_ids=byte_ids,
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        impl=impl,
    )
    tokens = [*(t.encode() for t in special_tokens), *singles]
    spelled = [*initial]
    for (left, right), i in zip(pairs.tolist(), ids.tolist()):
        if i == len(tokens):
            spelled.append(spelled[left] + spelled[right])
            tokens.append(spelled[-1])
    special = {t: i for i, t in enumerate(special_tokens)}
    for k in range(-len(tokens) % pad_to_multiple):
        special[f"<|reserved_{k}|>"] = len(tokens)
        tokens.append(f"<|reserved_{k}|>".encode())
    return Tokenizer(from_merges(tokens, special, pairs, ids, counter.pattern))


def _columns(texts: Any) -> Iterator[TextColumn]:
    if isinstance(texts, TextColumn):
        yield texts
    elif isinstance(texts, pa.Array | pa.ChunkedArray):
        yield columns.from_arrow(texts)
    elif isinstance(texts, str | bytes):
        raise TypeError("bpe_train: texts must be many texts, or Paths; got one string")
    elif isinstance(texts, Path):
        yield from _columns([texts])
    else:
        batch: list[str | bytes] = []
        size = 0
        for text in _texts(texts):
            if isinstance(text, TextColumn):
                yield text
                continue
            batch.append(text)
            size += len(text)
            if size >= _BATCH_BYTES:
                yield columns.from_texts(batch)
                batch, size = [], 0
        yield columns.from_texts(batch)


def _texts(texts: Iterable[str | bytes | Path]) -> Iterator[str | bytes | TextColumn]:
    for text in texts:
        if not isinstance(text, Path):
            yield text
        elif text.suffix == ".parquet":
            for batch in iter_documents(text, ["text"]):
                yield columns.from_arrow(batch.column("text"))
        else:
            with text.open("rb") as file:
                yield from file
