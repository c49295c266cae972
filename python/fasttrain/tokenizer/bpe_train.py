"""Learning BPE merges: pretokens counted natively, merges learnt natively, both on plain arrays."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import bpe_train_ref, patterns


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
    words: TextColumn,
    counts: npt.NDArray[np.int64],
    *,
    tokens: Sequence[bytes],
    byte_ids: npt.NDArray[np.uint32],
    vocab_size: int,
    min_frequency: int = 0,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Learn merges until the vocabulary has `vocab_size` tokens or no pair is frequent enough.

    The pair with the highest count merges first, of equals the one with the smallest (left id, right id): the
    vocabulary equals that of Hugging Face tokenizers' BpeTrainer on the same words and initial tokens.

    Shapes: W words, K initial tokens, M merges.
    Args:
        words: W unique words; counts: (W,) int64, how often each occurs.
        tokens: K initial tokens by id; b"" for one that no merge may give.
        byte_ids: (256,) uint32. Id of each byte among them.
        vocab_size: tokens wanted in all; merges stop there.
        min_frequency: a pair that occurs less often does not merge.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (M, 2) uint32 pairs in the order of learning and (M,) uint32 ids; new ids go on from K. A merge whose bytes
        are a token already gives that token's id.
    Raises: TypeError, ValueError: a wrong dtype, shape or number.
    Cost: memory about 4 bytes a byte of unique words, and about 60 a distinct pair.
    Source: Sennrich et al. 2016.
    """
    op = "bpe_train"
    check.array(op, "data", words.data, np.uint8, (None,))
    check.offsets(op, "offsets", words.offsets, len(words.data))
    check.array(op, "counts", counts, np.int64, (len(words),))
    check.array(op, "byte_ids", byte_ids, np.uint32, (256,))
    if int(byte_ids.max()) >= len(tokens):
        raise ValueError(f"{op}: byte_ids must be ids of the {len(tokens)} initial tokens, got {int(byte_ids.max())}")
    if vocab_size < len(tokens):
        raise ValueError(f"{op}: vocab_size must be at least the {len(tokens)} initial tokens, got {vocab_size}")
    impl = backend.choose(op, impl)
    if impl == "reference":
        table = {words[w]: c for w, c in enumerate(counts.tolist())}
        merges = bpe_train_ref.learn(table, tokens, byte_ids.tolist(), vocab_size, min_frequency)
        flat = np.array(merges, np.uint32).reshape(-1, 3)
        return np.ascontiguousarray(flat[:, :2]), np.ascontiguousarray(flat[:, 2])
    initial = from_texts(tokens)
    capacity = vocab_size + vocab_size // 4 + 1024  # merges that give no new token are rare; more than these never seen
    while True:
        pairs, ids = np.empty((capacity, 2), np.uint32), np.empty(capacity, np.uint32)
        num = backend.native(op)(
            words.data, words.offsets, counts, initial.data, initial.offsets, byte_ids, pairs, ids,
            vocab_size, min_frequency, impl,
        )  # fmt: skip
        if num >= 0:
            return pairs[:num].copy(), ids[:num].copy()
        capacity *= 4
