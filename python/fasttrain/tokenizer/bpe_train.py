"""Learning BPE merges: pretokens counted natively, merges learnt natively, both on plain arrays."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import bpe_train_ref, patterns

_MAX_IDS = 2**32 - 1


class WordCounter:
    """Unique pretokens and their counts; texts are added in pieces and forgotten.

    Memory follows the unique pretokens (times threads), never the text.
    """

    def __init__(self, pattern: str = "cl100k", *, impl: str | None = None) -> None:
        self.pattern = pattern
        self._number = patterns.number("bpe_train", pattern)
        self._impl = backend.choose("bpe_train", impl)
        self._reference: Counter[bytes] = Counter()
        self._native = None if self._impl == "reference" else backend.native("WordCounter")(self._number)

    def add(self, column: TextColumn, *, threads: int | None = None) -> None:
        """Count the pretokens of N texts. Raises TypeError, ValueError: see `pretokenize`."""
        check.array("bpe_train", "data", column.data, np.uint8, (None,))
        check.offsets("bpe_train", "offsets", column.offsets, len(column.data))
        if self._native is None:
            self._reference += bpe_train_ref.count_words([column[n] for n in range(len(column))], self.pattern)
        else:
            self._native.add(column.data, column.offsets, threads or backend.num_threads(), self._impl)

    def add_counted(self, words: TextColumn, counts: npt.NDArray[np.int64]) -> None:
        """Add what another counter's `words` gave: W words, (W,) int64 counts of at least 1."""
        check.array("bpe_train", "data", words.data, np.uint8, (None,))
        check.offsets("bpe_train", "offsets", words.offsets, len(words.data))
        check.array("bpe_train", "counts", counts, np.int64, (len(words),))
        if len(counts) and int(counts.min()) < 1:
            raise ValueError(f"bpe_train: counts must be at least 1, got {int(counts.min())}")
        if self._native is None:
            for w, count in enumerate(counts.tolist()):
                self._reference[words[w]] += count
        else:
            self._native.add_counted(words.data, words.offsets, counts)

    def merge(self, other: "WordCounter", times: int = 1) -> None:
        """Add the other's words, each occurrence `times` times. Both must be of one implementation."""
        if times < 1:
            raise ValueError(f"bpe_train: times must be at least 1, got {times}")
        if self._native is None:
            for word, count in other._reference.items():
                self._reference[word] += count * times
        else:
            self._native.merge(other._native, times)

    def exceeds(self, num_words: int) -> bool:
        """Whether there are more than so many words."""
        return len(self._reference) > num_words if self._native is None else bool(self._native.exceeds(num_words))

    def words(self) -> tuple[TextColumn, npt.NDArray[np.int64]]:
        """Every word, in the order of its bytes, and its count."""
        if self._native is None:
            found = sorted(self._reference.items())
            return from_texts([w for w, _ in found]), np.array([c for _, c in found], np.int64)
        num, size = self._native.sizes()
        data, offsets, counts = np.empty(size, np.uint8), np.empty(num + 1, np.int64), np.empty(num, np.int64)
        self._native.words(data, offsets, counts)
        return TextColumn(data, offsets), counts


