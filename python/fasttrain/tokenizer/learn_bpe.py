"""From counted pretokens to tokenizers: order of ids, given tokens, digits, nested sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import byte_level, given_tokens
from fasttrain.tokenizer.bpe_train import WordCounter, bpe_train
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.vocabulary import Vocabulary, from_merges

TIE_BREAKS = ("hf", "rustbpe")
"""Whose vocabulary comes out, byte for byte: that of Hugging Face tokenizers' BpeTrainer, or that of rustbpe.

hf: ids are special tokens, the bytes in the order of GPT-2's alphabet, merges; of equal counts the pair with the
smallest ids merges first; a merge that spells a token gives its id. rustbpe: bytes in their own order, merges, special
tokens; ties likewise, by these ids; every merge gives a new id (of tokens that spell the same, the last is kept).
"""


@dataclass(frozen=True)
class Learned:
    """What one training gives; tokenizers of several sizes are cut from it."""

    tokens: list[bytes]
    """By id, special tokens in front of them (hf) or not among them (rustbpe)."""
    pairs: npt.NDArray[np.uint32]  # (M, 2)
    ids: npt.NDArray[np.uint32]  # (M,)
    special_tokens: tuple[str, ...]
    pattern: str
    tie_break: str

    @property
    def size(self) -> int:
        """Tokens in all, special ones too."""
        return len(self.tokens) + (len(self.special_tokens) if self.tie_break == "rustbpe" else 0)

    def tokenizer(self, vocab_size: int | None = None, *, pad_to_multiple: int = 1) -> Tokenizer:
        """The tokenizer of the first `vocab_size` tokens, filled up with reserved tokens to a multiple.

        Of two sizes the smaller one's merges are the first ones of the larger one's.
        """
        return Tokenizer(self.vocabulary(vocab_size, pad_to_multiple=pad_to_multiple))

    def vocabulary(self, vocab_size: int | None = None, *, pad_to_multiple: int = 1) -> Vocabulary:
        """The same as plain data."""
        ends = self.special_tokens if self.tie_break == "rustbpe" else ()
        num = len(self.tokens) if vocab_size is None else min(vocab_size - len(ends), len(self.tokens))
        tokens = self.tokens[:num]
        # Ids rise until the first token that is left out; of later merges none can be kept, in the order of learning.
        beyond = np.flatnonzero(self.ids >= num)
        kept = int(beyond[0]) if len(beyond) else len(self.ids)
        pairs, ids = self.pairs[:kept], self.ids[:kept]
        if self.tie_break == "rustbpe":
            pairs, ids = _last_of_equals(tokens, pairs, ids)
        special = {t: i for i, t in enumerate(() if ends else self.special_tokens)}
        for name in ends:
            special[name] = len(tokens)
            tokens.append(name.encode())
        for k in range(-len(tokens) % pad_to_multiple):
            special[f"<|reserved_{k}|>"] = len(tokens)
            tokens.append(f"<|reserved_{k}|>".encode())
        return from_merges(tokens, special, pairs, ids, self.pattern)


def learn(
    words: TextColumn,
    counts: npt.NDArray[np.int64],
    *,
    pattern: str,
    vocab_size: int,
    special_tokens: Sequence[str],
    tie_break: str = "hf",
    given: Sequence[str] = (),
    whitespace_runs: int = 1,
    split_digits: bool = False,
    min_frequency: int = 0,
    impl: str | None = None,
) -> Learned:
    """The second half of `train_bpe`: from counted pretokens to a vocabulary. Arguments and errors as there."""
    check_options(vocab_size=vocab_size, special_tokens=special_tokens, tie_break=tie_break)
    reuses_ids = tie_break == "hf"
    alphabet = byte_level.alphabet()
    order = sorted(range(256), key=lambda b: alphabet[b]) if reuses_ids else list(range(256))
    # A merge that spells a special token gives its id, as in tokenizers.
    spelled = [(byte_level.to_bytes(t) or b"") for t in special_tokens] if reuses_ids else []
    byte_ids = np.empty(256, np.uint32)
    byte_ids[order] = np.arange(256) + len(spelled)
    spelled += [bytes([b]) for b in order]
    rules = given_tokens.merges(spelled, given, whitespace_runs, pattern)
    most = vocab_size - (0 if reuses_ids else len(special_tokens))
    if len(spelled) > most:
        raise ValueError(
            f"bpe_train: vocab_size must hold bytes, special tokens and the given tokens with their parts, "
            f"{vocab_size - most + len(spelled)} in all, got {vocab_size}"
        )
    if split_digits:
        words, counts = _split_digits(words, counts, pattern)
    symbols = _symbols(words, byte_ids)
    learned, ids = bpe_train(
        symbols,
        words.offsets - words.offsets[0],
        counts,
        tokens=spelled,
        vocab_size=most,
        min_frequency=min_frequency,
        reuses_ids=reuses_ids,
        given=rules,
        impl=impl,
    )
    pairs, ids = np.concatenate([rules[:, :2], learned]), np.concatenate([rules[:, 2], ids])
    for (left, right), i in zip(learned.tolist(), ids[len(rules) :].tolist()):
        if i == len(spelled):
            spelled.append(spelled[left] + spelled[right])
    if reuses_ids:
        spelled[: len(special_tokens)] = [t.encode() for t in special_tokens]
    return Learned(spelled, pairs, ids, tuple(special_tokens), pattern, tie_break)


def _symbols(words: TextColumn, byte_ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """(S,) the ids of all bytes; in blocks, as indexing makes 8 bytes of each index."""
    data = words.data[words.offsets[0] : words.offsets[-1]]
    symbols = np.empty(len(data), np.uint32)
    for at in range(0, len(data), 1 << 20):
        symbols[at : at + (1 << 20)] = byte_ids[data[at : at + (1 << 20)]]
    return symbols


def check_options(*, vocab_size: int, special_tokens: Sequence[str], tie_break: str) -> None:
    """Raises ValueError: what cannot be trained whatever the text is."""
    if tie_break not in TIE_BREAKS:
        raise ValueError(f"bpe_train: tie_break must be one of {', '.join(TIE_BREAKS)}, got {tie_break!r}")
    if len(set(special_tokens)) != len(special_tokens) or "" in special_tokens:
        raise ValueError(f"bpe_train: special_tokens must be distinct and not empty, got {list(special_tokens)}")
    if vocab_size < 256 + len(special_tokens):
        raise ValueError(
            f"bpe_train: vocab_size must hold 256 bytes and {len(special_tokens)} special tokens, got {vocab_size}"
        )


def _split_digits(
    words: TextColumn, counts: npt.NDArray[np.int64], pattern: str
) -> tuple[TextColumn, npt.NDArray[np.int64]]:
    """Cut words between two ASCII digits, so that no merge ever joins two; then any pattern leaves each one alone."""
    first = int(words.offsets[0])
    data = words.data[first : words.offsets[-1]]
    is_digit = (data >= ord("0")) & (data <= ord("9"))
    starts = np.zeros(len(data) + 1, np.bool_)
    starts[words.offsets - first] = True
    starts[1:-1] |= is_digit[1:] & is_digit[:-1]
    offsets = np.flatnonzero(starts)
    word = np.searchsorted(words.offsets - first, offsets[:-1], side="right") - 1
    counter = WordCounter(pattern)
    counter.add_counted(TextColumn(data, offsets), np.ascontiguousarray(counts[word]))
    return counter.words()


def _last_of_equals(
    tokens: list[bytes], pairs: npt.NDArray[np.uint32], ids: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Files name tokens by their bytes: of equal ones the last keeps its id, the others become b"" (in place)."""
    last = {t: i for i, t in enumerate(tokens)}
    if len(last) == len(tokens):
        return pairs, ids
    kept = np.array([last[t] for t in tokens], np.uint32)
    for i in np.flatnonzero(kept != np.arange(len(tokens))).tolist():
        tokens[i] = b""
    return kept[pairs], kept[ids]
