"""Texts to token ids with BPE-dropout: a text has other ids with every seed, and decodes to itself with all."""

import re

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import bpe_dropout_ref
from fasttrain.tokenizer.bpe_encode import MAX_ID, BpeModel


def bpe_dropout(
    model: BpeModel,
    column: TextColumn,
    *,
    dropout: float,
    seed: int,
    first_text: int = 0,
    parts: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]] | None = None,
    eot: int | None = None,
    finds_added: bool = False,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the ids of all texts, one after another, and where each text's begin.

    At every step of a piece each merge that could be made is dropped with probability `dropout`; of those that remain
    the first is made, and when none does, the piece is done. 0 gives the ids that merging alone gives, 1 the bytes.

    Shapes: N texts of S bytes, T ids.
    Args:
        column: N texts.
        dropout: the probability, from 0 to 1.
        seed: from 0 to 2^64 - 1. What is dropped depends on it, on the number of the text, the byte and the step.
        first_text: number of the first text, when these are a part of more: the ids are those of the whole.
        parts: of texts that are parts of texts: two (N,) uint64, which text, counted from `first_text`, and the byte
            of it at which the part begins. The ids are those of the parts where they stand.
        eot: appended to each text's ids; None: nothing is.
        finds_added: the model's added tokens are looked for first, leftmost, of those the longest; they stay whole.
        threads: at most so many; backend.num_threads() when None. The ids do not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]].
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, a dropout, seed,
        first_text or eot out of range, or an impl.
    Cost: O(P log P / (1 - dropout)) for each piece of P bytes; there is no cache.
    Source: Provilkov et al. 2020. A piece that is a token is not emitted whole, as in Hugging Face tokenizers, which
        otherwise drop fewer (see csrc/tokenizer/bpe_dropout.h).
    """
    op = "bpe_dropout"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    check_dropout(op, dropout)
    for name, value, most in (("seed", seed, (1 << 64) - 1), ("first_text", first_text, (1 << 62) - 1)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"{op}: {name} must be a whole number from 0 to {most}, got {value!r}")
    if eot is not None and not 0 <= eot <= MAX_ID:
        raise ValueError(f"{op}: eot must be an id up to {MAX_ID}, got {eot}")
    whole = np.zeros(0, np.uint64)
    numbers, begins = parts or (whole, whole)
    if parts is not None:
        check.array(op, "parts[0]", numbers, np.uint64, (len(column),))
        check.array(op, "parts[1]", begins, np.uint64, (len(column),))
    impl = backend.choose(op, impl)
    threshold = int(dropout * (1 << bpe_dropout_ref.DRAW_BITS))
    offsets = np.zeros(len(column) + 1, np.int64)
    if impl == "reference":
        tail = [] if eot is None else [eot]
        places = [(n, 0) for n in range(len(column))] if parts is None else zip(numbers.tolist(), begins.tolist())
        keys = [(bpe_dropout_ref.text_key(seed, first_text + number), at) for number, at in places]
        texts = [
            _reference(model, column[n], key, threshold, finds_added, at) + tail for n, (key, at) in enumerate(keys)
        ]
        np.cumsum([len(t) for t in texts], out=offsets[1:])
        return np.array([i for t in texts for i in t], np.uint32), offsets
    ids = np.empty(column.num_bytes + len(column), np.uint32)
    backend.native(op)(
        model.handle, column.data, column.offsets, ids, offsets, -1 if eot is None else eot, finds_added,
        seed, threshold, first_text, numbers, begins, threads or backend.num_threads(), impl,
    )  # fmt: skip
    ids.resize(int(offsets[-1]), refcheck=False)
    return ids, offsets


def check_dropout(op: str, dropout: float) -> None:
    """Raises ValueError unless `dropout` is a probability."""
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise ValueError(f"{op}: dropout must be a probability from 0 to 1, got {dropout!r}")


def _reference(model: BpeModel, text: bytes, key: int, threshold: int, finds_added: bool, first: int) -> list[int]:
    pattern, byte_ids, merges, _ = model.reference
    names = sorted(model.added, key=len, reverse=True) if finds_added else []
    ids, at = [], 0
    for found in re.finditer(b"|".join(map(re.escape, names)), text) if names else ():
        ids += bpe_dropout_ref.encode(text[at : found.start()], pattern, byte_ids, merges, key, threshold, first + at)
        ids.append(model.added[found.group()])
        at = found.end()
    return ids + bpe_dropout_ref.encode(text[at:], pattern, byte_ids, merges, key, threshold, first + at)