def bpe_train(
    symbols: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    *,
    tokens: Sequence[bytes],
    vocab_size: int,
    min_frequency: int = 0,
    reuses_ids: bool = True,
    given: npt.NDArray[np.uint32] | None = None,
    token_sizes: npt.NDArray[np.uint32] | None = None,
    max_size: int = 0,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Learn merges until the vocabulary has `vocab_size` tokens or no pair is frequent enough.

    The pair with the highest count merges first, of equals the one with the smallest (left id, right id). With
    `reuses_ids` the vocabulary equals that of Hugging Face tokenizers' BpeTrainer on the same words and initial tokens,
    without it that of rustbpe (when bytes are ids 0 to 255).

    Shapes: W words, S symbols in all, K initial tokens, G given merges, M merges.
    Args:
        symbols: (S,) uint32, the words' initial tokens, one word after another; overwritten.
        offsets: (W+1,) int64, where each word begins. counts: (W,) int64, how often each occurs.
        tokens: K initial tokens by id; b"" for one that no merge may give.
        vocab_size: tokens wanted in all; merges stop there.
        min_frequency: a pair that occurs less often does not merge.
        reuses_ids: a merge whose bytes are a token already gives that token's id; else every merge gives a new one.
        given: (G, 3) uint32, merges (left, right, result) that every word goes through before learning, in order.
        token_sizes: (K,) uint32, a size of each token, which adds up in merges; a pair larger than `max_size` never
            merges. None: no such bound.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (M, 2) uint32 pairs in the order of learning and (M,) uint32 ids; new ids go on from K.
    Raises: TypeError, ValueError: a wrong dtype, shape or number, an id that is no initial token.
    Cost: memory about 20 bytes a symbol and 60 a distinct pair; G passes over the symbols.
    Source: Sennrich et al. 2016.
    """
    op = "bpe_train"
    check.array(op, "symbols", symbols, np.uint32, (None,))
    check.offsets(op, "offsets", offsets, len(symbols))
    check.array(op, "counts", counts, np.int64, (len(offsets) - 1,))
    given = np.empty((0, 3), np.uint32) if given is None else given
    check.array(op, "given", given, np.uint32, (None, 3))
    sizes = np.empty(0, np.uint32) if token_sizes is None else token_sizes
    check.array(op, "token_sizes", sizes, np.uint32, (0 if token_sizes is None else len(tokens),))
    for name, ids in (("symbols", symbols), ("given", given)):
        if ids.size and int(ids.max()) >= len(tokens):
            raise ValueError(f"{op}: {name} must be ids of the {len(tokens)} initial tokens, got {int(ids.max())}")
    if not len(tokens) <= vocab_size < _MAX_IDS:
        raise ValueError(
            f"{op}: vocab_size must be at least the {len(tokens)} initial tokens and below 2^32 - 1, got {vocab_size}"
        )
    if len(counts) >= _MAX_IDS or int(np.diff(offsets).max(initial=0)) >= _MAX_IDS:
        raise ValueError(f"{op}: words and symbols in one must be fewer than 2^32 - 1, got {len(counts)} words")
    _check_counts(op, counts, offsets)
    impl = backend.choose(op, impl)
    if impl == "reference":
        words = [symbols[a:b].tolist() for a, b in pairwise(offsets.tolist())]
        merges = bpe_train_ref.learn(
            words, counts.tolist(), tokens, vocab_size,
            min_frequency=min_frequency, reuses_ids=reuses_ids, given=[tuple(g) for g in given.tolist()],
            token_sizes=sizes.tolist(), max_size=max_size,
        )  # fmt: skip
        flat = np.array(merges, np.uint32).reshape(-1, 3)
        return np.ascontiguousarray(flat[:, :2]), np.ascontiguousarray(flat[:, 2])
    initial = from_texts(tokens)
    # A merge that gives no new token is rare in text, but not in all that can be made up; untouched pages cost nothing.
    capacity = 16 * (vocab_size - len(tokens)) + (1 << 16)
    pairs, ids = np.empty((capacity, 2), np.uint32), np.empty(capacity, np.uint32)
    num = backend.native(op)(
        symbols, offsets, counts, initial.data, initial.offsets, given, sizes, pairs, ids,
        vocab_size, min_frequency, reuses_ids, max_size, impl,
    )  # fmt: skip
    if num < 0:
        raise ValueError(f"{op}: more than {capacity:,} merges for {vocab_size - len(tokens):,} new tokens")
    return pairs[:num].copy(), ids[:num].copy()


def _check_counts(op: str, counts: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> None:
    """Sums of pairs must stay exact in 64 bits: no pair can occur more often than there are symbols."""
    if len(counts) and int(counts.min()) < 1:
        raise ValueError(f"{op}: counts must be at least 1, got {int(counts.min())}")
    most = float(np.multiply(counts, np.diff(offsets), dtype=np.float64).sum())
    if most >= 2.0**62:
        raise ValueError(f"{op}: counts times lengths must sum to less than 2^62, got {most:.3g}; use smaller weights")
