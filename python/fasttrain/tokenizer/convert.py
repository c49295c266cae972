"""Conversions between the two semantics of BPE files, and whether the ids stay the same.

merge list   tokenizer.json: the order of the listed merges is their priority; a pair that is not listed never merges
ranks        .tiktoken: any two neighbours whose bytes together are a token merge, the lowest id first, the leftmost of
             equals; a pretoken that is a token is that token

A list says of each token by which pairs it is made, ranks do not; so one form of a vocabulary is the other only where
both have the same pairs in the same order. Of a trained vocabulary that is seldom so (of "abc", made of "ab" and "c",
ranks also know "a" and "bc"), yet the ids of real text hardly ever differ. What is not proved is counted.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.comm.threads import threads_of_rank
from fasttrain.formats import atomic
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import sentencepiece_json, tiktoken_file, tokenizer_json
from fasttrain.tokenizer.extend import is_ranked
from fasttrain.tokenizer.health import unmerged
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.tokenizer import AnyTokenizer, Tokenizer
from fasttrain.tokenizer.vocabulary import Vocabulary


@dataclass
class Differences:
    """Between the ids of two tokenizers of the same vocabulary, over the texts that were compared."""

    docs: int = 0
    differing_docs: int = 0
    tokens: int = 0
    """Of the first one."""
    differing_tokens: int = 0
    """Of these, the ones that the second one has not at the same bytes."""

    def add(self, one: AnyTokenizer, other: AnyTokenizer, column: TextColumn) -> None:
        """Compare N more texts."""
        ids, offsets = one.encode_batch(column, threads=threads_of_rank())
        theirs, their_offsets = other.encode_batch(column, threads=threads_of_rank())
        self.docs += len(column)
        self.tokens += len(ids)
        if len(ids) == len(theirs) and np.array_equal(ids, theirs):
            return
        for n in range(len(column)):
            a, b = ids[offsets[n] : offsets[n + 1]], theirs[their_offsets[n] : their_offsets[n + 1]]
            if not np.array_equal(a, b):
                self.differing_docs += 1
                self.differing_tokens += len(a) - len(_spans(one, a) & _spans(other, b))


def _spans(tokenizer: AnyTokenizer, ids: npt.NDArray[np.uint32]) -> set[tuple[int, int]]:
    """(where it begins, id) of each token."""
    tokens = tokenizer.vocabulary.tokens
    flat = ids.tolist()
    begins = np.cumsum([0, *(len(tokens[i]) for i in flat)]).tolist()
    return set(zip(begins, flat))


def to_tiktoken(tokenizer: Tokenizer, path: Path) -> tuple[Tokenizer, str]:
    """Write a .tiktoken file; return it read back, and why its ids may differ ("": they cannot).

    Raises: FormatError: two tokens of the same bytes.
    """
    v = tokenizer.vocabulary
    tiktoken_file.write(path, v)
    made = Tokenizer.load(path, pattern=v.pattern, special_tokens=v.special)
    return made, "" if is_ranked(v) else _why_not_ranks(v, made.vocabulary)


def pieces_to_json(tokenizer: SentencePieceTokenizer, path: Path) -> tuple[AnyTokenizer, str]:
    """Write a SentencePiece model as tokenizer.json; return it read back, and why its ids may differ.

    Raises: FormatError: a model that no tokenizer.json can say.
    """
    model = tokenizer.model
    data = json.dumps(sentencepiece_json.to_json(model, str(path)), ensure_ascii=False, indent=1) + "\n"
    atomic.write_bytes(path, data.encode())
    several = sentencepiece_json.several_pairs(model) if model.algorithm == "bpe" else 0
    why = (
        f"{several} pieces are made by several pairs, and a list must put these in an order"
        if model.algorithm == "bpe"
        else "Unigram's sums are float64 in a tokenizer.json and float32 in a .model"
    )
    return Tokenizer.load(path), why


def to_tokenizer_json(tokenizer: Tokenizer, path: Path) -> tuple[Tokenizer, str]:
    """Write tokenizer.json; return it read back, and why its ids may differ ("": they cannot)."""
    tokenizer.save(path)
    v = tokenizer.vocabulary
    if not is_ranked(v):
        return Tokenizer(tokenizer_json.read(path), str(path)), ""
    shared = sum(count - 1 for count in Counter(v.ranks.tolist()).values())
    why = f"{shared} pairs share a rank with another, and a list must put them in an order" if shared else ""
    return Tokenizer(tokenizer_json.read(path), str(path)), why


def _why_not_ranks(v: Vocabulary, ranked: Vocabulary) -> str:
    results = v.id_of_rank[v.ranks]
    listed, known = ({(a, b) for a, b in x.pairs.tolist()} for x in (v, ranked))
    if listed != known:
        return (
            f"ranks know {len(known - listed)} pairs that the merge list does not have, and lack {len(listed - known)}"
        )
    if len(np.unique(results)) != len(results) or np.any(np.diff(results.astype(np.int64)) <= 0):
        return "the order of the merges is not the order of the ids"
    if not v.ignore_merges:
        special = set(v.special.values())
        whole = unmerged(v, [i for i, t in enumerate(v.tokens) if len(t) > 1 and i not in special])
        if whole:
            return f"{len(whole)} tokens that no merges give are given whole by ranks"
    return ""
